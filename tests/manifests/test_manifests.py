"""The manifests: loaded, cross-checked, expanded into worker commands, and those commands executed."""

import re
import string
from pathlib import Path
from typing import Any

import pytest

from aggregation import errors
from e2e.__main__ import ALL, NOT_TRIED
from workflows import models
from workflows.catalogue import (
    DOCUMENTS,
    FILES,
    FOLDER,
    LIBRARY,
    RUNNABLE,
    TUTORIAL,
    commands,
    pods_of,
    submit,
)
from workflows.documents import effective_spec, load
from workflows.execution import Cluster
from workflows.expressions import uses_division
from workflows.parameters import Manifest
from workflows.pods import OutputFile
from workflows.retries import is_retried
from workflows.scopes import tags

IMAGE = "serverlessargo-registry.cn-hangzhou.cr.aliyuncs.com/argo-workflow-examples/python:3.11-amd"


TUTORIAL_COMMANDS = [
    [f"python3 process.py {number} 1" for number in range(16)],
    [f"python3 process.py {number} 2" for number in range(8)],
    ["python3 merge.py 8"],
]


# What the files say


@pytest.mark.parametrize("path", [*FILES, *sorted(TUTORIAL.glob("*.yaml"))], ids=lambda path: path.name)
def test_argo_documents_survive_heras_models(path: Path) -> None:
    """A Workflow or WorkflowTemplate loads into Hera's model and comes back without a lost key."""
    for document in load(path):
        if document["kind"] in models.KINDS:
            assert models.lost(document) == []


def test_every_document_is_of_a_kind_that_is_checked() -> None:
    """No document slips through because its kind or version is unknown to these tests."""
    versions = {
        "Workflow": "argoproj.io/v1alpha1",
        "WorkflowTemplate": "argoproj.io/v1alpha1",
        "ServiceAccount": "v1",
        "Secret": "v1",
        "PersistentVolume": "v1",
        "PersistentVolumeClaim": "v1",
        "Role": "rbac.authorization.k8s.io/v1",
        "RoleBinding": "rbac.authorization.k8s.io/v1",
        "ConfigMap": "v1",
        "Kustomization": "kustomize.config.k8s.io/v1beta1",
    }
    for path, document in DOCUMENTS:
        assert document["apiVersion"] == versions[document["kind"]], path
        namespace = document.get("metadata", {}).get("namespace")
        everywhere = document["kind"] in ("PersistentVolume", "Kustomization")
        assert namespace == (None if everywhere else "argo"), path


def named(kind: str) -> dict[str, Manifest]:
    """The documents of a kind by name; a name stands once."""
    found = [document for _, document in DOCUMENTS if document["kind"] == kind]
    by_name = {document["metadata"]["name"]: document for document in found}
    assert len(by_name) == len(found)
    return by_name


