"""A FUSE mount whose every look at a file is a request: files are opened ahead, and read to their end."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

import machine
import slow_mount
from aggregation.stores.volume.fast_copy import SMALL
from scripts import Script, command, environment, leftovers, write_level

SIZES = [0, 1, 4096, SMALL - 1, SMALL, SMALL + 1, 3 * SMALL, 1 << 21]


@pytest.fixture
def slow(behind: Path, root: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """The folder, at `root`, with 5 ms a request, or as many seconds as the test says."""
    machine.fuse()
    with slow_mount.mounted(behind, root, latency=getattr(request, "param", 0.005)):
        yield


@pytest.mark.usefixtures("slow")
def test_bytes_are_bytes(behind: Path, run: Script) -> None:
    """Many files of all sizes, opened by several threads, are joined in order; nothing stays behind."""
    contents = [Random(n).randbytes(SIZES[n % len(SIZES)]) for n in range(150)]
    write_level(behind, 1, contents)
    assert run("merge.py", 150).returncode == 0
    assert (behind / "result.txt").read_bytes() == b"".join(contents)
    assert leftovers(behind) == []


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("slow", [0.04], indirect=True, ids=["40 ms"])
@pytest.mark.parametrize("size", [1, SMALL + 1])
def test_many_files_are_begun_side_by_side(behind: Path, root: Path, size: int) -> None:
    """Sixteen at a time take less than a third of the time of one at a time, in the same minute.

    One at a time comes first: the kernel looks up names that are new to it one after the other.
    """
    write_level(behind, 1, [b"x" * size] * 100)
    seconds = {}
    for parallel in (1, 16):
        started = time.perf_counter()
        arguments = command("merge.py", 100, "--level", 1, "--root", root, "--parallel", parallel)
        subprocess.run(arguments, env=environment(), check=True, stdout=subprocess.DEVNULL)
        seconds[parallel] = time.perf_counter() - started
        assert (behind / "result.txt").read_bytes() == b"x" * 100 * size
    assert seconds[16] < seconds[1] / 3, seconds


@pytest.mark.usefixtures("slow")
def test_a_directory_among_the_files(behind: Path, run: Script) -> None:
    """What is no file is refused, as on a disk."""
    write_level(behind, 1, [b"x"] * 10)[5].unlink()
    (behind / "l1/5.txt").mkdir()
    outcome = run("merge.py", 10, "--level", 1)
    assert outcome.returncode == 3
    assert "l1/5.txt is a directory" in outcome.stderr
