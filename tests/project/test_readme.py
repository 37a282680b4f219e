"""The README as a program: its console blocks are run, its tables compared with the code."""

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import click
import pytest

from aggregation.errors import EXIT_CODES
from benchmarks import report
from oss_server import OssServer
from scripts import REPOSITORY, WORKER, environment

README = (REPOSITORY / "README.md").read_text()
BLOCKS = re.findall(r"^```console\n(.*?)^```", README, re.DOTALL | re.MULTILINE)

# What differs from run to run: durations, column widths that follow them, random letters, temporary folders.
VARYING = [
    (r"\b\d+(\.\d+)?(ms|s)\b", "TIME"),
    (r"\b\d+\.\d{3} s\b", "TIME"),
    (r"\bbytes: [A-Z]+\b", "bytes: LETTERS"),
    (r"\bCRC64 \d+", "CRC64 NUMBER"),
    (r"\(request \w+\)", "(request ID)"),
    (r"/tmp/tmp\.\w+", "/tmp/DIR"),
    (r"pipeline-\d{8}-\d{6}-[0-9a-f]{8}", "RUN"),
    (r" +", " "),
]


def normalised(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, placeholder in VARYING:
        text = re.sub(pattern, placeholder, text)
    return text.strip()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the working tree, with the virtual environment that it has."""
    path = tmp_path_factory.mktemp("checkout")
    for name in ("worker", "manifests", "Makefile", "requirements-build.txt", "requirements.txt", ".venv"):
        source = REPOSITORY / name
        if name == ".venv":
            if source.exists():
                (path / name).symlink_to(source)
        elif source.is_dir():
            shutil.copytree(source, path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, path / name)
            os.utime(path / name, (0, 0))  # however old that environment is, a test does not make it anew
    return path


@pytest.fixture
def closing() -> Iterator[contextlib.ExitStack]:
    """Closes at the end of a test what the test opened."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_console_blocks(block: str, checkout: Path, tmp_path: Path, closing: contextlib.ExitStack) -> None:
    """Each command of a console block prints what the README shows below it."""
    block = block.replace("/tmp/aggregation-demo", str(tmp_path / "demo"))
    if "OSS_ENDPOINT" in block:
        server = OssServer(
            ["demo"], access_key_id="demo-access-key-id", access_key_secret="demo-access-key-secret"
        )
        closing.enter_context(server)
        block = block.replace("http://127.0.0.1:9000", server.endpoint)
    commands = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    assert commands
    marker = "-- end of command --"
    script = "\n".join(f"{command}\necho '{marker}'" for command, _ in commands)
    outcome = subprocess.run(
        ["bash", "-c", script],
        cwd=checkout,
        env=environment(PYTHONDONTWRITEBYTECODE="1", MAKEFLAGS="", MAKELEVEL="0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    printed = outcome.stdout.split(f"{marker}\n")
    for (command, shown), output in zip(commands, printed, strict=False):
        assert normalised(output) == normalised(shown), command


def table_rows() -> list[list[str]]:
    """The cells of all tables' rows."""
    lines = [line for line in README.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_exit_codes() -> None:
    """The README's table has each code with its meaning, and says of each whether it is retried."""
    assert [tuple(cells[:3]) for cells in table_rows() if cells[0].isdigit()] == [
        (str(row.code), row.meaning, "" if row.code == 0 else "yes" if row.retried else "no")
        for row in EXIT_CODES
    ]


def test_every_option_is_documented() -> None:
    """The README's table has each option of each script, with its variable."""
    rows = {
        option: (cells[1], set(cells[3].split(", ")))
        for cells in table_rows()
        for option in re.findall(r"`(--[a-z-]+)`", cells[0])
    }
    scripts = {path.stem for path in WORKER.glob("*.py")}
    found: dict[str, tuple[str, set[str]]] = {}
    for script in sorted(scripts):
        module: dict[str, object] = {"__name__": script}
        exec(compile((WORKER / f"{script}.py").read_text(), script, "exec"), module)
        (command,) = [
            value for value in module.values() if isinstance(value, click.Command) and value.callback
        ]
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                variable = f"`{parameter.envvar}`" if parameter.envvar else ""
                for name in [*parameter.opts, *parameter.secondary_opts]:
                    found.setdefault(name, (variable, set()))[1].add(script)
    assert {
        name: (variable, scripts if names == {"all"} else names) for name, (variable, names) in rows.items()
    } == found


def test_every_manifest_is_listed() -> None:
    """The README's table names each manifest."""
    for path in (REPOSITORY / "manifests").glob("*.yaml"):
        assert f"`{path.name}`" in README, path.name


def test_the_figures_are_those_that_make_bench_kept() -> None:
    """Each target's row, and each shape's, says what the benchmarks found; each picture is there."""
    results = REPOSITORY / "tests/benchmarks/results"
    found = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*.json"))}
    rows = [report.promise_row(target) for figures in found.values() for target in figures["targets"]]
    rows += report.shape_rows(found["shapes"])
    assert [row for row in rows if row not in README.splitlines()] == []
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert pictures
    for picture in pictures:
        assert ET.parse(REPOSITORY / picture).getroot().tag.endswith("svg")


def test_make_lists_its_targets() -> None:
    """`make` alone says what there is."""
    listed = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for target in ("demo", "test", "lint", "image", "lock"):
        assert f"make {target}" in listed


def test_the_repository_holds_no_compiled_file() -> None:
    """Only sources are kept."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False, env=os.environ
    ).stdout
    assert not re.search(r"\.(pyc|so|log)$", listed, re.MULTILINE)