def test_the_volume_hangs_together() -> None:
    """Claim, volume and Secret refer to each other, and the mount shows one pod what another wrote."""
    volume, claim = named("PersistentVolume")["pv-oss"], named("PersistentVolumeClaim")["pvc-oss"]
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"] == volume["spec"]["csi"]["volumeHandle"]
    assert claim["spec"]["accessModes"] == volume["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["spec"]["storageClassName"] == volume["spec"]["storageClassName"] == ""
    assert volume["spec"]["csi"]["driver"] == "ossplugin.csi.alibabacloud.com"
    assert volume["spec"]["csi"]["nodePublishSecretRef"] == {"name": "oss-secret", "namespace": "argo"}
    assert "oss-secret" in named("Secret")
    options = volume["spec"]["csi"]["volumeAttributes"]["otherOpts"].split("-o ")
    wanted = {
        "allow_other",
        "disable_noobj_cache",
        "stat_cache_expire=1",
        "umask=022",
        "uid=1000",
        "gid=1001",
    }
    assert {option.strip() for option in options if option} == wanted


def test_the_executor_may_report_and_nothing_else() -> None:
    """Every account may write task results, as the wait container does; a parent may do more, workers not."""
    roles, bindings = named("Role"), named("RoleBinding")
    assert roles.keys() == bindings.keys() == {"aggregation-executor", "aggregation-parent"}
    assert roles["aggregation-executor"]["rules"] == [
        {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}
    ]
    bound = {name: {subject["name"] for subject in binding["subjects"]} for name, binding in bindings.items()}
    assert bound["aggregation-executor"] == named("ServiceAccount").keys()
    assert bound["aggregation-parent"] == {"aggregation-parent"}
    assert all(binding["roleRef"]["name"] == name for name, binding in bindings.items())


@pytest.mark.parametrize(("name", "document"), RUNNABLE.items(), ids=RUNNABLE)
def test_references_to_the_cluster_resolve(name: str, document: Manifest) -> None:
    """Service account, claim and Secret of a workflow are what rbac.yaml and volume.yaml create."""
    spec = effective_spec(document, LIBRARY)
    assert spec["serviceAccountName"] in named("ServiceAccount"), name
    for pod in pods_of(document):
        claims = [
            each["persistentVolumeClaim"]
            for each in pod.volumes.values()
            if len(each) > 1 and "persistentVolumeClaim" in each
        ]
        assert [claim["claimName"] in named("PersistentVolumeClaim") for claim in claims] == [True] * len(
            claims
        )
        assert {key.secret for key in pod.secrets} <= set(named("Secret"))
        assert pod.image == IMAGE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_manifest_explains_itself(path: Path) -> None:
    """A file says its purpose and prerequisites, and a sentence above each template says what it does."""
    text = path.read_text(encoding="utf-8")
    top = text.split("apiVersion:")[0]
    assert all(line.startswith("#") for line in top.splitlines())
    assert "Prerequisite" in top
    assert all(len(line) <= 118 for line in text.splitlines())
    for document in load(path):
        if document["kind"] in models.KINDS:
            annotations = document["metadata"]["annotations"]
            assert annotations["workflows.argoproj.io/description"].strip()
            version = annotations["workflows.argoproj.io/version"]
            assert version in (">= 3.4.2", ">= 3.5.0")
            assert f"Argo Workflows v{version[3:].removesuffix('.0')} or later" in top
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if re.fullmatch(r"    - name: \S+", line) and "  templates:" in lines[:index]:
            assert lines[index - 1].startswith("    # "), f"{path.name}:{index + 1}: {line.strip()}"


def test_every_manifest_is_tried_on_a_cluster() -> None:
    """`make e2e` has a row for each file, but for those that the others rest on."""
    named = {
        name
        for row in [*(case.name for case in ALL), *NOT_TRIED]
        for name in re.findall(r"[\w-]+\.yaml", row)
    }
    installed = {"rbac.yaml", "aggregation.yaml", "settings.yaml", "kustomization.yaml"}
    assert {path.name for path in FILES} == named | installed


@pytest.mark.parametrize(("name", "document"), RUNNABLE.items(), ids=RUNNABLE)
def test_no_expression_divides(name: str, document: Manifest) -> None:
    """`/` gives a float, which breaks a loop for odd counts: no expression uses it."""
    expressions = [tag[1:] for tag in tags(document) if tag.startswith("=")]
    assert [text for text in expressions if uses_division(text)] == [], name


# What every pod has

HARDENING = [
    ("retry.limit", "3"),
    ("retry.retryPolicy", "Always"),
    ("retry.backoff", {"duration": "10s", "factor": "2"}),
    ("container.command", ["python3"]),
    ("container.securityContext.allowPrivilegeEscalation", False),
    ("container.securityContext.readOnlyRootFilesystem", True),
    ("container.securityContext.capabilities.drop", ["ALL"]),
    ("container.terminationMessagePolicy", "FallbackToLogsOnError"),
    ("container.resources.requests.cpu", "100m"),
    ("container.resources.limits.cpu", "1"),
    ("spec.securityContext.runAsNonRoot", True),
    ("spec.securityContext.runAsUser", 1000),
    ("spec.securityContext.runAsGroup", 1001),
    ("spec.securityContext.seccompProfile.type", "RuntimeDefault"),
    ("spec.nodeSelector", {"kubernetes.io/arch": "amd64"}),
]
OF_THE_WORKFLOW = [
    ("podGC.strategy", "OnPodSuccess"),
    ("ttlStrategy.secondsAfterSuccess", 86400),
    ("ttlStrategy.secondsAfterFailure", 604800),
]


def at(value: Any, path: str) -> Any:
    """What stands at a dotted path."""
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


@pytest.mark.parametrize(("name", "document"), RUNNABLE.items(), ids=RUNNABLE)
def test_every_pod_is_hardened(name: str, document: Manifest) -> None:
    """Each pod has retries, limits, no privileges, a scratch folder and its summary as an output."""
    spec = effective_spec(document, LIBRARY)
    for path, value in OF_THE_WORKFLOW:
        assert at(spec, path) == value, f"{name}: {path}"
    assert spec["activeDeadlineSeconds"] >= 3600
    for template, pod in {pod.template: pod for pod in pods_of(document)}.items():
        for path, value in HARDENING:
            assert at(vars(pod), path) == value, f"{name}: {template}: {path}"
        mounts = dict(pod.mounts)
        assert pod.volumes[mounts["/tmp"]]["emptyDir"]["sizeLimit"]
        assert pod.outputs == (OutputFile("summary", "/tmp/summary.json", "{}"),)
        variables = dict(pod.environment)
        assert variables["AGGREGATION_SUMMARY_FILE"] == "/tmp/summary.json"
        on_oss = variables["AGGREGATION_ROOT"].startswith("oss://")
        assert on_oss != ("/mnt/vol" in mounts)
        memory = pod.container["resources"]
        wanted = ("128Mi", "256Mi") if on_oss else ("64Mi", "128Mi")
        assert (memory["requests"]["memory"], memory["limits"]["memory"]) == wanted


@pytest.mark.parametrize(("name", "document"), RUNNABLE.items(), ids=RUNNABLE)
def test_only_pods_are_retried(name: str, document: Manifest) -> None:
    """No template of steps retries: a permanent error would run all the steps again."""
    spec = effective_spec(document, LIBRARY)
    assert "retryStrategy" not in spec, name
    assert "retryStrategy" not in spec.get("templateDefaults", {})
    assert all("container" in each for each in spec["templates"] if "retryStrategy" in each)


@pytest.mark.parametrize(("name", "document"), RUNNABLE.items(), ids=RUNNABLE)
def test_what_works_at_once_is_bounded(name: str, document: Manifest) -> None:
    """A workflow with a loop bounds its pods, and none locks anything: each has its levels to itself."""
    spec = effective_spec(document, LIBRARY)
    if name != "prepare-data.yaml":
        assert 1 < spec["parallelism"] <= 64
    assert "synchronization" not in repr(spec)


# What is tried again

FAILED, ERROR = "Failed", "Error"
RETRIES = [
    # status, exit code, message, tried again
    (FAILED, "1", "Error (exit code 1)", False),
    (FAILED, "2", "Error (exit code 2)", False),
    (FAILED, "3", "Error (exit code 3)", False),
    (FAILED, "4", "Error (exit code 4)", True),
    (FAILED, "5", "Error (exit code 5)", False),
    (FAILED, "6", "Error (exit code 6)", False),
    (FAILED, "7", "Error (exit code 7)", False),
    (FAILED, "64", "Error (exit code 64): could not start the command", True),
    (FAILED, "65", "Error (exit code 65)", False),
    (FAILED, "75", "Error (exit code 75)", True),
    (FAILED, "126", "Error (exit code 126)", False),
    (FAILED, "130", "Error (exit code 130)", False),
    (FAILED, "137", "OOMKilled (exit code 137)", False),
    (FAILED, "137", "Error (exit code 137)", True),
    (FAILED, "143", "Error (exit code 143)", True),
    (FAILED, "143", 'Usage of EmptyDir volume "scratch" exceeds the limit "8Gi". ', False),
    (FAILED, "-1", 'Usage of EmptyDir volume "scratch" exceeds the limit "8Gi". ', False),
    (FAILED, "-1", "The node was low on resource: memory", True),
    (FAILED, "-1", "Pod was active on the node longer than the specified deadline", True),
    (ERROR, "-1", "pod deleted", True),
    (ERROR, "1", "failed to save outputs", True),
]
STRATEGIES = [
    pytest.param(template["retryStrategy"], id=f"{name}-{template['name']}")
    for name, document in RUNNABLE.items()
    for template in effective_spec(document, LIBRARY)["templates"]
    if "container" in template
]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_retries_follow_the_exit_code(strategy: Manifest) -> None:
    """Row by row: what another try can cure is tried again, what it cannot is not."""
    for status, exit_code, message, again in RETRIES:
        verdict = is_retried(strategy, status=status, exit_code=exit_code, message=message)
        assert verdict is again, (status, exit_code, message)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_retries_agree_with_the_workers_table(strategy: Manifest) -> None:
    """Each exit code that the worker publishes is retried exactly if its table says so."""
    for row in errors.EXIT_CODES:
        if row.code:
            message = f"Error (exit code {row.code})"
            verdict = is_retried(strategy, status=FAILED, exit_code=str(row.code), message=message)
            assert verdict is row.retried, row


# What runs


@pytest.mark.parametrize("folder", [FOLDER, TUTORIAL], ids=["ours", "the tutorial's own"])
def test_process_data_is_the_tutorials_25_commands(folder: Path) -> None:
    """By default process-data.yaml runs 16 + 8 + 1 pods with exactly the tutorial's commands."""
    stages = submit("process-data.yaml", folder=folder)
    assert commands(stages) == TUTORIAL_COMMANDS
    assert sum(len(stage.pods) for stage in stages) == 25
    steps = [{pod.step for pod in stage.pods} for stage in stages]
    assert steps == [{"process-data-l1"}, {"process-data-l2"}, {"merge-data"}]
    assert {pod.template for stage in stages for pod in stage.pods} == {"process-data", "merge-data"}
    assert {pod.image for stage in stages for pod in stage.pods} == {IMAGE}
    assert all(("/mnt/vol", "workdir") in pod.mounts for stage in stages for pod in stage.pods)


@pytest.mark.parametrize(("folder", "command"), [(FOLDER, "prepare.py 32"), (TUTORIAL, "prepare.py")])
def test_prepare_data_is_one_command(folder: Path, command: str) -> None:
    """prepare-data.yaml is a DAG of one task, prepare-data, that runs prepare.py once."""
    ((pod,),) = [stage.pods for stage in submit("prepare-data.yaml", folder=folder)]
    assert (pod.step, pod.template) == ("prepare-data", "create-file")
    assert pod.command == ("python3", *command.split())


def test_names_are_the_tutorials() -> None:
    """Both workflows keep the tutorial's generated names, so that its readers find them."""
    generated = {name: document["metadata"].get("generateName") for name, document in RUNNABLE.items()}
    assert generated["prepare-data.yaml"] == "aggregation-prepare-data-"
    assert generated["process-data.yaml"] == "process-data-"


@pytest.mark.parametrize("numbers", [1, 2, 3, 5, 15, 16, 17, 50])
def test_any_number_of_pods_makes_whole_levels(numbers: int) -> None:
    """An odd first level gets a second one, rounded up, and each pod knows how many files there are."""
    first, second, last = submit("process-data.yaml", {"numbers": str(numbers)})
    half = (numbers + 1) // 2
    assert [pod.command[2:] for pod in first.pods] == [(str(number), "1") for number in range(numbers)]
    assert [pod.command[2:] for pod in second.pods] == [(str(number), "2") for number in range(half)]
    assert commands([last]) == [[f"python3 merge.py {half}"]]
    told = [
        {dict(pod.environment).get("AGGREGATION_FILES") for pod in stage.pods} for stage in (first, second)
    ]
    assert told == [{str(2 * numbers)}, {str(numbers)}]
    assert dict(last.pods[0].environment)["AGGREGATION_LEVEL"] == "3"


def test_a_parameter_moves_the_directory() -> None:
    """`dir` is where the pods work, and the default is the tutorial's directory."""
    places: list[tuple[dict[str, str], str]] = [
        ({}, "/mnt/vol/aggregation-demo"),
        ({"dir": "tiles/europe"}, "/mnt/vol/tiles/europe"),
    ]
    for name in ("prepare-data.yaml", "process-data.yaml"):
        for given, root in places:
            pods = [pod for stage in submit(name, given) for pod in stage.pods]
            assert {dict(pod.environment)["AGGREGATION_ROOT"] for pod in pods} == {root}


def test_the_tutorials_commands_make_the_result(tmp_path: Path) -> None:
    """The commands of its own pods, run as processes, join the 32 letters in order; ours are the same."""
    cluster = Cluster(tmp_path)
    root = cluster.volume / "aggregation-demo"
    cluster.run_each(pod for stage in submit("prepare-data.yaml", folder=TUTORIAL) for pod in stage.pods)
    letters = [(root / "l1" / f"{number}.txt").read_bytes() for number in range(32)]
    assert all(len(letter) == 1 and letter.decode() in string.ascii_uppercase for letter in letters)
    for stage in submit("process-data.yaml", folder=TUTORIAL):
        cluster.run_each(stage.pods)
    assert (root / "result.txt").read_bytes() == b"".join(letters)


@pytest.mark.parametrize("numbers", [1, 3])
def test_odd_numbers_make_the_result(numbers: int, tmp_path: Path) -> None:
    """Odd levels, which the tutorial's division cannot do, join every file once."""
    cluster = Cluster(tmp_path)
    root = cluster.volume / "aggregation-demo"
    files = str(2 * numbers)
    cluster.run_together(pod for stage in submit("prepare-data.yaml", {"files": files}) for pod in stage.pods)
    letters = [(root / "l1" / f"{number}.txt").read_bytes() for number in range(2 * numbers)]
    stages = submit("process-data.yaml", {"numbers": str(numbers)})
    cluster.run_together(pod for stage in stages for pod in stage.pods)
    assert (root / "result.txt").read_bytes() == b"".join(letters)


def test_a_smaller_run_than_there_are_files_is_refused(tmp_path: Path) -> None:
    """`numbers` that leave files of level 1 out end with 3 at the last group, unless that is meant."""
    cluster = Cluster(tmp_path)
    root = cluster.volume / "aggregation-demo"
    cluster.run_together(pod for stage in submit("prepare-data.yaml") for pod in stage.pods)
    letters = [(root / "l1" / f"{number}.txt").read_bytes() for number in range(32)]
    for stages in submit("process-data.yaml", {"numbers": "8"}), submit("aggregate.yaml", {"files": "16"}):
        exit_code, said = cluster.attempt([pod for stage in stages for pod in stage.pods][7])
        assert exit_code == 3
        assert "holds 32 files" in said
    stages = submit("aggregate.yaml", {"files": "16", "partial": "true"})
    cluster.run_together(pod for stage in stages for pod in stage.pods)
    assert (root / "result.txt").read_bytes() == b"".join(letters[:16])
