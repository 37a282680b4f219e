"""A listing first, on a mount that looks names up as ossfs does: where it pays, and nowhere else."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import machine
import slow_mount
from aggregation.stores.volume import foresight
from scripts import Script, leftovers, write_level


@pytest.mark.parametrize(
    ("wanted", "held", "listed"),
    [
        (300, 300, True),
        (64, 128, True),
        (64, 129, False),
        (2, 10_000, False),
        (2, 2, False),
        (15, 15, False),
        (16, 16, True),
    ],
)
def test_the_rule(wanted: int, held: int, listed: bool) -> None:
    """A folder is listed where at least half of it, and some number of files, are about to be read."""
    assert foresight.pays(wanted, held) is listed


@pytest.fixture
def requests(tmp_path: Path, behind: Path, root: Path) -> Iterator[Path]:
    """The requests of a mount that works as ossfs does, 5 ms each, at `root`: a line each."""
    machine.fuse()
    path = tmp_path / "requests"
    with slow_mount.mounted(behind, root, latency=0.005, remember=1, cache=1, requests=path):
        yield path


def counted(requests: Path) -> Counter[str]:
    """The requests since the last call, by kind."""
    found = Counter(requests.read_text().split())
    requests.write_text("")
    return found


@pytest.mark.parametrize("options", [["--level", 1], []], ids=["level", "search"])
def test_a_whole_level(behind: Path, root: Path, requests: Path, run: Script, options: list[object]) -> None:
    """It takes less than a quarter of the time of one file after the other, and no more requests.

    The level is listed once: `merge.py` looks for leftovers in the same listing.
    """
    count = 200
    write_level(behind, 1, [b"%d," % number for number in range(count)])
    (behind / "l1").rename(behind / "l2")
    paths = [root / "l2" / f"{number}.txt" for number in range(count)]
    started = time.perf_counter()
    content = b"".join(path.read_bytes() for path in paths)
    one_by_one = time.perf_counter() - started
    before = counted(requests)

    (behind / "l2").rename(behind / "l1")  # names that the kernel does not know
    started = time.perf_counter()
    outcome = run("merge.py", count, *options)
    seconds = time.perf_counter() - started
    assert outcome.returncode == 0, outcome.stderr
    assert (behind / "result.txt").read_bytes() == content
    found = counted(requests)
    assert found["LIST"] == 2, found  # the level and the root
    assert found["HEAD"] + found["GET"] < 1.1 * (before["HEAD"] + before["GET"]), (found, before)
    assert seconds < one_by_one / 4, (seconds, one_by_one)


def test_a_few_of_many(behind: Path, requests: Path, run: Script) -> None:
    """Two files of ten thousand are opened by themselves: no listing, and the requests of ever."""
    write_level(behind, 1, [b"x"] * 10_000)
    (behind / "l2").mkdir()
    assert run("process.py", 7, 1).returncode == 0
    alone = counted(requests)
    assert run("process.py", 4321, 1, "--files", 10_000).returncode == 0
    found = counted(requests)
    assert found["LIST"] == 0
    assert sum(found.values()) <= sum(alone.values())


@pytest.mark.parametrize(
    ("arguments", "lists"),
    [
        (["process.py", 0, 1, "--fan-in", 40, "--files", 60], 1),
        (["process.py", 0, 1, "--fan-in", 40], 0),
        (["process.py", 0, 1, "--fan-in", 20, "--files", 60], 0),
        (["merge.py", 40, "--level", 1, "--partial"], 2),
        (["merge.py", 60, "--level", 1], 2),
    ],
    ids=["most", "unknown", "a third", "partial", "all"],
)
def test_when_a_level_is_listed(
    behind: Path, requests: Path, run: Script, arguments: list[object], lists: int
) -> None:
    """By what the caller says that the level holds; `merge.py` looks for leftovers in any case."""
    write_level(behind, 1, [b"x"] * 60)
    outcome = run(*arguments)
    assert outcome.returncode == 0, outcome.stderr
    assert counted(requests)["LIST"] == lists


@pytest.mark.usefixtures("requests")
@pytest.mark.parametrize("number", [0, 30, 59])
def test_a_missing_file(behind: Path, root: Path, run: Script, number: int) -> None:
    """What is missing shows when it is read, as without a listing."""
    write_level(behind, 1, [b"x"] * 60)[number].unlink()
    outcome = run("process.py", 0, 1, "--fan-in", 60, "--files", 60)
    assert outcome.returncode == 3
    assert f"{root}/l1/{number}.txt: No such file or directory" in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert leftovers(behind) == []


@pytest.mark.usefixtures("requests")
def test_no_such_folder(run: Script) -> None:
    """Neither does a level that is not there say anything else."""
    outcome = run("process.py", 0, 1, "--fan-in", 60, "--files", 60)
    assert outcome.returncode == 3
    assert "l1/0.txt: No such file or directory" in outcome.stderr
