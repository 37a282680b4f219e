"""Any number of files, any fan-in, any depth, on a volume or on OSS: the shapes beyond the tutorial's."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aggregation import tree
from workflows.catalogue import LIBRARY, RUNNABLE, commands, parameters_of, planner, submit
from workflows.execution import Cluster
from workflows.expansion import expand
from workflows.parameters import Manifest, ManifestError
from workflows.pods import Outputs, Pod, SecretKey, Stage

REQUIRED = {"bucket": "my-bucket"}
"""Workflow parameters that have no default on purpose."""


def shape(files: int, fan_in: int, width: int, **more: str) -> dict[str, str]:
    """The template's parameters."""
    return {"files": str(files), "fan-in": str(fan_in), "final-width": str(width), **more}


def planned(files: int, fan_in: int, width: int) -> Iterator[list[str]]:
    """The commands of each level by the worker's own arithmetic."""
    level = 1
    while files > width:
        groups = tree.group_count(files, fan_in)
        yield [
            f"python3 process.py {group} {level} --files {files} --fan-in {fan_in}" for group in range(groups)
        ]
        files, level = groups, level + 1
    yield [f"python3 merge.py {files} --level {level}"]


@pytest.mark.parametrize(("name", "document"), RUNNABLE.items(), ids=RUNNABLE)
def test_every_default_runs(name: str, document: Manifest) -> None:
    """A manifest submitted as it stands gives pods, up to parameters that must be given."""
    given = {key: REQUIRED[key] for key, value in parameters_of(document).items() if value is None}
    stages = list(expand(document, LIBRARY, given, run=planner(32)))
    assert commands(stages)[-1] == ["python3 prepare.py 32"] or commands(stages)[-1][0].startswith(
        "python3 merge.py 8"
    ), name


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("fan_in", [2, 3, 4, 16])
def test_every_level_has_the_groups_of_the_trees_arithmetic(fan_in: int, width: int) -> None:
    """For 1 to 130 files: the commands are the plan's, no loop is empty, one step a level is skipped."""
    border = [*range(1, 18), 31, 32, 33, 63, 64, 65, 127, 128, 129, 130]
    for files in range(1, 131) if (fan_in, width) == (2, 8) else border:
        stages = submit("aggregation.yaml", shape(files, fan_in, width))
        plan = list(planned(files, fan_in, width))
        assert commands(stages) == plan, files
        skipped = [name for stage in stages for name in stage.skipped]
        assert skipped == ["plan-inputs"] + ["merge-data"] * (len(plan) - 1) + ["reduce"]


@pytest.mark.parametrize("name", ["aggregation-oss.yaml", "process-data-oss.yaml"])
def test_pods_share_what_a_bucket_takes(name: str) -> None:
    """Each level's pods that run at a time send 2,000 requests a second together; the merge may alone."""
    given = shape(200, 2, 8) if name == "aggregation-oss.yaml" else {"numbers": "100"}
    *levels, merge = (stage for stage in submit(name, {**REQUIRED, **given}) if stage.pods)
    at_a_time = RUNNABLE[name]["spec"]["parallelism"]
    key = "AGGREGATION_REQUESTS_PER_SECOND"
    for level in levels:
        (share,) = {float(dict(pod.environment)[key]) for pod in level.pods}
        assert share * min(at_a_time, len(level.pods)) <= 2000
        assert share * at_a_time >= 1900
    assert key not in dict(merge.pods[0].environment)


