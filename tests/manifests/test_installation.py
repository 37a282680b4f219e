"""What is set up once: the settings, the kustomization, and what can be laid over the manifests."""

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from hera.workflows.models import SecurityContext

import machine
from pages.markdown import page
from workflows import models, parameters
from workflows.catalogue import DOCUMENTS, FOLDER, LIBRARY, RUNNABLE, SETTINGS, parameters_of, pods_of
from workflows.documents import effective_spec, load, merge
from workflows.expansion import expand
from workflows.parameters import Manifest

IMAGE = "serverlessargo-registry.cn-hangzhou.cr.aliyuncs.com/argo-workflow-examples/python:3.11-amd"
SETTLED = {"image": IMAGE} | dict.fromkeys(("bucket", "endpoint", "region", "secret"), "")
"""What settings.yaml may say; only the bucket has no default."""


@pytest.mark.parametrize(("name", "document"), RUNNABLE.items(), ids=RUNNABLE)
def test_settings_are_read_by_every_workflow(name: str, document: Manifest) -> None:
    """Without the ConfigMap, or its label, a default; with it its value; and -p wins over both."""
    ours = parameters_of(document).keys() & SETTLED.keys()
    assert ours == (SETTLED.keys() if "oss" in name else {"image"})
    declared = {item["name"]: item for item in effective_spec(document, LIBRARY)["arguments"]["parameters"]}
    settings = {**SETTINGS, "data": {key: f"a-{key}" for key in SETTLED}}
    unseen = {**settings, "metadata": {**settings["metadata"], "labels": {}}}
    other = {**settings, "data": {}}
    for key in ours:
        item = declared[key]
        source = item["valueFrom"]["configMapKeyRef"]
        assert source == {"name": SETTINGS["metadata"]["name"], "key": key}
        assert parameters.default(item, [settings]) == f"a-{key}"
        for library in ([], [unseen], [other]):
            assert parameters.default(item, library) == item["valueFrom"].get("default")
        assert ("default" in item["valueFrom"]) == (key != "bucket")
        given = {
            each: "given" for each in declared if parameters.default(declared[each]) is None or each == key
        }
        assert parameters.resolve(list(declared.values()), given, [settings])[key] == "given"


def test_the_settings_as_they_stand_are_the_defaults() -> None:
    """settings.yaml installed without a change changes nothing."""
    for document in RUNNABLE.values():
        defaults = parameters_of(document)
        assert {key: SETTINGS["data"].get(key) for key in defaults.keys() & SETTLED.keys()} == {
            key: defaults[key] for key in defaults.keys() & SETTLED.keys()
        }


def test_the_settings_reach_the_pods() -> None:
    """Image, bucket, endpoint, region and Secret of each pod, on OSS, are those of the ConfigMap."""
    settings = {**SETTINGS, "data": {key: f"a-{key}" for key in SETTLED}}
    for name in ("process-data-oss.yaml", "aggregation-oss.yaml"):
        for pod in (pod for stage in expand(RUNNABLE[name], [*LIBRARY, settings]) for pod in stage.pods):
            variables = dict(pod.environment)
            assert pod.image == "a-image"
            assert variables["AGGREGATION_ROOT"] == "oss://a-bucket/aggregation-demo"
            assert (variables["OSS_ENDPOINT"], variables["OSS_REGION"]) == ("a-endpoint", "a-region")
            assert {key.secret for key in pod.secrets} == {"a-secret"}


def test_the_kustomization_installs_what_workflows_need() -> None:
    """Accounts, templates and settings at once, and not the volume, which has placeholders."""
    (kustomization,) = [document for _, document in DOCUMENTS if document["kind"] == "Kustomization"]
    installed = [document for name in kustomization["resources"] for document in load(FOLDER / name)]
    kinds = {"ServiceAccount", "Role", "RoleBinding", "ConfigMap", "WorkflowTemplate"}
    assert {document["kind"] for document in installed} == kinds
    wanted = [document for _, document in DOCUMENTS if document["kind"] in kinds]
    assert sorted(map(repr, installed)) == sorted(map(repr, wanted))
    assert "<your" not in "".join((FOLDER / name).read_text() for name in kustomization["resources"])


