"""generate.py: the shapes that it writes, expanded and executed; its plan, its errors, its submission."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from hera.workflows import models

import scripts
from aggregation import errors, tree
from workflows.catalogue import DOCUMENTS, SETTINGS
from workflows.children import Running, follow
from workflows.execution import Cluster
from workflows.expansion import Manifest, Pod, is_retried, load, merge

sys.path.append(str(scripts.REPOSITORY))

from manifests import generate
from manifests.shapes import plan as plans

BUCKET = ("--store", "oss", "--bucket", "my-bucket")


def written(*arguments: object) -> str:
    """What generate.py prints for some arguments, in this process."""
    result = CliRunner().invoke(
        generate.generate, [str(each) for each in arguments], standalone_mode=False, catch_exceptions=False
    )
    return result.stdout


def documents(*arguments: object) -> list[Manifest]:
    """The documents that generate.py prints."""
    return list(yaml.safe_load_all(written(*arguments)))


def running(*arguments: object, **parameters: str) -> Running:
    """The generated workflow with its children, as Argo would run them."""
    *templates, workflow = documents(*arguments)
    return follow(workflow, templates, parameters)


def refused(*arguments: object) -> Exception:
    """The error with which generate.py refuses some arguments."""
    with pytest.raises((click.UsageError, errors.AggregationError)) as caught:
        written(*arguments)
    return caught.value


def program(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """generate.py as a process of its own."""
    return subprocess.run(
        [sys.executable, scripts.REPOSITORY / "manifests" / "generate.py", *map(str, arguments)],
        env=scripts.environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# What it writes


def widths(files: int, fan_in: int, levels: int | None, width: int) -> list[int]:
    """The files of each level, by the worker's own arithmetic."""
    counts = tree.widths(files, fan_in, levels if levels is not None else 40)
    return counts if levels is not None else counts[: next(i for i, n in enumerate(counts) if n <= width) + 1]


def planned(counts: list[int], fan_in: int) -> list[list[tuple[str, dict[str, str]]]]:
    """The command and the settings of each pod, level by level."""
    fan = str(fan_in)
    levels = [
        [
            (
                f"python3 process.py {number} {level}",
                {"AGGREGATION_FILES": str(files), "AGGREGATION_FAN_IN": fan},
            )
            for number in range(tree.group_count(files, fan_in))
        ]
        for level, files in enumerate(counts[:-1], start=1)
    ]
    return [*levels, [(f"python3 merge.py {counts[-1]}", {"AGGREGATION_LEVEL": str(len(counts))})]]


def told(pod: Pod) -> tuple[str, dict[str, str]]:
    """A pod's command, and what its environment says about the shape."""
    shape = ("AGGREGATION_FILES", "AGGREGATION_FAN_IN", "AGGREGATION_LEVEL")
    return " ".join(pod.command), {name: value for name, value in pod.environment if name in shape}


STORES = [(), BUCKET]
SHAPES = [
    # files, fan-in, levels, final width, pods of a workflow
    *((files, 2, None, 8, 2000) for files in (1, 7, 8, 9, 130)),
    *((files, 3, None, 1, 2000) for files in (1, 2, 3, 4, 28)),
    *((files, 16, None, 4, 2000) for files in (4, 5, 17, 257)),
    *((33, 2, levels, 8, 2000) for levels in (0, 1, 2, 6, 9)),
    *((130, fan_in, None, 8, pods) for fan_in in (2, 16) for pods in (1, 4, 64, 65)),
    *((100, 3, levels, 8, 10) for levels in (0, 1, 7)),
]


@pytest.mark.parametrize("store", STORES, ids=["volume", "oss"])
def test_every_shape_has_the_groups_of_the_trees_arithmetic(store: tuple[str, ...]) -> None:
    """Whole or split into children, each level's pods are the plan's, and so are the estimated nodes."""
    for files, fan_in, levels, width, pods in SHAPES:
        depth = ("--final-width", width) if levels is None else ("--levels", levels)
        shape = (
            *("--files", files, "--fan-in", fan_in, *depth),
            *("--pods-per-workflow", pods),
        )
        counts = widths(files, fan_in, levels, width)
        run = running(*shape, *store)
        assert [[told(pod) for pod in level] for level in run.levels()] == planned(counts, fan_in), shape
        plan = plans.make_plan(files, fan_in, levels, width, pods)
        parent, *children = run.workflows()
        assert plans.node_count(plan.main_steps()) == parent.nodes(), shape
        assert [plans.node_count([each]) for each in plan.children()] == [
            child.nodes() for child in children
        ], shape
        assert bool(children) == (sum(counts[1:]) + 1 > pods and len(counts) > 1), shape
        assert all(len(child.levels()) == 1 and len(child.levels()[0]) <= pods for child in children), shape


