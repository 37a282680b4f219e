"""What docs/scale.md computes, and what its command prints; tests/test_cost.py compares it with a server."""

import subprocess
import sys

from aggregation import tree
from pages import scale
from pages.markdown import page
from scripts import REPOSITORY, environment

KIB = 2**10


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
