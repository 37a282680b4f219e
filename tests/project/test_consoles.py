"""The console blocks of README.md and docs/ as programs: each command prints what the page shows below it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from oss_server import OssServer
from pages.markdown import Page, pages
from pages.translation import is_chinese
from scripts import REPOSITORY, environment

WITH_CONSOLES = [page for page in pages() if page.blocks("console") and not is_chinese(page)]
"""The Chinese pages have the same blocks: tests/project/test_translations.py compares them."""
DEMO = "/tmp/aggregation-demo"
MARK = "-- end of command --"
REST = "..."
"""A shown line of its own that stands for any number of lines."""

# What differs from run to run: durations, column widths that follow them, random letters, temporary folders.
VARYING = [
    (r"\b\d+(\.\d+)?(ms|s)\b", "TIME"),
    (r"\b\d+\.\d{3} s\b", "TIME"),
    (r"\b\d+(\.\d+)? [KMGT]iB/s", "RATE"),
    (r"\bbytes: [A-Z]+\b", "bytes: LETTERS"),
    (r"\bCRC64 \d+", "CRC64 NUMBER"),
    (r"\(request \w+\)", "(request ID)"),
    (r"/tmp/tmp\.\w+", "/tmp/DIR"),
    (r"pipeline-\d{8}-\d{6}-[0-9a-f]{8}", "RUN"),
    (r"Python 3\.11\.\d+", "Python 3.11"),
    (r"\b\d+% of the whole", "SHARE of the whole"),
    (r"kernel copy", "streamed"),
    (r" +", " "),
]


def normalised(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, placeholder in VARYING:
        text = re.sub(pattern, placeholder, text)
    return text.strip()


def shows(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed; a line `...` of the page stands for any lines."""
    pieces = [re.escape(piece) for piece in f"\n{normalised(shown)}\n".split(f"\n{REST}\n")]
    return re.fullmatch("(?:\n.*)*\n".join(pieces), f"\n{normalised(printed)}\n") is not None


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the working tree, with the virtual environment that it has.

    The machine's own Python, in `bin`, has no packages: a page has to say where click comes from.
    """
    path = tmp_path_factory.mktemp("checkout")
    bare = path / "bin" / "python3"
    bare.parent.mkdir()
    bare.write_text(f'#!/bin/sh\nexec {shlex.quote(os.path.realpath(sys.executable))} -S "$@"\n')
    bare.chmod(0o755)
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


@pytest.mark.parametrize("page", WITH_CONSOLES, ids=str)
def test_console_blocks(page: Page, checkout: Path, tmp_path: Path) -> None:
    """One shell runs all the blocks of a page, each from its own beginning; no block is left out."""
    demo = tmp_path / "demo"
    script, wanted = "", []
    with ExitStack() as closing:
        for number, block in enumerate(page.blocks("console")):
            text = block.text.replace(DEMO, str(demo))
            if "http://127.0.0.1:9000" in text:
                server = closing.enter_context(
                    OssServer(
                        ["demo"],
                        access_key_id="demo-access-key-id",
                        access_key_secret="demo-access-key-secret",
                    )
                )
                text = text.replace("http://127.0.0.1:9000", server.endpoint)
            commands = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)
            assert "".join(f"$ {command}\n{shown}" for command, shown in commands) == text
            wanted += [(f"{page}:{block.line}: {command}", shown) for command, shown in commands]
            lines = "\n".join(f"{command}\necho '{MARK}'" for command, _ in commands)
            script += f"(\nrm -rf {demo}\n{lines}\n)\n"
            assert number < 20
        outcome = subprocess.run(
            ["bash", "-c", script],
            cwd=checkout,
            env=environment(
                PATH=f"{checkout}/bin:{os.environ['PATH']}",
                PYTHONDONTWRITEBYTECODE="1",
                MAKEFLAGS="",
                MAKELEVEL="0",
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    printed = outcome.stdout.split(f"{MARK}\n")[:-1]
    assert len(printed) == len(wanted)
    for (command, shown), output in zip(wanted, printed, strict=True):
        assert shows(shown, output), f"{command}\nprinted:\n{output}"