@pytest.mark.parametrize("files", ["33", "2500"])
@pytest.mark.parametrize("store", [*STORES, BUCKET[:2]], ids=["volume", "oss", "oss, bucket asked for"])
def test_documents_survive_heras_models(store: tuple[str, ...], files: str, tmp_path: Path) -> None:
    """A document loads into Hera's model and comes back without a lost key, and no key stands twice."""
    path = tmp_path / "run.yaml"
    path.write_text(written("--files", files, *store, "--memory", "1=1Gi", "--cpu", "merge=2"))
    kinds = []
    for document in load(path):
        kinds.append(document["kind"])
        model: Any = getattr(models, document["kind"])
        dumped = model.model_validate(document).model_dump(by_alias=True, exclude_none=True, mode="json")
        assert dumped == document
    assert kinds == (["Workflow"] if files == "33" else ["WorkflowTemplate", "Workflow"])


@pytest.mark.parametrize("store", STORES, ids=["volume", "oss"])
def test_nothing_of_the_base_is_lost(store: tuple[str, ...]) -> None:
    """Security, limits, retries, clean-up and outputs of every pod are the hand-written manifest's."""
    base_name = "process-data-oss.yaml" if store else "process-data.yaml"
    (base,) = load(scripts.REPOSITORY / "manifests" / base_name)
    kept = base["spec"].keys() - {"arguments", "templates", "parallelism", "activeDeadlineSeconds"}
    pods = {each["name"]: each for each in base["spec"]["templates"]}
    *_, whole = documents("--files", 40, *store)
    children, parent = documents("--files", 5000, *store)
    for document in (whole, children, parent):
        spec = document["spec"]
        assert {key: spec.get(key) for key in kept} == {key: base["spec"][key] for key in kept}
        for template in spec["templates"]:
            if "container" in template:
                assert merge(template, pods[template["name"]]) == template | {
                    "container": template["container"]
                }
                assert template["retryStrategy"] == pods[template["name"]]["retryStrategy"]
    assert whole["spec"]["parallelism"] == base["spec"]["parallelism"] == children["spec"]["parallelism"]
    assert whole["spec"]["activeDeadlineSeconds"] == base["spec"]["activeDeadlineSeconds"]


def test_small_shapes_make_the_concatenation(tmp_path: Path) -> None:
    """The pods' commands, executed, join every file once and in order, in one workflow or in several."""
    cluster = Cluster(tmp_path)
    wanted, pods = {}, []
    for files, fan_in, more in [
        (1, 2, ()),
        (9, 2, ()),
        (33, 4, ("--final-width", 2)),
        (17, 3, ("--levels", 0)),
        (33, 2, ("--levels", 3, "--pods-per-workflow", 4)),
        (28, 3, ("--final-width", 1, "--pods-per-workflow", 3)),
    ]:
        folder = f"{files}-{fan_in}/of tiles"
        contents = [bytes([number, 10, 255]) * (number % 3) for number in range(files)]
        scripts.write_level(cluster.volume / folder, 1, contents)
        wanted[folder] = b"".join(contents)
        run = running("--files", files, "--fan-in", fan_in, "--dir", folder, *more)
        pods += [pod for level in run.levels() for pod in level]
    cluster.run_together(pods)
    assert {folder: (cluster.volume / folder / "result.txt").read_bytes() for folder in wanted} == wanted


def test_the_tutorial_comes_out_as_it_is() -> None:
    """32 files in two levels: the tutorial's 25 commands, step names and template names."""
    run = running("--files", 32, "--levels", 2)
    assert [len(level) for level in run.levels()] == [16, 8, 1]
    assert [{pod.step for pod in level} for level in run.levels()] == [
        {"process-data-l1"},
        {"process-data-l2"},
        {"merge-data"},
    ]
    assert {pod.template for level in run.levels() for pod in level} == {"process-data", "merge-data"}


