"""What all tests share.

The folders mirror the worker's: a change to `aggregation/stores/oss/client.py` is tested in `stores/oss`.

- here: the tree and its names, the steps, whole runs on every store, kills
- command_line: the scripts' options, lines, streams and start
- commands: the user's own merge command
- recipes: the lines of docs/recipes.md, run in the image that has the programs
- inputs: the list of a run's inputs: names, gaps, and runs by a list, on every store
- stores: the contract that every store keeps; volume, oss and fsspec_store: what only one of them does
- fuzz: texts, files and answers that hold anything, and steps in any order against a model, by Hypothesis;
  what it found, as plain tests
- manifests: the YAML files and generate.py, expanded to the commands of each pod
- project: README, the pages of docs/, Makefile, image, and the OSS server of these tests
- support: what is no test: servers, mounts, the machine's parts, the scripts as processes, the pages,
  Argo's expansion
- benchmarks, mutants and e2e: programs of their own (`make bench`, `make mutants`, `make e2e`)
"""

import os
import re
import sysconfig
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

from scripts import Outcome, Script, command, environment, finished

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
    # A busy machine takes its time: no test asks how long an example takes.
    slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("ours", deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile("ours")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where every part of a machine is there (`REQUIRE_PARTS`), a skipped test is a failed one."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("REQUIRE_PARTS"):
        report.outcome = "failed"
        report.longrepr = f"skipped, although REQUIRE_PARTS is set: {report.longrepr}"
    return report


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
        return finished(command(script, *arguments), env=environment(AGGREGATION_ROOT=str(root), **variables))

    return run_script