def test_kubectl_makes_of_the_folder_what_the_files_say() -> None:
    """`kubectl kustomize`, which `apply -k` does first, loses nothing, anchors resolved."""
    done = kubectl("kustomize", FOLDER)
    made = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(done)}
    assert len(made) == 10
    for _, document in DOCUMENTS:
        key = (document["kind"], document.get("metadata", {}).get("name"))
        if key in made:
            assert made[key] == document


def kubectl(*arguments: object) -> str:
    """What kubectl prints where it needs no cluster."""
    command = [machine.kubectl(), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


# What is laid over

PATCHES = FOLDER / "patches"


@pytest.mark.parametrize("name", RUNNABLE)
def test_the_owner_of_a_volume_may_run_it(name: str) -> None:
    """patches/as-owner.yaml changes who the pods run as, and nothing else of what is hardened."""
    (patch,) = load(PATCHES / "as-owner.yaml")
    document = merge(RUNNABLE[name], patch)
    assert models.lost(document) == []
    plain, changed = pods_of(RUNNABLE[name]), pods_of(document)
    assert changed == plain
    owner = {
        "runAsNonRoot": False,
        "runAsUser": 0,
        "runAsGroup": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for pod, other in zip(changed, plain, strict=True):
        assert (pod.container, pod.volumes) == (other.container, other.volumes)
        assert pod.spec == {**other.spec, "securityContext": owner}


def test_kubectl_lays_the_owner_over_a_workflow() -> None:
    """The command in the patch's comment, without a cluster, gives what the merge above gives."""
    manifest = FOLDER / "process-data.yaml"
    options = ("--type", "merge", "--patch-file", PATCHES / "as-owner.yaml", "-o", "yaml")
    patched = yaml.safe_load(kubectl("patch", "-n", "argo", "--local", "-f", manifest, *options))
    assert patched == merge(RUNNABLE[manifest.name], load(PATCHES / "as-owner.yaml")[0])


def test_what_the_kustomization_has_as_a_comment_works(tmp_path: Path) -> None:
    """Without the comment signs it lays the metrics and the owner over the templates, as the patches do."""
    folder = shutil.copytree(FOLDER, tmp_path / "manifests", ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "kustomization.yaml"
    head, signs, comment = file.read_text().partition("# patches:\n")
    file.write_text(head + re.sub(r"(?m)^# ?", "", signs + comment))
    made = [each for each in yaml.safe_load_all(kubectl("kustomize", folder)) if "spec" in each]
    (owner,) = load(PATCHES / "as-owner.yaml")
    assert [each["kind"] for each in made] == ["WorkflowTemplate"] * 2
    for each in made:
        assert yaml.safe_load(each["spec"]["podSpecPatch"]) == yaml.safe_load(owner["spec"]["podSpecPatch"])
    counted = {template["name"] for template in made[0]["spec"]["templates"] if "metrics" in template}
    assert counted == {"process-data", "merge-data"}


def test_argos_own_containers_pass_the_restricted_standard() -> None:
    """What the Pod Security Standard asks of each container, in the form that the controller reads."""
    (patch,) = load(PATCHES / "restricted.yaml")
    executor = yaml.safe_load(patch["data"]["executor"])
    context = executor["securityContext"]
    assert models.there_and_back(SecurityContext, context) == context
    assert executor == {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    }


# What stays


def test_the_lifecycle_rules_remove_what_a_failed_run_leaves() -> None:
    """The rules of docs/oss.md: levels of runs, under the manifests' prefix, and unfinished uploads."""
    (text,) = [block.text for block in page("docs/oss.md").blocks("xml")]
    levels, uploads = ET.fromstring(text).findall("Rule")
    prefix = parameters_of(RUNNABLE["process-data-oss.yaml"])["prefix"]
    assert levels.findtext("Prefix") == f"{prefix}/runs/"
    assert uploads.findtext("Prefix") == f"{prefix}/"
    for rule, action in (levels, "Expiration"), (uploads, "AbortMultipartUpload"):
        assert rule.findtext("Status") == "Enabled"
        assert int(rule.findtext(f"{action}/Days") or 0) >= 2
        assert [each.tag for each in rule] == ["ID", "Prefix", "Status", action]