def test_five_levels_of_512_files() -> None:
    """512 files in five levels are 256, 128, 64, 32 and 16 pods and merge.py 16, in one workflow."""
    run = running("--files", 512, "--levels", 5)
    assert [len(level) for level in run.levels()] == [256, 128, 64, 32, 16, 1]
    assert run.levels()[-1][0].command == ("python3", "merge.py", "16")
    assert run.nodes() == 1001


@pytest.mark.parametrize("fan_in", [4, 16])
def test_100_000_files_stay_under_5_000_nodes_a_workflow(fan_in: int) -> None:
    """Parent and children of a huge run are small enough, and together they do the whole plan."""
    run = running("--files", 100_000, "--fan-in", fan_in)
    assert max(each.nodes() for each in run.workflows()) < 5000
    counts = widths(100_000, fan_in, None, 8)
    assert [[told(pod) for pod in level] for level in run.levels()] == planned(counts, fan_in)


def test_what_is_given_reaches_every_pod() -> None:
    """Directory, image, bucket, Secret and account arrive in the pods of the parent and of its children."""
    run = running("--files", 30, "--pods-per-workflow", 4, "--dir", "tiles/eu", "--image", "me/worker:2")
    for pod in (pod for level in run.levels() for pod in level):
        assert dict(pod.environment)["AGGREGATION_ROOT"] == "/mnt/vol/tiles/eu"
        assert pod.image == "me/worker:2"
        assert ("/mnt/vol", "workdir") in pod.mounts
    run = running(
        *("--files", 30, "--pods-per-workflow", 4, *BUCKET, "--dir", "tiles/eu", "--secret", "mine"),
        *("--endpoint", "https://oss.example", "--region", "eu", "--service-account", "aggregation-rrsa"),
    )
    for pod in (pod for level in run.levels() for pod in level):
        assert (
            dict(pod.environment).items()
            >= {
                "AGGREGATION_ROOT": "oss://my-bucket/tiles/eu",
                "OSS_ENDPOINT": "https://oss.example",
                "OSS_REGION": "eu",
            }.items()
        )
        assert {key.secret for key in pod.secrets} == {"mine"}
        assert [volume for _, volume in pod.mounts] == ["tmp"]
    assert {each["spec"]["serviceAccountName"] for each in documents_of(run)} == {"aggregation-rrsa"}


def documents_of(run: Running) -> list[Manifest]:
    """The documents of a run that have a spec of their own."""
    return [each.document for each in run.workflows() if "workflowTemplateRef" not in each.document["spec"]]


def test_parameters_may_still_be_given_on_submission() -> None:
    """A bucket that was left out, and a directory that was not, can be set by `argo submit -p`."""
    for pods in (2000, 4):
        run = running(
            *("--files", 30, "--pods-per-workflow", pods, *BUCKET[:2]), bucket="late", prefix="other"
        )
        roots = {dict(pod.environment)["AGGREGATION_ROOT"] for level in run.levels() for pod in level}
        assert roots == {"oss://late/other"}


def test_levels_have_the_resources_that_they_were_given() -> None:
    """Memory and processors by level, limit and request alike; the other levels keep the base's."""
    given = ("--memory", "1=512Mi", "--memory", "merge=2Gi", "--cpu", "merge=2", "--cpu", "3=500m")
    for pods in (2000, 5):
        run = running("--files", 64, "--fan-in", 2, "--levels", 3, "--pods-per-workflow", pods, *given)
        first, second, third, (last,) = run.levels()
        wanted = [
            (first, {"memory": "512Mi"}),
            (second, {}),
            (third, {"cpu": "500m"}),
        ]
        for level, values in wanted:
            patches = {patch(pod, run) for pod in level}
            resources = {"limits": values, "requests": values} if values else {}
            assert [json.loads(each) for each in patches] == [
                {"containers": [{"name": "main", "resources": resources}]}
            ]
        assert last.container["resources"]["limits"] == {"cpu": "2", "memory": "2Gi"}
        assert last.container["resources"]["requests"] == {"cpu": "2", "memory": "2Gi"}


