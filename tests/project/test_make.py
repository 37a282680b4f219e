"""The Makefile's targets that need more than this machine, on stand-ins for what they call."""

import os
import subprocess
from pathlib import Path

import pytest

from scripts import REPOSITORY

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
    done = subprocess.run(
        ["make", "push", *settings],
        cwd=REPOSITORY,
        env={"PATH": f"{folder}:{os.environ['PATH']}", "REFUSED": str(refused)},
        capture_output=True,
        text=True,
        check=False,
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
