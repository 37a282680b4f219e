"""Every command of argo and kubectl that is written down: its namespace, its files, its parameters."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pages.markdown import page, pages
from scripts import REPOSITORY, WORKER, environment
from workflows.catalogue import FOLDER
from workflows.command_lines import PAGES, comments, found, mistakes

SCRIPTS = [*sorted(WORKER.glob("*.py")), FOLDER / "generate.py", REPOSITORY / "tests" / "e2e"]


def printed(script: Path, *arguments: str) -> str:
    """What a script says on standard output."""
    return subprocess.run(
        [sys.executable, script, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_comments_of_a_manifest(page: Path) -> None:
    """From the folder of the file, as its head says."""
    assert mistakes(comments(page), page.parent) == []


@pytest.mark.parametrize("name", [*map(str, pages()), "Makefile"])
def test_pages(name: str) -> None:
    """From the repository's folder."""
    assert mistakes((REPOSITORY / name).read_text(encoding="utf-8"), REPOSITORY) == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help(script: Path) -> None:
    """What --help tells to type."""
    assert mistakes(printed(script, "--help"), REPOSITORY) == []


@pytest.mark.parametrize(
    "shape", [("8",), ("5000",), ("8", "--store", "oss"), ("5000", "--namespace", "tiles")]
)
def test_what_generate_writes(shape: tuple[str, ...]) -> None:
    """The head of a generated file, whose FILE is itself, in the namespace that was asked for."""
    text = printed(FOLDER / "generate.py", "--files", *shape)
    namespace = shape[-1] if "--namespace" in shape else "argo"
    head = "\n".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    made = {"FILE": list(yaml.safe_load_all(text))}
    assert len(list(found(head))) >= 2
    assert mistakes(head, FOLDER, namespace=namespace, made=made) == []


def test_the_pages_show_commands() -> None:
    """What the checks above look at is there: they would pass on an empty page too."""
    verbs = {command.words[:2] for command in found(page("docs/argo.md").text)}
    assert {("kubectl", "apply"), ("argo", "submit"), ("argo", "get")} <= verbs


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("argo submit manifests/process-data.yaml --watch", "it has no -n argo"),
        ("so `argo get @latest` shows it", "it has no -n argo"),
        ("kubectl apply -f manifests/rbac.yaml -n other", "it has no -n argo"),
        ("a && kubectl apply -n argo -f rbac.yaml", "there is no file rbac.yaml"),
        (
            "kubectl apply -n argo -k manifests/examples",
            "there is no kustomization.yaml in manifests/examples",
        ),
        ("argo submit -n argo manifests/proces-data.yaml", "there is no file manifests/proces-data.yaml"),
        ("argo submit -n argo manifests/process-data.yaml -p number=3", "has no parameter ['number']"),
        ("argo submit -n argo manifests/aggregate.yaml -p image=x -p tar=y", "has no parameter ['tar']"),
        ("argo submit -n argo --from workflowtemplate/aggregate", "no WorkflowTemplate aggregate"),
        ("argo submit -n argo --watch", "it submits nothing"),
        (
            "argo submit -n argo manifests/process-data-oss.yaml --entrypoint prepare",
            "no template ['prepare']",
        ),
        ("argo submit -n argo manifests/process-data.yaml --serviceaccount me", "no account ['me']"),
        ("argo submit \\\n  -n argo manifests/process-data.yaml -p a=1", "has no parameter ['a']"),
        ("kubectl label namespace argo a=b", None),
        ("x.py > run.yaml && argo submit -n argo run.yaml --watch  # to see it", None),
        (
            "argo submit -n argo manifests/aggregate.yaml -p command='sort {inputs} | > {output}' -p files=9",
            None,
        ),
    ],
)
def test_each_mistake_is_found(line: str, mistake: str | None) -> None:
    """The check itself: in prose, in a shell's line, after an operator, over two lines."""
    wrong = mistakes(line, REPOSITORY)
    assert len(wrong) == (mistake is not None)
    if mistake:
        assert mistake in wrong[0]