def patch(pod: Pod, run: Running) -> str:
    """The pod's podSpecPatch, with the argument that its step was called with."""
    for each in run.workflows():
        if any(pod is other for stage in each.stages for other in stage.pods):
            found = each
    spec = found.document["spec"]
    if "workflowTemplateRef" in spec:
        (value,) = [item["value"] for item in spec["arguments"]["parameters"] if item["name"] == "resources"]
    else:
        (step,) = [
            step for group in spec["templates"][0]["steps"] for step in group if step["name"] == pod.step
        ]
        (value,) = [item["value"] for item in step["arguments"]["parameters"] if item["name"] == "resources"]
    template = '{"containers": [{"name": "main", "resources": {{inputs.parameters.resources}}}]}'
    return template.replace("{{inputs.parameters.resources}}", value)


# Parent and children


def test_children_work_in_their_parents_levels() -> None:
    """Parent and children say one run, the parent's name or what it was given, and nobody holds a lock."""
    shape = ("--files", 100, "--pods-per-workflow", 10)
    assert "synchronization" not in written(*shape)
    for given, run in ({}, "a-workflow"), ({"run": "earlier-x7k2p"}, "earlier-x7k2p"):
        parent = running(*shape, **given)
        pods = [pod for level in parent.levels() for pod in level]
        assert {dict(pod.environment)["AGGREGATION_RUN"] for pod in pods} == {run}
    _, *submitted = parent.workflows()
    assert {tuple(each.document["spec"]) for each in submitted} == {("workflowTemplateRef", "arguments")}


@pytest.mark.parametrize("pods", [2000, 10])
def test_the_levels_go_unless_they_are_to_stay(pods: int) -> None:
    """Only the merge of the workflow, or of the parent, removes them."""
    for given, said in ({}, "true"), ({"keep-levels": "true"}, ""):
        run = running("--files", 100, "--pods-per-workflow", pods, **given)
        *levels, (merge,) = run.levels()
        assert dict(merge.environment)["AGGREGATION_CLEAN"] == said
        assert not [pod for level in levels for pod in level if "AGGREGATION_CLEAN" in dict(pod.environment)]


@pytest.mark.parametrize("pods", [2000, 4])
def test_settings_reach_parent_and_children(pods: int) -> None:
    """The ConfigMap's values, unless generate.py or -p said others; the children have their parent's."""
    shape = ("--files", 30, "--pods-per-workflow", pods, *BUCKET[:2])
    settings = {**SETTINGS, "data": {"image": "team/worker:2", "bucket": "set", "secret": "mine"}}
    for more, given, image, bucket in [
        ((), {}, "team/worker:2", "set"),
        (("--image", "me/worker:3"), {"bucket": "late"}, "me/worker:3", "late"),
    ]:
        *templates, workflow = documents(*shape, *more)
        run = follow(workflow, [*templates, settings], given)
        for pod in (pod for level in run.levels() for pod in level):
            assert pod.image == image
            assert dict(pod.environment)["AGGREGATION_ROOT"] == f"oss://{bucket}/aggregation-demo"
            assert {key.secret for key in pod.secrets} == {"mine"}


def test_a_level_waits_for_the_children_of_the_one_before() -> None:
    """Each level is a step of its own, which ends when its children have, and few run at a time."""
    _, parent = documents("--files", 100, "--pods-per-workflow", 10, "--children", 3)
    (main, process_range, _) = parent["spec"]["templates"]
    assert [len(group) for group in main["steps"]] == [1] * len(main["steps"])
    assert parent["spec"]["parallelism"] == 3
    resource = process_range["resource"]
    assert (resource["action"], resource["setOwnerReference"]) == ("create", True)
    assert resource["successCondition"] == "status.phase == Succeeded"
    assert resource["failureCondition"] == "status.phase in (Failed, Error)"
    # 50, 25, 13 and 7 pods: 5 + 3 + 2 + 1 children in 2 + 1 + 1 + 1 rounds of 3, and the merge.
    assert parent["spec"]["activeDeadlineSeconds"] == 6 * 21600


