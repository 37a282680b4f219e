"""What all tests share: the worker's scripts as real processes."""

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import machine

REPOSITORY = Path(__file__).parent.parent
WORKER = REPOSITORY / "worker"

Outcome = subprocess.CompletedProcess[str]
Script = Callable[..., Outcome]

PACKAGES = {
    path.name.partition(".")[0]
    for place in ("purelib", "platlib")
    for path in Path(sysconfig.get_path(place)).glob("[!_]*")
    if path.suffix != ".dist-info"
}
"""The first names of the modules that are installed."""
CHECKERS = {"pytest", "hypothesis"}
"""Those whose warnings are about our tests."""


def pytest_configure(config: pytest.Config) -> None:
    """Let a warning from another package's module be shown: pyproject.toml makes errors of all others."""
    others = "|".join(sorted(map(re.escape, PACKAGES - CHECKERS)))
    config.addinivalue_line("filterwarnings", rf"default:::({others})(\.|$)")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where every part of a machine is there (`REQUIRE_PARTS`), a skipped test is a failed one."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("REQUIRE_PARTS"):
        report.outcome = "failed"
        report.longrepr = f"skipped, although REQUIRE_PARTS is set: {report.longrepr}"
    return report


def command(script: str, *arguments: object) -> list[str]:
    """The command line of one of the worker's scripts."""
    return [sys.executable, str(WORKER / script), *map(str, arguments)]


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without any setting of the worker or of its streams, plus `variables`."""
    ours = ("AGGREGATION_", "OSS_", "ALIBABA_", "ARGO_", "AWS_", "PYTHONUNBUFFERED")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | variables


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root that exists and is empty."""
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def run(root: Path) -> Script:
    """Runs a script on the root as a process of its own and returns what came of it."""

    def run_script(script: str, *arguments: object, **variables: str) -> Outcome:
        return subprocess.run(
            command(script, *arguments),
            env=environment(AGGREGATION_ROOT=str(root), **variables),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run_script


def write_level(root: Path, level: int, contents: Iterable[bytes], suffix: str = ".txt") -> list[Path]:
    """Write a level's files, in the order of `contents`, and return their paths."""
    folder = root / f"l{level}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, content in enumerate(contents):
        path = folder / f"{number}{suffix}"
        path.write_bytes(content)
        paths.append(path)
    return paths


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[None]:
    """Something mounted on a folder for a while; skips where this machine mounts nothing."""
    machine.administration()
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        machine.lacking(f"{shlex.join(['mount', *options])} is refused: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def leftovers(root: Path) -> list[str]:
    """Every hidden or temporary file under the root: what a tidy run leaves none of."""
    return [str(path.relative_to(root)) for path in root.rglob(".*")]
