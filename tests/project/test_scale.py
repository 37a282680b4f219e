"""What docs/scale.md computes: compared with what a server counts, and what its command prints."""

import subprocess
import sys

import pytest

from aggregation import tree
from pages import scale
from pages.costs import requests_of
from pages.markdown import page
from scripts import REPOSITORY, environment

KIB = 2**10
GET_TYPE = {"GetObject", "HeadObject"}


@pytest.mark.parametrize(
    ("count", "size", "call"),
    [
        (64, 4 * KIB, "process.py 0 1 --fan-in 64"),
        (64, 128 * KIB, "process.py 0 1 --fan-in 64"),
        (300, 4 * KIB, "process.py 0 1 --fan-in 300"),
        (2500, 4 * KIB, "merge.py 2500 --level 1"),
        (300, 128 * KIB, "merge.py 300 --level 1"),
    ],
)
def test_the_requests_of_a_join(count: int, size: int, call: str) -> None:
    """They are those that the server counts, but for two in a hundred."""
    counted = requests_of(call, count, size)
    expected = scale.join_cost([size] * count)
    if call.startswith("merge"):
        expected = expected.plus(scale.LOOKS_OF_A_MERGE)
    get = sum(counted.get(name, 0) for name in GET_TYPE)
    put = sum(counted.values()) - get
    assert put == pytest.approx(expected.put, 0.02, 1), counted
    assert get == pytest.approx(expected.get, 0.02, 1), counted


def test_the_pods_of_a_tree() -> None:
    """The rows' pods are those of the tree's arithmetic."""
    (row,) = [row for row in scale.rows() if (row.files, row.size, row.fan_in) == (100_000, 4 * KIB, 64)]
    assert row.pods == sum(tree.widths(100_000, 64, 2)[1:]) + 1
    assert row.workflows == 1


def test_the_command() -> None:
    """What the page names prints its table."""
    printed = subprocess.run(
        [sys.executable, "tests/support/pages", "scale"],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.strip() in page("docs/scale.md").text
    assert "10,000,000 x 1 MiB" in printed
