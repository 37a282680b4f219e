"""The documents that generate.py writes: expanded, and executed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hera.workflows import models

import scripts
from aggregation import tree
from manifests.shapes import plan as plans
from workflows.children import Running
from workflows.documents import load, merge
from workflows.execution import Cluster
from workflows.generated import BUCKET, STORES, documents, running, written
from workflows.parameters import Manifest
from workflows.pods import Pod


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


SHAPES = [
    # files, fan-in, levels, final width, pods of a workflow
    *((files, 2, None, 8, 2000) for files in (1, 7, 8, 9, 130)),
    *((files, 3, None, 1, 2000) for files in (1, 2, 3, 4, 28)),
    *((files, 16, None, 4, 2000) for files in (4, 5, 17, 257)),
    *((33, 2, levels, 8, 2000) for levels in (0, 1, 2, 6, 9)),
    *((130, fan_in, None, 8, pods) for fan_in in (2, 16) for pods in (1, 4, 64, 65)),
    *((100, 3, levels, 8, 10) for levels in (0, 1, 7)),
]


def test_every_shape_has_the_groups_of_the_trees_arithmetic() -> None:
    """Whole or split into children, each level's pods are the plan's, and so are the estimated nodes."""
    for files, fan_in, levels, width, pods in SHAPES:
        depth = ("--final-width", width) if levels is None else ("--levels", levels)
        shape = ("--files", files, "--fan-in", fan_in, *depth, "--pods-per-workflow", pods)
        counts = widths(files, fan_in, levels, width)
        run = running(*shape)
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
    children, parent = documents("--files", 5000, "--children", 1, *store)
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


@pytest.mark.parametrize(
    ("arguments", "share"),
    [(("--files", 40), 125), (("--files", 40, "--parallelism", 8), 250), (("--files", 5000), 31.2)],
)
def test_pods_share_what_a_bucket_takes(arguments: tuple[object, ...], share: float) -> None:
    """2,000 requests a second by the pods at a time, of all children; the merge, alone, may send all."""
    found = {}
    for document in documents(*arguments, *BUCKET):
        for template in document["spec"]["templates"]:
            env = {each["name"]: each.get("value") for each in template.get("container", {}).get("env", [])}
            found[template["name"]] = env.get("AGGREGATION_REQUESTS_PER_SECOND")
    assert float(found["process-data"] or 0) == share
    assert found["merge-data"] is None


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


FRAMES = ("--frames", "1-9", "--frame-name", "shot_{number:04}.exr")


@pytest.mark.parametrize(
    ("given", "joined", "missing"),
    [
        (("--files", 40, "--glob", "shot_*.exr"), [1, 2, 3, 5, 6, 8, 9], "0"),
        ((*FRAMES, "--missing", "skip", "--at-most-missing", "2"), [1, 2, 3, 5, 6, 8, 9], "2"),
        ((*FRAMES, "--missing", "shot_0001.exr"), [1, 2, 3, 1, 5, 6, 1, 8, 9], "2"),
    ],
)
def test_inputs_under_their_own_names(
    given: tuple[object, ...], joined: list[int], missing: str, tmp_path: Path
) -> None:
    """A pod lists them first; the levels are as wide as it finds, and the workflow says how many lack."""
    cluster = Cluster(tmp_path)
    root = frames_of(cluster)
    (document,) = documents(*given, "--levels", 2, "--memory", "1=64Mi", "--memory", "merge=1Gi")
    stages, outputs = cluster.finish(document, [])
    assert [[pod.command[1] for pod in stage.pods] for stage in stages] == [
        ["inputs.py"],
        *(["process.py"] * count for count in tree.widths(len(joined), 2, 2)[1:]),
        ["merge.py"],
    ]
    assert (root / "result.txt").read_text().split() == list(map(str, joined))
    assert outputs == {"missing": missing}


def frames_of(cluster: Cluster) -> Path:
    """Frames 1 to 9 on a volume, of which 4 and 7 are missing."""
    root = cluster.volume / "aggregation-demo"
    root.mkdir()
    for number in (1, 2, 3, 5, 6, 8, 9):
        (root / f"shot_{number:04}.exr").write_text(f"{number} ")
    return root


def test_children_work_by_their_parent_s_list(tmp_path: Path) -> None:
    """The ranges are what --files says; a list of another length ends the pods of level 1 with 3."""
    cluster = Cluster(tmp_path)
    root = frames_of(cluster)
    split = ("--levels", 2, "--pods-per-workflow", 3)
    run = running("--files", 7, "--glob", "shot_*.exr", *split)
    assert run.nodes() == plans.node_count(plans.make_plan(7, 2, 2, 8, 3, listed=True).main_steps())
    cluster.run_together(pod for level in run.levels() for pod in level)
    assert (root / "result.txt").read_text() == "1 2 3 5 6 8 9 "
    (listing,), (first, *_), *_ = running("--files", 9, "--glob", "shot_*.exr", *split).levels()
    cluster.run(listing)
    code, said = cluster.attempt(first)
    assert (code, "9" in said and "7" in said) == (3, True), said


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


def test_100_000_files_stay_under_5_000_nodes_a_workflow() -> None:
    """Parent and children of a huge run are small enough, and together they do the whole plan."""
    fan_in = 16
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
