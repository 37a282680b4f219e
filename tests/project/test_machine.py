"""The suite on a machine that lacks something: what is missing is a skip that says so, never an error."""

import os
import subprocess
import sys

import pytest

from scripts import REPOSITORY

TESTS = REPOSITORY / "tests"


def suite(*arguments: object, **variables: str) -> tuple[int, str]:
    """Run some of the tests by a pytest of its own; returns its exit code and what it printed."""
    others = {name: value for name, value in os.environ.items() if name not in ("REQUIRE_PARTS", "CI")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *map(str, arguments)],
        cwd=REPOSITORY,
        env=others | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout


MISSING = {
    "libfuse": ("stores/volume/test_mount.py", {"FUSE_LIBRARY_PATH": "/nowhere/libfuse.so"}, "libfuse2"),
    "Docker": ("project/test_image.py", {"DOCKER_HOST": "unix:///nowhere"}, "docker.io"),
    "the docker command": ("recipes/test_tables.py", {"PATH": "/nowhere"}, "docker.io"),
    "a compiler": ("stores/volume/test_mount_faults.py", {"PATH": "/nowhere"}, "gcc"),
}


@pytest.mark.parametrize("part", MISSING)
def test_a_part_that_is_missing(part: str) -> None:
    """Its tests are skipped and say what to install; where every part is required they fail by it."""
    file, variables, cure = MISSING[part]
    code, printed = suite(TESTS / file, **variables)
    assert code == 0, printed
    assert f"install {cure}" in printed
    assert " skipped in " in printed.splitlines()[-1]
    code, printed = suite("-x", TESTS / file, REQUIRE_PARTS="1", **variables)
    assert code == 1, printed
    assert f"install {cure}" in printed
