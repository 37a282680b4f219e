"""Many at once on one target: one whole result, and whoever reads meanwhile never sees less."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from aggregation.stores.promise import Settings
from aggregation.stores.volume.store import VolumeStorage
from aggregation.stores.volume.temporaries import Temporaries
from aggregation.stores.volume.volume import Volume
from scripts import command, environment, leftovers, write_level

MIB = 1 << 20
OLD = b"what an earlier run left\n" * 1000


def start(arguments: list[str]) -> subprocess.Popen[str]:
    """A process that is left to run."""
    return subprocess.Popen(
        arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and what it complained about."""
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


def watch(processes: list[subprocess.Popen[str]], target: Path, whole: set[bytes | None]) -> tuple[int, int]:
    """Read the target until all processes have ended; it must always be one of `whole`.

    Returns how many times it was read, and how many temporaries were there at once at most.
    """
    reads = most = 0
    while any(process.poll() is None for process in processes):
        found = target.read_bytes() if target.exists() else None
        assert found in whole, f"{found and len(found)} bytes after {reads} reads"
        reads += 1
        with os.scandir(target.parent) as entries:
            most = max(most, sum(entry.name.endswith(".tmp") for entry in entries))
        time.sleep(0.001)
    return reads, most


@pytest.mark.parametrize("script", ["process.py", "merge.py"])
@pytest.mark.parametrize(("count", "rounds"), [(2, 5), (8, 3)])
def test_processes_on_one_target(root: Path, script: str, count: int, rounds: int) -> None:
    """All succeed, the target goes from old to new in one step, and nothing else stays."""
    contents = [Random(number).randbytes(6 * MIB + number) for number in range(2)]
    write_level(root, 1, contents)
    new = b"".join(contents)
    target = root / ("l2/0.txt" if script == "process.py" else "result.txt")
    target.parent.mkdir(exist_ok=True)
    arguments = command(script, *([0, 1] if script == "process.py" else [2]), "--root", root)
    together = 0
    for number in range(rounds):
        old = OLD if number % 2 else None
        target.unlink(missing_ok=True)
        if old is not None:
            target.write_bytes(old)
        processes = [start([*arguments, *(["--checksum"] if each % 2 else [])]) for each in range(count)]
        reads, most = watch(processes, target, {old, new})
        assert [finish(process) for process in processes] == [(0, "")] * count
        assert target.read_bytes() == new
        assert leftovers(root) == []
        assert reads > 1
        together = max(together, most)
    assert together > 1 or count == 2, "no two processes were ever writing at once"


def test_the_end_of_one_is_not_the_end_of_others(root: Path) -> None:
    """Processes that are killed or told to stop leave those that write the same target alone."""
    chance = Random(20250114)
    contents = [chance.randbytes(6 * MIB) for _ in range(2)]
    write_level(root, 1, contents)
    new = b"".join(contents)
    target = root / "l2/0.txt"
    target.parent.mkdir()
    arguments = command("process.py", 0, 1, "--root", root)
    for number in range(5):
        target.unlink(missing_ok=True)
        processes = [start(arguments) for _ in range(6)]
        while not leftovers(root) and any(process.poll() is None for process in processes):
            time.sleep(0.001)
        for process in processes[::2]:
            process.send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
        watch(processes, target, {None, new})
        ended = [finish(process) for process in processes]
        assert ended[1::2] == [(0, "")] * 3, f"round {number}"
        assert target.read_bytes() == new
        assert subprocess.run(arguments, env=environment(), capture_output=True, check=False).returncode == 0
        assert leftovers(root) == [], f"round {number}"


def test_two_preparations(root: Path) -> None:
    """Two that make the same letters both succeed and leave one letter a file."""
    for _ in range(3):
        processes = [start(command("prepare.py", 60, "--root", root)) for _ in range(2)]
        assert [finish(process) for process in processes] == [(0, "")] * 2
        letters = {path.name: path.read_bytes() for path in (root / "l1").iterdir()}
        assert set(letters) == {f"{number}.txt" for number in range(60)}
        assert all(len(letter) == 1 and letter.isupper() for letter in letters.values())
        for name in letters:
            (root / "l1" / name).unlink()


def test_two_pipelines(root: Path) -> None:
    """Two runs over one root both succeed; the result is whole whenever it is read, and right in the end."""
    contents = [Random(number).randbytes(MIB + number) for number in range(16)]
    write_level(root, 1, contents)
    new = b"".join(contents)
    for number in range(4):
        (root / "result.txt").unlink(missing_ok=True)
        processes = [start(command("pipeline.py", "--workers", 2, "--root", root)) for _ in range(2)]
        watch(processes, root / "result.txt", {None, new})
        assert [finish(process) for process in processes] == [(0, "")] * 2, f"round {number}"
        assert (root / "result.txt").read_bytes() == new
        assert leftovers(root) == []


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as the interpreter can, so that a race shows in seconds."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def at_once(count: int, work: Callable[[], object]) -> list[Exception]:
    """Do the work in many threads; returns what went wrong."""
    wrong = []

    def run() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            wrong.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("shared", [True, False], ids=["one store", "a store each"])
def test_threads_on_one_target(root: Path, shared: bool) -> None:
    """Eight threads of one process, over one store or a store each, get one whole result."""
    contents = [Random(number).randbytes(100_000 + number) for number in range(2)]
    write_level(root, 1, contents)
    one = VolumeStorage(str(root))

    def work() -> None:
        for _ in range(25):
            store = one if shared else VolumeStorage(str(root))
            written = store.concatenate(["l1/0.txt", "l1/1.txt"], "l2/0.txt")
            assert written.size == len(contents[0]) + len(contents[1])
            assert (root / "l2/0.txt").read_bytes() == b"".join(contents)
            if not shared:
                store.close()

    assert at_once(8, work) == []
    assert leftovers(root) == []


@pytest.mark.usefixtures("restless")
def test_threads_never_share_a_temporary(root: Path) -> None:
    """Every temporary that a store makes, in whatever thread, has a name of its own."""
    temporaries = Temporaries(Volume(str(root), Settings()))

    def make(path: str) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def work() -> None:
        for _ in range(2000):
            path, descriptor = temporaries.create("testing", "0.txt", make)
            os.close(descriptor)
            temporaries.discard(path)

    assert at_once(8, work) == []
    assert leftovers(root) == []
