"""The workflows of manifests/examples: they load, are hardened, and run the recipes of docs/recipes.md."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from pages.markdown import page
from scripts import write_level
from workflows import models
from workflows.catalogue import FOLDER, LIBRARY, RUNNABLE, commands, parameters_of, pods_of, submit
from workflows.documents import effective_spec, load
from workflows.execution import Cluster
from workflows.expansion import expand
from workflows.parameters import Manifest
from workflows.pods import Stage

ALL = {path.name: load(path)[0] for path in sorted((FOLDER / "examples").glob("*.yaml"))}
EXAMPLES = {name: each for name, each in ALL.items() if "workflowTemplateRef" in each["spec"]}
"""Those that run a recipe; test_larger_workflows has the others."""
PAGE = page("docs/recipes.md")
EACH = pytest.mark.parametrize(("name", "example"), EXAMPLES.items(), ids=EXAMPLES)


def stages_of(example: Manifest, **parameters: str) -> list[Stage]:
    """The stages of an example, its bucket given if it has one."""
    given = {name: "my-bucket" for name, value in parameters_of(example).items() if value is None}
    return list(expand(example, LIBRARY, {**given, **parameters}))


def test_there_is_one_for_each_recipe() -> None:
    """Sorted merge, animation and map, each named on the page."""
    assert list(EXAMPLES) == ["animation.yaml", "map.yaml", "sorted-merge.yaml"]
    for name in EXAMPLES:
        assert f"`{name}`" in PAGE.text


@EACH
def test_it_survives_heras_model(name: str, example: Manifest) -> None:
    """Every key is one that Argo knows: it comes back from Hera's model."""
    assert models.lost(example) == [], name


@EACH
def test_it_is_thin_and_explains_itself(name: str, example: Manifest) -> None:
    """It names the template and lays a few values over it; its head says purpose, prerequisites and call."""
    assert example["spec"].keys() == {"workflowTemplateRef", "arguments"}
    text = (FOLDER / "examples" / name).read_text(encoding="utf-8")
    top = text.split("apiVersion:")[0]
    assert all(line.startswith("#") for line in top.splitlines())
    version = example["metadata"]["annotations"]["workflows.argoproj.io/version"]
    # Up to v3.6 a template's setting wins over a value of the workflow that names it: here the image.
    own_image = "image" in {item["name"] for item in example["spec"]["arguments"]["parameters"]}
    assert version == (">= 3.7.0" if own_image else ">= 3.4.2")
    assert f"Prerequisites: Argo Workflows v{version[3:].removesuffix('.0')} or later" in top
    assert f"argo submit -n argo {name}" in top
    assert all(len(line) <= 118 for line in text.splitlines())


@EACH
def test_what_it_lays_over_the_template_weakens_nothing(name: str, example: Manifest) -> None:
    """The pods keep security, retries, mounts and storage of the template's own; memory and room grow."""
    template = RUNNABLE[f"{example['spec']['workflowTemplateRef']['name']}.yaml"]
    plain = effective_spec(template)
    spec = effective_spec(example, LIBRARY)
    same = ("podGC", "parallelism", "serviceAccountName", "templates")
    assert {key: spec[key] for key in same} == {key: plain[key] for key in same}, name
    for pod in pods_of(example):
        assert pod.container["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod.spec["securityContext"]["runAsNonRoot"] is True
        assert pod.retry is not None
        assert pod.container["resources"].keys() == {"requests", "limits"}
        assert ("/scratch", "scratch") in pod.mounts
        assert ("/tmp", "tmp") in pod.mounts
        root = dict(pod.environment)["AGGREGATION_ROOT"]
        assert root.startswith("oss://my-bucket/") != (("/mnt/vol", "workdir") in pod.mounts)


@EACH
def test_it_runs_the_page_s_recipe(name: str, example: Manifest) -> None:
    """Command and suffix are the page's, word by word, as a variable of each pod."""
    program = {"animation.yaml": "join-film", "map.yaml": "osmium", "sorted-merge.yaml": "sort -m"}[name]
    blocks = [block.text for block in PAGE.blocks("sh")]
    (block,) = [text for text in blocks if program in text and "--command" in text]
    words = shlex.split(block.replace("\\\n", " "))
    options = dict(pairwise(words))
    last = options.get("--final-command", options["--command"])
    for pod in pods_of(example):
        variables = dict(pod.environment)
        wanted = last if pod.template == "merge-data" else options["--command"]
        assert shlex.split(variables["AGGREGATION_COMMAND"]) == shlex.split(wanted)
        assert variables["AGGREGATION_SUFFIX"] == options.get("--suffix", ".txt")


@EACH
def test_nothing_in_it_is_eaten_on_the_way(name: str, example: Manifest) -> None:
    """Kubernetes makes one $ of two and fills in $(NAME), Argo fills in its tags: the commands have none."""
    for pod in pods_of(example):
        text = dict(pod.environment)["AGGREGATION_COMMAND"]
        assert not re.search(r"\$\$|\$\([A-Z_]+\)|\{\{", text), name


def test_sorted_merge_merges(tmp_path: Path) -> None:
    """Its pods, run as processes, merge sorted files into one."""
    cluster = Cluster(tmp_path)
    lines = [[f"{(7 * number) % 40:02} of {number}" for number in range(n, 40, 20)] for n in range(20)]
    contents = ["".join(f"{line}\n" for line in sorted(part)).encode() for part in lines]
    write_level(cluster.volume / "logs", 1, contents)
    stages = stages_of(EXAMPLES["sorted-merge.yaml"], files="20")
    assert [len(stage.pods) for stage in stages if stage.pods] == [2, 1]
    for stage in stages:
        cluster.run_each(stage.pods)
    wanted = "".join(f"{line}\n" for line in sorted(line for part in lines for line in part))
    assert (cluster.volume / "logs/result.txt").read_text() == wanted
    assert not list(cluster.volume.rglob(".*"))


@pytest.mark.parametrize(
    ("name", "pods"), [("sorted-merge.yaml", [16, 1]), ("animation.yaml", [8, 1]), ("map.yaml", [8, 2, 1])]
)
def test_the_shape_of_each(name: str, pods: list[int]) -> None:
    """As many levels as its numbers say, with the commands of the template that it names."""
    example = EXAMPLES[name]
    stages = stages_of(example)
    assert [len(stage.pods) for stage in stages if stage.pods] == pods
    given = {key: value for key, value in parameters_of(example).items() if value is not None}
    given |= {"bucket": "my-bucket"} if "bucket" in parameters_of(example) else {}
    template = f"{example['spec']['workflowTemplateRef']['name']}.yaml"
    assert commands(stages) == commands(submit(template, given))
