"""plan.py: the list that Argo's withParam fans out over."""

import json
from pathlib import Path

import pytest

from scripts import Script, write_level


@pytest.mark.parametrize(("held", "fan_in", "groups"), [(1, 2, 1), (4, 2, 2), (5, 2, 3), (9, 4, 3)])
def test_groups_are_counted(run: Script, root: Path, held: int, fan_in: int, groups: int) -> None:
    """Stdout is the JSON list of the level's groups, and nothing else."""
    write_level(root, 1, [b"x"] * held)
    outcome = run("plan.py", 1, "--fan-in", fan_in)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert json.loads(outcome.stdout) == list(range(groups))


def test_files_may_be_said(run: Script, root: Path, tmp_path: Path) -> None:
    """--files plans a level that does not exist yet; the summary file says how many."""
    path = tmp_path / "summary.json"
    outcome = run("plan.py", 2, "--files", 7, "--summary-file", path, "--log-format", "json")
    assert json.loads(outcome.stdout) == [0, 1, 2, 3]
    summary = json.loads(path.read_text())
    assert (summary["files"], summary["groups"]) == (7, 4)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("numbers", [[], [0, 2]])
def test_an_incomplete_level_is_an_error(run: Script, root: Path, numbers: list[int]) -> None:
    """No plan is made for a level with nothing in it or with a gap: a pod less would lose a file."""
    (root / "l1").mkdir()
    for number in numbers:
        (root / f"l1/{number}.txt").write_bytes(b"x")
    outcome = run("plan.py", 1)
    assert (outcome.returncode, outcome.stdout) == (3, "")


def test_a_list_that_argo_would_cut_is_refused(run: Script) -> None:
    """Up to 256 kB the list is printed; past it the error names the limit and the way out."""
    largest = run("plan.py", 1, "--files", 2 * 44_000)
    assert largest.returncode == 0
    assert len(largest.stdout) <= 256_001
    outcome = run("plan.py", 1, "--files", 100_000)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert "--fan-in" in outcome.stderr
    assert run("plan.py", 1, "--files", 100_000, "--fan-in", 3).returncode == 0
