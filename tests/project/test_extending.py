"""docs/extending.md as a stranger follows it: the store is written, found, and held to the contract."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pages.markdown import page
from scripts import REPOSITORY, environment, finished

PAGE = page("docs/extending.md")
STORE, CREDENTIALS = PAGE.blocks("python")


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the working tree with the page's file and changes in it."""
    copy = tmp_path_factory.mktemp("extended")
    for name in ("worker", "tests", "manifests", "pyproject.toml"):
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
        else:
            shutil.copy2(source, copy / name)
    folder = copy / "worker/aggregation/stores/sqlite"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""Files in an SQLite database."""\n')
    (folder / "store.py").write_text(STORE.text)
    for block in PAGE.blocks("diff"):
        done = finished(
            ["git", "apply", "--recount", "-C1", "-"],
            cwd=copy,
            env=environment(GIT_CEILING_DIRECTORIES=str(copy.parent)),
            input=block.text,
        )
        assert done.returncode == 0, done.stderr
    yield copy
    shutil.rmtree(copy)


def run(extended: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the copy."""
    return finished([sys.executable, *words], cwd=extended, env=environment())


def test_the_store_keeps_the_contract(extended: Path) -> None:
    """The suite over the store passes, and there are tests that it ran."""
    done = run(
        extended,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "sqlite"),
        "tests/stores/test_contract.py",
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_a_script_finds_the_store(extended: Path, tmp_path: Path) -> None:
    """A whole run, a merge command among it, in the database; what is no database is exit code 6."""
    root = f"sqlite://{tmp_path}/files.db"
    done = run(extended, "worker/pipeline.py", "--root", root, "--prepare", "--command", "cat {inputs}")
    assert done.returncode == 0, done.stderr
    assert f"{root}/result.txt: 32 bytes: " in done.stdout
    (tmp_path / "notes.db").write_bytes(b"these are no tables" * 100)
    done = run(extended, "worker/merge.py", "2", "--root", f"sqlite://{tmp_path}/notes.db")
    assert (done.returncode, done.stderr.count("\n")) == (6, 1)


def test_the_credentials() -> None:
    """The source gives what its file holds."""
    program = f"import sys; sys.path.insert(0, 'worker')\n{CREDENTIALS.text}"
    done = run(REPOSITORY, "-c", program)
    assert done.returncode == 0, done.stderr