@pytest.mark.parametrize("fan_in", [2, 3, 4, 16])
def test_shapes_make_the_concatenation(tmp_path: Path, fan_in: int) -> None:
    """The commands, executed, join every file once and in order, empty ones too, at each border of a shape.

    The final width is 4: up to 4 files are merged, up to 4 groups are reduced once. That the commands are the
    plan's for each number of files is seen above.
    """
    cluster = Cluster(tmp_path)
    wanted, pods = {}, []
    for files in {1, 4, 5, fan_in, fan_in + 1, 4 * fan_in, 4 * fan_in + 1, 130}:
        folder = f"{files}-{fan_in}"
        contents = [bytes([number, 10, 255]) * (number % 3) for number in range(files)]
        level = cluster.volume / folder / "l1"
        level.mkdir(parents=True)
        for number, content in enumerate(contents):
            (level / f"{number}.txt").write_bytes(content)
        wanted[folder] = b"".join(contents)
        stages = submit("aggregation.yaml", shape(files, fan_in, 4, dir=folder))
        pods += [pod for stage in stages for pod in stage.pods]
    cluster.run_together(pods)
    assert {folder: (cluster.volume / folder / "result.txt").read_bytes() for folder in wanted} == wanted


@pytest.mark.parametrize(
    ("files", "fan_in", "width", "lines"),
    [
        pytest.param(1, 2, 8, ["merge.py 1 --level 1"], id="one file"),
        pytest.param(8, 2, 8, ["merge.py 8 --level 1"], id="as many as the final width"),
        pytest.param(
            9, 16, 8, ["process.py 0 1 --files 9 --fan-in 16", "merge.py 1 --level 2"], id="one short group"
        ),
        pytest.param(
            2, 2, 0, ["process.py 0 1 --files 2 --fan-in 2", "merge.py 1 --level 2"], id="final width 0 is 1"
        ),
        pytest.param(40, 1, 8, ["merge.py 40 --level 1"], id="fan-in 1 reduces nothing"),
        pytest.param(40, 0, 8, ["merge.py 40 --level 1"], id="fan-in 0 reduces nothing"),
    ],
)
def test_edges_go_straight_to_the_merge(files: int, fan_in: int, width: int, lines: list[str]) -> None:
    """Where there is little or nothing to reduce, the recursion ends at once."""
    stages = commands(submit("aggregation.yaml", shape(files, fan_in, width)))
    assert stages == [[f"python3 {line}"] for line in lines]


def test_the_sister_example_comes_out_by_parameters_alone() -> None:
    """512 files in five levels: 256, 128, 64, 32 and 16 merges, then merge.py 16 over l6."""
    stages = commands(submit("aggregation.yaml", shape(512, 2, 16)))
    assert [len(stage) for stage in stages] == [256, 128, 64, 32, 16, 1]
    assert stages[-1] == ["python3 merge.py 16 --level 6"]


def test_the_thin_workflow_is_the_template() -> None:
    """aggregate.yaml runs what the template runs, with the same defaults, and repeats none of its spec."""
    assert submit("aggregate.yaml") == submit("aggregation.yaml")
    given = shape(1000, 16, 8, dir="tiles")
    assert submit("aggregate.yaml", given) == submit("aggregation.yaml", given)
    assert RUNNABLE["aggregate.yaml"]["spec"].keys() == {"workflowTemplateRef", "arguments"}
    thin = {
        item["name"]: item["value"] for item in RUNNABLE["aggregate.yaml"]["spec"]["arguments"]["parameters"]
    }
    assert thin.items() <= parameters_of(RUNNABLE["aggregation.yaml"]).items()


@pytest.mark.parametrize("name", ["aggregation.yaml", "aggregation-oss.yaml"])
def test_the_templates_keep_to_what_v3_4_knows(name: str) -> None:
    """No field that came later: v3.4's CLI refuses the file for one, and its controller the workflow."""
    assert keys(RUNNABLE[name]) & {"mutexes", "semaphores", "deleteDelayDuration", "cap", "database"} == set()


def keys(value: Any) -> set[str]:
    """All the keys anywhere in a value."""
    if isinstance(value, dict):
        return set(value) | {key for item in value.values() for key in keys(item)}
    return {key for item in value for key in keys(item)} if isinstance(value, list) else set()


