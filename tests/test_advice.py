"""Level 1 under other names: each error says what is there, and the option or the command that takes it."""

import re
import shlex
from pathlib import Path

import pytest

from scripts import Script, leftovers, write_level


def write(root: Path, names: list[str]) -> None:
    """Files under the root, each with its name as its bytes."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def padded(count: int, suffix: str, first: int = 1) -> list[str]:
    """0001.exr and so on, in level 1."""
    return [f"l1/{number:04}{suffix}" for number in range(first, first + count)]


CASES = {
    "blender": (padded(240, ".exr"), ".txt", "240 other names, such as 0001.exr"),
    "blender's suffix": (padded(240, ".exr"), ".exr", "no zeros before it (0.exr)"),
    "padded from 0": (padded(4, ".txt", 0), ".txt", "no zeros before it (0.txt)"),
    "from 1": (["l1/1.txt", "l1/2.txt", "l1/3.txt"], ".txt", "numbered from 0 on"),
    "from 1, other suffix": (["l1/1.exr", "l1/2.exr"], ".txt", "numbered from 0 on"),
    "from 101": ([f"l1/name.{n:04}.exr" for n in range(101, 105)], ".exr", "such as name.0101.exr"),
    "dates": (["l1/2026-11-24T03.las"], ".txt", "1 other name, such as 2026-11-24T03.las"),
    "brackets": (["l1/a.[1]", "l1/b.[1]"], ".txt", "2 other names"),
    "no suffix": (["l1/a", "l1/b"], ".txt", "2 other names, such as a"),
    "in the root": (["0001.png", "0002.png", "result.txt"], ".txt", "the root holds 2 other names"),
}
"""The files of a root, the suffix that is given, and what must be said; the command is found and run."""


@pytest.mark.parametrize(
    ("kind", "script"), [*((kind, ["pipeline.py"]) for kind in sorted(CASES)), ("blender", ["plan.py", 1])]
)
def test_the_command_that_is_advised_works(run: Script, root: Path, kind: str, script: list[object]) -> None:
    """What the error says, word for word, gives a list of all the files that it speaks of."""
    names, suffix, said = CASES[kind]
    write(root, names)
    outcome = run(*map(str, script), "--suffix", suffix)
    assert outcome.returncode == 3
    assert said in outcome.stderr
    assert "--prepare" not in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    found = re.search(r"(inputs\.py --glob .*), then --inputs inputs\.txt", outcome.stderr)
    assert found is not None
    wanted = [name for name in names if name != "result.txt"]
    assert run(*shlex.split(found[1])).stdout == f"{len(wanted)}\n"
    assert (root / "inputs.txt").read_text().splitlines()[1:] == wanted


@pytest.mark.parametrize(
    ("names", "suffix", "cure"),
    [
        (["l1/0.exr", "l1/1.exr"], ".txt", "--suffix .exr"),
        (["l1/0.TXT", "l1/1.TXT"], ".txt", "--suffix .TXT"),
        (["l1/0.osm.pbf", "l1/1.osm.pbf"], ".txt", "--suffix .osm.pbf"),
    ],
)
def test_a_suffix_that_was_forgotten(
    run: Script, root: Path, names: list[str], suffix: str, cure: str
) -> None:
    """Another one, or the same in upper case, is named; with it the run succeeds."""
    write(root, names)
    outcome = run("pipeline.py", "--suffix", suffix)
    assert outcome.returncode == 3
    assert cure in outcome.stderr
    assert run("pipeline.py", *cure.split()).returncode == 0


def test_gaps_among_numbers(run: Script, root: Path) -> None:
    """They are told, with the command that leaves them out."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    (root / "l1/1.txt").unlink()
    outcome = run("pipeline.py")
    assert outcome.returncode == 3
    assert "3 files (0 to 3 without 1)" in outcome.stderr
    found = re.search(r"inputs\.py --frames 0-3 --missing skip", outcome.stderr)
    assert found is not None
    assert run(*found[0].split()).stdout == "3\n"


@pytest.mark.parametrize("arguments", [("process.py", 0, 1), ("merge.py", 4, "--level", 1), ("merge.py", 4)])
def test_each_step_says_what_is_there_instead(run: Script, root: Path, arguments: tuple[object, ...]) -> None:
    """A step that finds no 0.txt names what it has seen, and keeps its own words."""
    write(root, padded(4, ".exr"))
    outcome = run(*map(str, arguments))
    assert outcome.returncode == 3
    assert "4 other names, such as 0001.exr" in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert not list(root.glob("l2")) + list(root.glob("result*"))


def test_a_folder_in_upper_case(run: Script, root: Path) -> None:
    """L1 is not l1."""
    write(root, ["L1/0.txt"])
    outcome = run("pipeline.py")
    assert outcome.returncode == 3
    assert "the root holds L1" in outcome.stderr
    assert "--prepare" not in outcome.stderr


def test_letters_are_advised_where_nothing_is(run: Script, root: Path) -> None:
    """An empty root, and one with results of earlier runs only."""
    assert "--prepare" in run("pipeline.py").stderr
    write(root, ["result.txt", "l2/0.txt", "runs/x/l2/0.txt"])
    assert "--prepare" in run("pipeline.py").stderr


@pytest.mark.parametrize("arguments", [("prepare.py", 32), ("pipeline.py", "--prepare")])
@pytest.mark.parametrize(
    "names", [padded(3, ".txt"), padded(240, ".exr"), ["l1/40.txt"], ["l1/0.exr"], ["l1/3.txt"]]
)
def test_no_letter_comes_among_files(
    run: Script, root: Path, names: list[str], arguments: tuple[object, ...]
) -> None:
    """Not one is written, though the first names are free; what is there stays."""
    write(root, names)
    outcome = run(*map(str, arguments))
    assert outcome.returncode == 5
    assert outcome.stderr.count("\n") == 1
    assert sorted(str(path.relative_to(root)) for path in root.rglob("l1/*")) == sorted(names)
    assert [path for path in leftovers(root) if "pipeline.json" not in path] == []


def test_letters_and_hidden_files_do_not_disturb(run: Script, root: Path) -> None:
    """What a file manager leaves is no input."""
    write(root, ["l1/.DS_Store"])
    assert run("prepare.py", 4).returncode == 0
    assert run("prepare.py", 2).returncode == 0
