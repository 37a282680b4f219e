"""The map of the worker and of the tests, and the checks that keep the house in order."""

import ast
import re
from pathlib import Path

from scripts import REPOSITORY, WORKER

LENGTHS = REPOSITORY / "tests" / "support" / "lengths.py"


def folders(place: Path) -> set[str]:
    """The folders with code below a place, by their paths from there."""
    return {str(path.parent.relative_to(place)) for path in place.rglob("*.py")} - {"."}


def named(text: str) -> set[str]:
    """The folders that a map has a line for: `- stores/oss: …`, `- benchmarks and e2e: …`."""
    heads = re.findall(r"^- ([\w/, ]+):", text, flags=re.MULTILINE)
    return {name for head in heads for name in re.split(r",? and |, ", head)} - {"here"}


def test_the_worker_s_map() -> None:
    """Each folder has its line in the package's docstring, and each line a folder."""
    package = WORKER / "aggregation"
    assert named(ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or "") == folders(
        package
    )


def test_the_tests_map() -> None:
    """The same of the tests' folders, whose own folders mirror the worker's."""
    tests = REPOSITORY / "tests"
    top = {Path(name).parts[0] for name in folders(tests)}
    assert named(ast.get_docstring(ast.parse((tests / "conftest.py").read_text())) or "") == top
    own = folders(WORKER / "aggregation")
    assert {
        name for name in folders(tests) if Path(name).parts[0] in {Path(each).parts[0] for each in own}
    } == own


def test_the_map_of_oss() -> None:
    """The folder with the most files names each of them in its docstring."""
    folder = WORKER / "aggregation" / "stores" / "oss"
    told = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert files <= set(re.findall(r"\w+", told))