@pytest.mark.parametrize(
    ("name", "given", "scratch"),
    [
        ("aggregation.yaml", {}, ""),
        ("aggregate.yaml", {}, ""),
        ("aggregation-oss.yaml", REQUIRED, "/scratch"),
    ],
)
def test_without_a_command_nothing_is_different(name: str, given: dict[str, str], scratch: str) -> None:
    """The variables of a command are empty or the worker's own defaults, and no argument speaks of one."""
    for pod in (pod for stage in submit(name, given) for pod in stage.pods):
        variables = dict(pod.environment)
        assert {key: variables[f"AGGREGATION_{key}"] for key in ("COMMAND", "SUFFIX", "SCRATCH")} == {
            "COMMAND": "",
            "SUFFIX": ".txt",
            "SCRATCH": scratch,
        }
        assert variables["AGGREGATION_ALLOW_EMPTY"] == "false"
        assert not [word for word in pod.command if word in ("--command", "--suffix", "--scratch")]


@pytest.mark.parametrize("name", ["aggregation.yaml", "aggregate.yaml", "aggregation-oss.yaml"])
def test_a_command_is_a_variable_and_never_an_argument(name: str) -> None:
    """Whatever it holds, it reaches the worker as it is, and the pods' command lines stay the same."""
    given = REQUIRED if "oss" in name else {}
    texts = {
        "command": """sh -c 'cat "$@" > "$0"; rm -rf $(pwd) `id`' {output} {inputs}""",
        "final-command": "jq -s 'add | {total: .}' ; | > {inputs}",
        "suffix": ".osm.pbf",
        "allow-empty": "true",
        "scratch": "/scratch",
    }
    stages = submit(name, {**given, **texts})
    assert commands(stages) == commands(submit(name, given))
    *levels, last = [[dict(pod.environment) for pod in stage.pods] for stage in stages if stage.pods]
    assert {each["AGGREGATION_COMMAND"] for level in levels for each in level} == {texts["command"]}
    assert [each["AGGREGATION_COMMAND"] for each in last] == [texts["final-command"]]
    for variables in (each for level in [*levels, last] for each in level):
        told = [variables[f"AGGREGATION_{key}"] for key in ("SUFFIX", "ALLOW_EMPTY", "SCRATCH")]
        assert told == [".osm.pbf", "true", "/scratch"]


def test_the_command_makes_the_result_too() -> None:
    """Without a final command every pod has the same one; the final one alone leaves the levels plain."""
    for given, wanted in [
        ({"command": "sort"}, {"process-data": "sort", "merge-data": "sort"}),
        ({"final-command": "wc"}, {"process-data": "", "merge-data": "wc"}),
    ]:
        pods = [pod for stage in submit("aggregation.yaml", given) for pod in stage.pods]
        assert {(pod.template, dict(pod.environment)["AGGREGATION_COMMAND"]) for pod in pods} == set(
            wanted.items()
        )


@pytest.mark.parametrize("scratch", ["", "/scratch"])
def test_commands_run_in_the_pods(scratch: str, tmp_path: Path) -> None:
    """The pods' variables, given to real processes, make the levels by one program, the result by another."""
    cluster = Cluster(tmp_path)
    level = cluster.volume / "aggregation-demo" / "l1"
    level.mkdir(parents=True)
    for number in range(5):
        (level / f"{number}.csv").write_text(f"{9 - number}\n")
    given = shape(5, 2, 2, suffix=".csv", command="sort -n", scratch=scratch)
    for final in ("", "sort -rn {inputs} -o {output}"):
        stages = submit("aggregation.yaml", {**given, "final-command": final})
        for stage in stages:
            cluster.run_each(stage.pods)
        numbers = (cluster.volume / "aggregation-demo/result.csv").read_text().split()
        assert numbers == [str(number) for number in (range(9, 4, -1) if final else range(5, 10))]
    assert not list(cluster.volume.rglob(".*"))


FRAMES = {"frames": "1-9", "name": "shot_{number:04}.exr"}


