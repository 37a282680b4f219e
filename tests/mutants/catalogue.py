"""The list of mutants: which line is broken, how, and which tests must notice.

A line is named by its text, not by its place, so that moved code keeps its mutants. `catalogue/*.toml` hold
them, a table each: `name`, `old` (which stands once in the worker), `new`, `tests`.
"""

import ast
import tomllib
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent


class Mutant(NamedTuple):
    """One change that breaks something."""

    name: str
    old: str
    new: str
    tests: tuple[str, ...]
    """What pytest is given: files below tests/, with or without a test's name."""

    def place(self, worker: Path) -> Path:
        """The file that holds the line.

        Raises:
            LookupError: it stands nowhere, or more than once.
        """
        found = {path: path.read_text(encoding="utf-8").count(self.old) for path in worker.rglob("*.py")}
        if sum(found.values()) != 1:
            raise LookupError(
                f"{self.name!r}: {self.old!r} stands {sum(found.values())} times in {worker}; "
                f"write its line in tests/mutants/catalogue anew, or drop it with what it was about"
            )
        return next(path for path, count in found.items() if count)

    def changed(self, text: str) -> str:
        """A file's text with the line broken.

        Raises:
            SyntaxError: that is no Python.
        """
        text = text.replace(self.old, self.new)
        ast.parse(text)
        return text


def mutants() -> list[Mutant]:
    """All mutants, in the order of the files."""
    return [
        Mutant(table["name"], table["old"], table["new"], tuple(table["tests"]))
        for path in sorted((HERE / "catalogue").glob("*.toml"))
        for table in tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    ]