@pytest.mark.parametrize(
    ("status", "exit_code", "message", "again"),
    [
        ("Error", "-1", "pod deleted", True),
        ("Failed", "-1", "The node was low on resource: memory", True),
        ("Failed", "143", "Error (exit code 143)", True),
        ("Failed", "137", "Error (exit code 137)", True),
        ("Failed", "137", "OOMKilled (exit code 137)", False),
        ("Failed", "64", "failure condition 'status.phase in (Error,Failed)' evaluated true", False),
        ("Failed", "1", "Error (exit code 1)", False),
    ],
)
def test_a_lost_pod_starts_a_child_again_and_a_failed_child_does_not(
    status: str, exit_code: str, message: str, again: bool
) -> None:
    """Argo's executor exits with 64 when a child has failed; only a pod that was lost is made again."""
    _, parent = documents("--files", 100, "--pods-per-workflow", 10)
    strategy = parent["spec"]["templates"][1]["retryStrategy"]
    assert is_retried(strategy, status=status, exit_code=exit_code, message=message) is again


def test_the_childrens_template_is_named_by_its_contents() -> None:
    """The same template has the same name, and one that differs, by its fan-in only, has another."""
    names = {
        fan_in: {
            documents("--files", files, "--fan-in", fan_in)[0]["metadata"]["name"] for files in (9000, 9001)
        }
        for fan_in in (2, 3)
    }
    assert len(names[2]) == len(names[3]) == 1
    assert names[2] != names[3]
    assert all(
        re.fullmatch(r"aggregate-children-[0-9a-f]{8}", name) for each in names.values() for name in each
    )


def test_rbac_lets_the_parents_account_create_workflows_and_no_other() -> None:
    """rbac.yaml has the account that generated parents use, with what the executor asks the cluster for."""
    _, parent = documents("--files", 100, "--pods-per-workflow", 10)
    account = parent["spec"]["templates"][1]["serviceAccountName"]
    rules: dict[str, list[tuple[str, str]]] = {}
    roles = {doc["metadata"]["name"]: doc["rules"] for _, doc in DOCUMENTS if doc["kind"] == "Role"}
    for _, document in DOCUMENTS:
        if document["kind"] == "RoleBinding":
            granted = [
                (resource, verb)
                for rule in roles[document["roleRef"]["name"]]
                for resource in rule["resources"]
                for verb in rule["verbs"]
            ]
            for subject in document["subjects"]:
                rules.setdefault(subject["name"], []).extend(granted)
    assert account in {doc["metadata"]["name"] for _, doc in DOCUMENTS if doc["kind"] == "ServiceAccount"}
    executor = {("workflowtaskresults", "create"), ("workflowtaskresults", "patch")}
    creator = {("workflows", "create"), ("workflows", "get"), ("workflows/finalizers", "update")}
    assert set(rules.pop(account)) == executor | creator
    assert all(set(granted) == executor for granted in rules.values())


# The plan


def test_a_dry_run_shows_the_plan() -> None:
    """Pods per level, bytes moved and nodes, for 100,000 files, in one look and without YAML."""
    assert written("--files", 100_000, "--fan-in", 16, "--dry-run", "--size", 1_000_000).splitlines() == [
        "level    files   pods  workflows  bytes moved",
        "1      100,000  6,250          4     93.1 GiB",
        "2        6,250    391          1     93.1 GiB",
        "3          391     25          1     93.1 GiB",
        "4           25      2          1     93.1 GiB",
        "merge        2      1          -     93.1 GiB",
        "total           6,669          8    465.7 GiB",
        "estimated: 22 nodes in the parent, 4,002 in the largest of 7 children; each retry adds one",
        "a flat merge (--levels 0) would be 1 pod that moves 93.1 GiB",
    ]


def test_without_a_size_bytes_are_multiples_of_the_data() -> None:
    """Each level moves everything once: the 512 files of five levels are copied six times."""
    lines = written("--files", 512, "--levels", 5, "--dry-run").splitlines()
    assert lines[-3].split() == ["total", "497", "1", "6", "x", "the", "data"]
    assert lines[-2] == "estimated: 1,001 nodes; each retry adds one"


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        (("--files", 100_000, "--pods-per-workflow", 100_000), "the workflow has 200,016 nodes"),
        (("--files", 14_000, "--fan-in", 2, "--levels", 1, "--pods-per-workflow", 9000), "has 7,001 pods"),
        (("--files", 100_000, "--pods-per-workflow", 20_000), "the largest child has 40,002 nodes"),
        (("--files", 100_000), None),
    ],
)
def test_a_warning_past_the_limits(arguments: tuple[object, ...], warning: str | None) -> None:
    """Past what Argo holds, or where controllers have died, the plan and the YAML's stderr say so."""
    warnings = [line for line in written(*arguments, "--dry-run").splitlines() if "warning" in line]
    assert len(warnings) == (1 if warning else 0)
    if warning:
        assert warning in warnings[0]
        assert "raise --fan-in, or lower --pods-per-workflow" in warnings[0]