@pytest.mark.parametrize(
    ("given", "joined", "gaps"),
    [
        ({"glob": "shot_*.exr"}, [1, 2, 3, 5, 6, 8, 9], 0),
        ({**FRAMES, "missing": "skip", "at-most-missing": "2"}, [1, 2, 3, 5, 6, 8, 9], 2),
        ({**FRAMES, "missing": "shot_0001.exr", "at-most-missing": "25%"}, [1, 2, 3, 1, 5, 6, 1, 8, 9], 2),
    ],
)
def test_inputs_under_their_own_names(
    given: dict[str, str], joined: list[int], gaps: int, tmp_path: Path
) -> None:
    """One pod lists them first; its count goes on, whatever `files` says; gaps stand beside the result."""
    cluster = Cluster(tmp_path)
    root = cluster.volume / "aggregation-demo"
    root.mkdir()
    for number in (1, 2, 3, 5, 6, 8, 9):
        (root / f"shot_{number:04}.exr").write_text(f"{number} ")
    every, outputs = cluster.finish(RUNNABLE["aggregation.yaml"], LIBRARY, {**shape(4, 2, 2), **given})
    stages = [stage for stage in every if stage.pods]
    assert [pod.command for pod in stages[0].pods] == [("python3", "inputs.py")]
    assert commands(stages)[1:] == list(planned(len(joined), 2, 2))
    assert outputs == {"missing": str(gaps)}
    assert (root / "result.txt").read_text().split() == list(map(str, joined))
    beside = root / "result.txt.missing.json"
    assert (json.loads(beside.read_text())["missing"] if beside.exists() else 0) == gaps
    assert not (root / "runs").exists()


@pytest.mark.parametrize("more", [{}, {"missing": "skip", "at-most-missing": "1"}])
def test_gaps_beyond_the_bound_end_the_planning_pod(more: dict[str, str], tmp_path: Path) -> None:
    """Exit code 3, which is not tried again, and no list."""
    cluster = Cluster(tmp_path)
    root = cluster.volume / "aggregation-demo"
    root.mkdir()
    (root / "shot_0001.exr").write_text("1")

    def attempted(pod: Pod) -> Outputs:
        code, said = cluster.attempt(pod)
        raise ManifestError(f"{code}: {said}")

    with pytest.raises(ManifestError, match=r"^3: .*8 of 9 are missing: 2-9"):
        list(submit("aggregation.yaml", {**FRAMES, **more}, run=attempted))
    assert [path.name for path in root.iterdir()] == ["shot_0001.exr"]


def test_the_oss_variant_lists_its_inputs_too() -> None:
    """The same pod by the same template, on the bucket."""

    def answer(pod: Pod) -> Outputs:
        assert pod.command == ("python3", "inputs.py")
        assert dict(pod.environment)["AGGREGATION_ROOT"] == "oss://my-bucket/aggregation-demo"
        assert dict(pod.environment)["AGGREGATION_GLOB"] == "parts/*.bin"
        return Outputs("17", {"summary": json.dumps({"files": 17})})

    stages = list(submit("aggregation-oss.yaml", {**REQUIRED, "glob": "parts/*.bin"}, run=answer))
    assert commands(stages)[1:] == list(planned(17, 2, 8))


OSS_SECRETS = {
    SecretKey("OSS_ACCESS_KEY_ID", "oss-secret", "akId", optional=True),
    SecretKey("OSS_ACCESS_KEY_SECRET", "oss-secret", "akSecret", optional=True),
    SecretKey("OSS_SESSION_TOKEN", "oss-secret", "securityToken", optional=True),
}


@pytest.mark.parametrize(
    ("name", "sister"),
    [("aggregation-oss.yaml", "aggregation.yaml"), ("process-data-oss.yaml", "process-data.yaml")],
)
def test_the_oss_variant_runs_the_same_commands_without_a_volume(name: str, sister: str) -> None:
    """Other storage, same pods: the root is a bucket, the keys come from a Secret, nothing is mounted."""
    stages = submit(name, REQUIRED)
    assert commands(stages) == commands(submit(sister))
    for pod in (pod for stage in stages for pod in stage.pods):
        assert (
            dict(pod.environment).items()
            >= {
                "AGGREGATION_ROOT": "oss://my-bucket/aggregation-demo",
                "OSS_ENDPOINT": "https://oss-cn-hangzhou-internal.aliyuncs.com",
                "OSS_REGION": "cn-hangzhou",
            }.items()
        )
        assert set(pod.secrets) == OSS_SECRETS
        assert dict(pod.mounts).items() <= {("/tmp", "tmp"), ("/scratch", "scratch")}
    assert not [pod for stage in submit(sister) for pod in stage.pods if pod.secrets]


