"""What the benchmarks kept: small, and the pictures are those of the figures."""

import json
from pathlib import Path

import pytest

from benchmarks import plots, report
from scripts import REPOSITORY

RESULTS = REPOSITORY / "tests" / "benchmarks" / "results"


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_files_of_a_family(path: Path) -> None:
    """A family's file and picture are written anew from its figures, byte for byte."""
    figures = json.loads(path.read_text())
    assert report.as_text(figures) == path.read_text()
    assert plots.drawing(figures) == path.with_suffix(".svg").read_text()


def test_what_is_kept_is_small() -> None:
    """Figures of a command take a line; all files together stay below 80 KB."""
    assert sum(path.stat().st_size for path in RESULTS.iterdir()) < 80_000
