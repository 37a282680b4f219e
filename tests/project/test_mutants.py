"""The list of lines that are broken on purpose fits the worker; what `make mutants` says of one or two."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mutants.catalogue import Mutant, mutants
from scripts import REPOSITORY, WORKER

TESTS = REPOSITORY / "tests"


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_worker(mutant: Mutant) -> None:
    """Its line stands once in the worker, what it becomes is Python, and the tests that notice are there."""
    before = mutant.place(WORKER).read_text(encoding="utf-8")
    assert mutant.changed(before) != before
    for test in mutant.tests:
        file, _, name = test.partition("::")
        found = (TESTS / file).read_text(encoding="utf-8")
        assert not name or re.search(rf"^def {name.partition('[')[0]}\(", found, re.MULTILINE), test


def test_names_are_unique() -> None:
    """A name picks one mutant."""
    names = [mutant.name for mutant in mutants()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("test", "code", "said"),
    [
        ("test_tree.py::test_noticed", 1, "1 lines broken, 1 not noticed"),
        ("test_units.py", 1, "SURVIVED"),
        ("test_tree.py", 0, "by tests/test_tree.py::"),
    ],
)
def test_make_mutants_tells_survivors(tmp_path: Path, test: str, code: int, said: str) -> None:
    """A line whose breaking fails a test is named with it; one that no test notices is exit code 1."""
    tree = tmp_path / "tests"
    for folder in ("tests/mutants", "tests/support", "worker"):
        subprocess.run(["cp", "-r", REPOSITORY / folder, tmp_path / Path(folder).name], check=True)
    (tree).mkdir()
    for name in ("mutants", "support"):
        (tmp_path / name).rename(tree / name)
    for name in ("conftest.py", "test_tree.py", "test_units.py"):
        (tree / name).write_bytes((TESTS / name).read_bytes())
    with (tree / "test_tree.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef test_noticed() -> None:\n    pass\n")
    (tmp_path / "pyproject.toml").write_bytes((REPOSITORY / "pyproject.toml").read_bytes())
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for path in (tree / "mutants/catalogue").glob("*.toml"):
        path.unlink()
    (tree / "mutants/catalogue/one.toml").write_text(
        f"""[[mutant]]
name = "groups are rounded down"
old = 'return -(-files // fan_in)'
new = 'return files // fan_in'
tests = ["{test}"]
"""
    )
    done = subprocess.run(
        [sys.executable, tree / "mutants", "--jobs", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert said in done.stdout