@pytest.mark.parametrize("name", ["aggregation-oss.yaml", "process-data-oss.yaml"])
def test_the_bucket_must_be_named(name: str) -> None:
    """A bucket has no default: `argo submit` refuses before a pod starts."""
    with pytest.raises(ManifestError, match="'bucket' has no value"):
        submit(name)


@pytest.mark.parametrize("name", ["aggregation-oss.yaml", "process-data-oss.yaml"])
def test_another_secret_or_none_may_be_named(name: str) -> None:
    """`secret` names the Secret of the keys; with RRSA it names none that exists."""
    pods = [pod for stage in submit(name, REQUIRED | {"secret": "none"}) for pod in stage.pods]
    assert {key.secret for pod in pods for key in pod.secrets} == {"none"}


def test_the_oss_tutorial_prepares_its_own_data() -> None:
    """`--entrypoint prepare-data` writes as many objects as the pipeline reads."""
    stages = submit("process-data-oss.yaml", REQUIRED | {"numbers": "15"}, entrypoint="prepare-data")
    assert commands(stages) == [["python3 prepare.py 30"]]


def test_with_items_is_the_tutorials_25_commands(tmp_path: Path) -> None:
    """The lists of items are the tutorial's loops, and their commands make the result."""
    stages = submit("process-data-with-items.yaml")
    assert commands(stages) == commands(submit("aggregation.yaml"))
    assert [len(stage.pods) for stage in stages] == [16, 8, 1]
    letters = prepared(cluster := Cluster(tmp_path), 32)
    cluster.run_together(pod for stage in stages for pod in stage.pods)
    assert result(cluster) == letters


@pytest.mark.parametrize("files", [1, 2, 3, 4, 5, 31, 32, 33, 100])
def test_with_param_takes_any_count_that_is_there(files: int) -> None:
    """The lists come from the planner, and each pod knows how many files its level holds."""
    stages = submit("process-data-with-param.yaml", run=planner(files))
    first, second = math.ceil(files / 2), math.ceil(math.ceil(files / 2) / 2)
    assert commands(stages) == [
        ["python3 plan.py 1"],
        [f"python3 process.py {number} 1 --files {files} --fan-in 2" for number in range(first)],
        ["python3 plan.py 2"],
        [f"python3 process.py {number} 2 --files {first} --fan-in 2" for number in range(second)],
        [f"python3 merge.py {second} --level 3"],
    ]
    counted = [dict(stages[index].pods[0].environment)["AGGREGATION_FILES"] for index in (0, 2)]
    assert counted == ["", str(first)]


def test_with_param_makes_the_result(tmp_path: Path) -> None:
    """The planner counts what is there, and what it prints drives the pods to the result."""
    letters = prepared(cluster := Cluster(tmp_path), 31)
    stages: Iterator[Stage] = expand(RUNNABLE["process-data-with-param.yaml"], LIBRARY, run=cluster.run)
    for stage in stages:
        if "plan.py" not in stage.pods[0].command:
            cluster.run_together(stage.pods)
    assert result(cluster) == letters


def prepared(cluster: Cluster, files: int) -> bytes:
    """Run prepare-data.yaml and return all its letters."""
    stages = submit("prepare-data.yaml", {"files": str(files)})
    cluster.run_together(pod for stage in stages for pod in stage.pods)
    level = cluster.volume / "aggregation-demo" / "l1"
    return b"".join((level / f"{number}.txt").read_bytes() for number in range(files))


def result(cluster: Cluster) -> bytes:
    """The result of the tutorial's directory."""
    return (cluster.volume / "aggregation-demo" / "result.txt").read_bytes()