def test_a_plan_of_100_000_files_takes_no_time() -> None:
    """Arithmetic only: well under a second of processor time, the start of the interpreter aside."""
    started = time.process_time()
    written("--files", 100_000, "--dry-run")
    assert time.process_time() - started < 0.5
    plan = plans.make_plan(100_000, 2, None, 8, 2000)
    assert max(plans.node_count(plan.main_steps()), *map(node_count_of, plan.children())) < 5000


def node_count_of(pods: int) -> int:
    """The nodes of a child workflow."""
    return plans.node_count([pods])


# Wrong usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing option '--files'"),
        (("--files", 0), "0 is less than 1"),
        (("--files", 8, "--fan-in", 1), "1 is less than 2"),
        (("--files", 8, "--levels", 2, "--final-width", 2), "give one of them"),
        (("--files", 8, "--bucket", "b"), "--bucket: a volume has none; add --store oss"),
        (("--files", 8, "--store", "nas"), "'nas' is not one of 'volume', 'oss'"),
        (("--files", 8, "--size", 3), "--size is for --dry-run"),
        (("--files", 8, "--memory", "9=1Gi"), "the run has no level 9"),
        (("--files", 8, "--memory", "0=1Gi"), "the run has no level 0"),
        (("--files", 8, "--memory", "1Gi"), "'1Gi' is not LEVEL=VALUE"),
        (("--files", 8, "--cpu", "merge=lots"), "'lots' is no quantity"),
        (("--files", 8, "--cpu", "merge=1", "--cpu", "1=2"), "this level has a value already"),
        (("--files", 8, "--dir", "it's"), "has a quote"),
        (("--files", 8, "--dir", "{{item}}"), "a brace"),
        (("--files", 8, "--name", "a" * 31), "not 1 to 30 small letters"),
        (("--files", 8, "--namespace", "Argo"), "not 1 to 63 small letters"),
        (("--files", 8, "--submit", "--dry-run"), "give one of --dry-run and --submit"),
        (("--files", 8, "--submit"), "set ARGO_SERVER or give --server"),
    ],
)
def test_wrong_usage_says_what_to_do(
    arguments: tuple[object, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mistake has a message that names the option and the cure."""
    monkeypatch.delenv("ARGO_SERVER", raising=False)
    error = refused(*arguments)
    assert message in (error.format_message() if isinstance(error, click.UsageError) else str(error))
    assert getattr(error, "exit_code") == 2  # noqa: B009 - both families have it


def test_wrong_usage_is_one_line_and_exit_code_2() -> None:
    """As a program: one line on stderr, nothing on stdout, exit code 2."""
    done = program("--files", "8", "--memory", "9=1Gi")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "generate.py: error: --memory 9=1Gi: the run has no level 9; "
        "it reduces 0 levels, numbered from 1; the last pod is `merge`\n"
    )


def test_help_is_for_a_newcomer() -> None:
    """--help says what comes out, explains each option, and its examples run."""
    done = program("--help")
    assert done.returncode == 0
    assert "YAML on stdout" in done.stdout
    for option in generate.generate.params:
        assert isinstance(option, click.Option)
        assert option.help, option.name
    examples = re.findall(
        r"^ +(?:\S+=\S+ )*generate\.py (.*?)(?: [>&].*| --submit)?$", done.stdout, re.MULTILINE
    )
    assert len(examples) == 4
    for example in examples:
        assert written(*example.split())


def test_the_file_says_how_it_was_made_and_how_it_runs() -> None:
    """The comment at the top repeats the command, and names what must be there and what to call."""
    done = program("--files", "5000", "--store", "oss", "--dir", "my tiles")
    assert done.returncode == 0, done.stderr
    comment = [line for line in done.stdout.splitlines() if line.startswith("#")]
    assert comment[0] == "# Generated by: generate.py --files 5000 --store oss --dir 'my tiles'"
    assert "#   argo template create -n argo FILE   # this file: what the children run" in comment
    assert comment[-1] == "#   argo submit -n argo FILE -p bucket=… --watch"
    assert "volume.yaml" not in done.stdout
    workflow = list(yaml.safe_load_all(done.stdout))[-1]
    described = workflow["metadata"]["annotations"]["workflows.argoproj.io/description"]
    assert described == comment[1].removeprefix("# ")
    assert described.startswith("Reduces 5,000 files to result.txt: 2 at a time by 2,500 + 1,250 + 625 + ")
    assert described.endswith(" + 10 + 5 pods, and a merge of 5.")


# Submission


class ArgoServer(ThreadingHTTPServer):
    """Answers as Argo's server does when it creates something, and records what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[tuple[str, str, str | None, Manifest]] = []
        self.refusals: dict[str, tuple[int, str]] = {}


class _Answer(BaseHTTPRequestHandler):
    server: ArgoServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = self.path.split("/")[3]
        self.server.requests.append((self.command, self.path, self.headers["Authorization"], body))
        status, answer = 200, dict(body.get("workflow") or body["template"])
        answer["metadata"] = {**answer["metadata"], "name": "aggregate-x7k2p"}
        text = json.dumps(answer)
        if kind in self.server.refusals:
            status, text = self.server.refusals[kind]
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def argo_server() -> Iterator[ArgoServer]:
    """A server for the length of a test."""
    with ArgoServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_submit_sends_what_would_be_printed() -> None:
    """--submit creates the children's template, then the workflow, with the token, in the namespace."""
    arguments = ("--files", "5000", "--namespace", "tiles", "--memory", "1=1Gi")
    with argo_server() as server:
        done = program(*arguments, "--submit", ARGO_SERVER=server.address, ARGO_TOKEN="Bearer secret")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "aggregate-x7k2p is submitted; watch it with: argo watch -n tiles aggregate-x7k2p\n"
    assert [request[:3] for request in server.requests] == [
        ("POST", "/api/v1/workflow-templates/tiles", "Bearer secret"),
        ("POST", "/api/v1/workflows/tiles", "Bearer secret"),
    ]
    sent = [server.requests[0][3]["template"], server.requests[1][3]["workflow"]]
    assert sent == documents(*arguments)


def test_a_template_that_is_there_already_is_no_error() -> None:
    """A second submission of a shape finds its children's template: it is the same, by its name."""
    with argo_server() as server:
        server.refusals["workflow-templates"] = (409, '{"code": 6, "message": "already exists"}')
        done = program("--files", "5000", "--submit", "--server", server.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(server.requests) == 2


@pytest.mark.filterwarnings("ignore:The `json` method is deprecated")  # which Hera calls
@pytest.mark.parametrize(
    ("status", "body", "exit_code", "line"),
    [
        (401, '{"message": "token not valid"}', 5, "token not valid`; set ARGO_TOKEN"),
        (403, '{"message": "workflows is forbidden"}', 5, "forbidden`; set ARGO_TOKEN"),
        (
            400,
            '{"message": "templates.main is bad"}',
            5,
            "is bad`; check the namespace and the server's version",
        ),
        (503, "busy", 75, "busy`; try again"),
        (404, "{}", 5, "the answer is not a workflow; name an Argo server"),
        (200, "<html>", 5, "the answer is not a workflow; name an Argo server"),
    ],
)
def test_a_refused_submission_is_one_line(
    status: int, body: str, exit_code: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server says becomes an error with its place in the table of exit codes."""
    monkeypatch.setenv("ARGO_TOKEN", "secret")
    with argo_server() as server:
        server.refusals["workflows"] = (status, body)
        error = refused("--files", 8, "--submit", "--server", server.address)
    assert isinstance(error, errors.AggregationError)
    assert error.exit_code == exit_code
    assert line in str(error)
    assert str(error).startswith(f"submitting to {server.address}: ")
    assert "secret" not in str(error)


def test_a_server_that_is_not_there() -> None:
    """Nothing listens: one line, and the exit code of what another try may cure."""
    with argo_server() as server:
        address = server.address
    done = program("--files", "8", "--submit", ARGO_SERVER=address)
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr == (
        f"generate.py: error: submitting to {address}: no answer (ConnectionError); "
        "check ARGO_SERVER, and that the server runs\n"
    )
