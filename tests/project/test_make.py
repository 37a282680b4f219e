"""The Makefile's targets that need more than this machine, on stand-ins for what they call."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import REPOSITORY, environment, finished

DOCKER = """#!/bin/sh
echo "$*" >> "$0.calls"
case $1 in
push) exit "$REFUSED" ;;
image)
  for name in elsewhere.example.com/worker registry.example.com/team/worker localhost:5000/worker worker; do
    echo $name@sha256:0
  done ;;
esac
"""


def push(
    folder: Path, *settings: str, refused: int = 0
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run `make push` where `docker` is a stand-in; returns what came of it and what docker was told."""
    program = folder / "docker"
    program.write_text(DOCKER)
    program.chmod(0o755)
    done = finished(
        ["make", "push", *settings],
        cwd=REPOSITORY,
        env={"PATH": f"{folder}:{os.environ['PATH']}", "REFUSED": str(refused)},
    )
    calls = folder / "docker.calls"
    return done, [line.split()[0] for line in calls.read_text().splitlines()] if calls.exists() else []


@pytest.mark.parametrize(
    ("image", "digest"),
    [
        ("registry.example.com/team/worker:0.2.0", "registry.example.com/team/worker@sha256:0"),
        ("localhost:5000/worker", "localhost:5000/worker@sha256:0"),
        ("docker.io/worker:1", "worker@sha256:0"),
    ],
)
def test_push(tmp_path: Path, image: str, digest: str) -> None:
    """The image is built and pushed, and the digest that it has there is shown, and no other."""
    done, calls = push(tmp_path, f"IMAGE={image}")
    assert done.returncode == 0, done.stderr
    assert calls == ["build", "push", "image"]
    assert [line for line in done.stdout.splitlines() if "sha256" in line] == [digest]


def test_a_push_that_the_registry_refuses(tmp_path: Path) -> None:
    """It fails, and no digest is shown: an earlier push may have left one."""
    done, calls = push(tmp_path, "IMAGE=registry.example.com/team/worker:0.2.0", refused=1)
    assert done.returncode != 0
    assert calls == ["build", "push"]
    assert "sha256" not in done.stdout


def test_a_push_to_nowhere(tmp_path: Path) -> None:
    """The default name is the tutorial's own registry: nothing is built, and the line says what to give."""
    done, calls = push(tmp_path)
    assert done.returncode != 0
    assert calls == []
    assert "make push IMAGE=" in done.stderr


def test_the_demo_ends_with_what_to_try_next(tmp_path: Path) -> None:
    """The commands that it names run as they stand, one after the other; its targets and pages are there."""
    programs = os.path.relpath(Path(sys.executable).parent, REPOSITORY)  # whose own path may have a space
    shown = subprocess.run(
        ["make", "--old-file", ".venv/run", "demo", f"BIN={programs}"],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.partition("\nWhat to try next:\n")[2]
    commands = [line.strip() for line in shown.splitlines() if "pipeline.py" in line]
    assert len(commands) == 2
    script = "\n".join(["set -e", *commands]).replace("/tmp/aggregation-demo", str(tmp_path))
    subprocess.run(["bash", "-c", script], cwd=REPOSITORY, env=environment(), check=True)
    letters = b"".join(path.read_bytes() for path in (tmp_path / "l1").iterdir())
    assert (tmp_path / "result.txt").read_text().split() == sorted(set(letters.decode()))
    assert list(tmp_path.glob("runs/*/l3/7.txt"))
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", shown):
        assert f"\n{target}:" in makefile
    pages = re.findall(r"docs/[a-z-]+\.md", shown)
    assert len(pages) == 4
    assert all((REPOSITORY / page).is_file() for page in pages)


AUDITS = {
    "none": ([{"name": "a", "version": "1", "vulns": []}], 0, "1 packages, no known vulnerability"),
    "some": (
        [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}],
        1,
        "a 1: CVE-1, fixed in 2",
    ),
    "not asked": ([{"name": "a", "skip_reason": "not found"}], 75, "nothing is known of 1 of 1 packages"),
}


@pytest.mark.parametrize("answer", AUDITS)
def test_what_an_audit_says(tmp_path: Path, answer: str) -> None:
    """A package that the database was not asked about is no package without vulnerabilities."""
    packages, code, said = AUDITS[answer]
    done = audit(tmp_path, f"echo '{json.dumps({'dependencies': packages})}'")
    assert done.returncode == code
    assert said in done.stdout + done.stderr


def test_an_audit_without_the_database(tmp_path: Path) -> None:
    """One line that says so, not pip-audit's traceback, and no exit code that a vulnerability has."""
    done = audit(tmp_path, "echo Traceback >&2; echo ConnectionError: no route to host >&2; exit 1")
    assert done.returncode == 75
    assert done.stderr.count("\n") == 1
    assert "cannot be reached: ConnectionError: no route to host" in done.stderr


def audit(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run what `make audit` runs, on a stand-in for pip-audit."""
    program = folder / "pip-audit"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    line = [sys.executable, ".ci/audit.py", str(program), "requirements.txt"]
    return subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=False)
