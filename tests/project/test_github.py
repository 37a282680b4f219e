"""What GitHub and editors read: workflows, forms, hooks; they call what is here, and are pinned."""

import re
from typing import Any

import pytest
import yaml

from pages.markdown import page
from pages.shell_lines import mistakes
from scripts import REPOSITORY, Outcome, finished

GITHUB = REPOSITORY / ".github"
WORKFLOWS = {
    path.name: path.read_text(encoding="utf-8") for path in sorted((GITHUB / "workflows").glob("*.yml"))
}
EACH = pytest.mark.parametrize("name", WORKFLOWS)


def loaded(name: str) -> Any:
    """A workflow; YAML reads its key `on` as true."""
    return yaml.safe_load(WORKFLOWS[name])


def runs(name: str) -> str:
    """All that a workflow's steps run."""
    return "\n".join(
        step["run"] for job in loaded(name)["jobs"].values() for step in job["steps"] if "run" in step
    )


@EACH
def test_actions_are_pinned(name: str) -> None:
    """By their commit, with the version beside it; an action has one commit everywhere."""
    used = re.findall(r"uses: (\S+)(.*)$", WORKFLOWS[name], re.MULTILINE)
    assert used
    assert all(
        re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action + version) for action, version in used
    )
    everywhere = {action for text in WORKFLOWS.values() for action in re.findall(r"uses: (\S+)", text)}
    assert len(everywhere) == len({action.partition("@")[0] for action in everywhere})


@EACH
def test_least_permissions(name: str) -> None:
    """None for the whole workflow; each job says what it needs, and keeps no credentials in the checkout."""
    workflow = loaded(name)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"]["contents"] in ("read", "write")
        assert job["timeout-minutes"]
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout")]
        assert [step["with"]["persist-credentials"] for step in checkouts] == [False]
    writes = {
        (key, what)
        for key, job in workflow["jobs"].items()
        for what, how in job["permissions"].items()
        if how == "write"
    }
    assert writes == ({("image", "packages"), ("notes", "contents")} if name == "release.yml" else set())


def test_ci_runs_what_a_developer_runs() -> None:
    """The one script, the manifests on a cluster, the checks of the workflows."""
    text = runs("ci.yml")
    for words in (".ci/run", "make e2e E2E=", "kind create cluster", "actionlint", "zizmor"):
        assert words in text
    assert mistakes("\n".join(line for line in text.splitlines() if line.startswith("make "))) == []


def test_a_release_is_built_tested_and_described() -> None:
    """In that order, with provenance and SBOM."""
    jobs = loaded("release.yml")["jobs"]
    assert (jobs["image"]["needs"], jobs["notes"]["needs"]) == ("tests", "image")
    text = runs("release.yml")
    for words in (".ci/run", "type=provenance", "type=sbom", ".ci/notes", "gh release create", "docker run"):
        assert words in text
    taken = re.findall(r"^ARG (\w+)", (REPOSITORY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r'--build-arg "(\w+)=', text)) == set(taken)


def notes(version: str) -> Outcome:
    """What the release's notes are made by."""
    return finished([REPOSITORY / ".ci/notes", version])


def test_notes() -> None:
    """A version's section, whole and alone; another version is an error of one line."""
    done = notes("0.2.0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == page("CHANGELOG.md").section("0.2.0").strip()
    wrong = notes("9.9.9")
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (1, "", 1)


def test_the_hooks_are_make_lint() -> None:
    """pre-commit runs the commands of `make lint`, no other and no other version."""
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    target = makefile.partition("\nlint:")[2].partition("\n\n")[0]
    lint = [line.strip().replace("$(BIN)", ".venv/bin") for line in target.splitlines()[1:]]
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    entries = [hook["entry"].removeprefix("env ") for repo in hooks for hook in repo["hooks"]]
    assert entries == lint


def test_the_forms_ask_for_what_helps() -> None:
    """The error line and --version, which must be given; every form loads."""
    forms = {
        path.name: yaml.safe_load(path.read_text()) for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml")
    }
    needed = {
        field["id"] for field in forms["bug.yml"]["body"] if field.get("validations", {}).get("required")
    }
    assert {"line", "version", "command"} <= needed
    assert all(
        {"name", "description", "body"} <= form.keys() for name, form in forms.items() if name != "config.yml"
    )
    assert "--version" in (GITHUB / "pull_request_template.md").read_text()


def test_dependabot_watches_all_that_is_pinned() -> None:
    """Actions, Python's packages, and each Dockerfile's base."""
    found = yaml.safe_load((GITHUB / "dependabot.yml").read_text(encoding="utf-8"))["updates"]
    assert {each["package-ecosystem"] for each in found} == {"github-actions", "pip", "docker"}
    (docker,) = [each for each in found if each["package-ecosystem"] == "docker"]
    folders = {
        f"/{path.parent.relative_to(REPOSITORY)}".rstrip(".") for path in REPOSITORY.rglob("Dockerfile")
    }
    assert {folder for folder in folders if "/." not in folder} == set(docker["directories"])
