"""The suite on a machine that lacks something: what is missing is a skip that says so, never an error."""

import os
import subprocess
import sys
from pathlib import Path

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


def test_packages_that_nobody_has_compiled(tmp_path: Path) -> None:
    """Without a .pyc file the tests of OSS pass: what the compiler says of oss2 is oss2's own affair."""
    chosen = ("-k", "oss and again", TESTS / "stores/test_contract.py")
    code, printed = suite(*chosen, PYTHONPYCACHEPREFIX=str(tmp_path / "none"), PYTHONDONTWRITEBYTECODE="1")
    assert code == 0, printed
    assert "site-packages/oss2/" in printed, "the compiler no longer warns: this test shows nothing"


def test_whose_warnings_are_errors(tmp_path: Path) -> None:
    """Ours are, while running and while compiled, and what nobody closed is; another package's are not."""
    path = tmp_path / "test_ours.py"
    warn = "import warnings; warnings.warn('x')"
    path.write_text(
        "def test_compiled(): exec(compile('\"\\\\w\"', 'ours.py', 'exec'))\n"
        f"def test_running(): exec({warn!r}, {{'__name__': 'ours'}})\n"
        f"def test_named_alike(): exec({warn!r}, {{'__name__': 'yaml_of_ours'}})\n"
        "def test_unclosed(): open(__file__)\n"
        "def test_their_compiled(): exec(compile('\"\\\\w\"', '/lib/site-packages/a.py', 'exec'))\n"
        f"def test_their_running(): exec({warn!r}, {{'__name__': 'yaml.loader'}})\n"
    )
    configuration = ("-c", REPOSITORY / "pyproject.toml", "-p", "conftest")
    code, printed = suite(*configuration, path, PYTHONPATH=str(TESTS))
    assert code == 1, printed
    failed = {line.split("::")[1].split()[0] for line in printed.splitlines() if line.startswith("FAILED")}
    assert failed == {"test_compiled", "test_running", "test_named_alike", "test_unclosed"}, printed
