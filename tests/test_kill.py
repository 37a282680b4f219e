"""SIGKILL, SIGTERM and SIGINT at any moment: the target is whole, and a tidy end leaves nothing behind.

Where a signal lands is chosen by watching the folder: before anything was written, while a temporary exists,
or once the target is new. Every test counts where its signals landed and insists on its share of each.
"""

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from scripts import command, environment, finished, leftovers, write_level

SEED = 20250114
MIB = 1 << 20
OLD = b"what an earlier run left\n" * 1000

TERM, INT, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGKILL


class Plan(NamedTuple):
    """How often to strike, and with what."""

    script: str
    signals: tuple[signal.Signals, ...]
    strikes: int

    def __str__(self) -> str:
        return f"{self.script}-{'+'.join(number.name for number in self.signals)}"


class Struck(NamedTuple):
    """What a process that got a signal left."""

    exit_code: int
    stdout: str
    stderr: str
    moment: str
    """Where the signal landed: `before`, `within` (a temporary existed), `after` (the target was new)."""
    alive: bool
    """Whether the process was running when the signal was sent."""


def temporaries(folder: Path) -> list[str]:
    """The temporaries in a folder and below it; none where there is no folder."""
    return [name for _, _, names in os.walk(folder) for name in names if name.endswith(".tmp")]


def inode(path: Path) -> int:
    """Which file stands under the name; 0 for none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def strike(
    arguments: list[str],
    root: Path,
    target: Path,
    signals: tuple[signal.Signals, ...],
    aim: str,
    chance: Random,
    whole: float,
) -> Struck:
    """Start a process, wait for the moment that `aim` names, send the signals, and wait for its end.

    `whole` is what an undisturbed run takes in seconds: the scale of the random delays.
    """
    old = inode(target)
    process = subprocess.Popen(
        arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    arrived: dict[str, Callable[[], bool]] = {
        "within": lambda: bool(temporaries(target.parent)),
        "after": lambda: inode(target) != old,
    }
    while process.poll() is None and aim in arrived and not arrived[aim]():
        time.sleep(0.0002)
    longest = {"start": whole / 4, "within": whole / 6, "after": 0.002, "anywhere": whole}
    pause = chance.choice([0, chance.uniform(0, longest[aim])])
    if pause or aim != "within":
        time.sleep(pause)
        seen = bool(temporaries(root))
    else:
        seen = True  # a second look would only be later
    moment = "within" if seen else "before" if inode(target) == old else "after"
    alive = process.poll() is None
    for index, number in enumerate(signals):
        if index:
            time.sleep(chance.choice([0, 0, chance.uniform(0, 0.003)]))
        process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    return Struck(process.returncode, stdout, stderr, moment, alive)


def check_end(struck: Struck, signals: tuple[signal.Signals, ...], root: Path) -> None:
    """The exit code fits the signal, and what the signal let the process do about it was done."""
    if KILL in signals:
        assert struck.exit_code in (-KILL, 0)
        return
    assert temporaries(root) == [], "a temporary stayed behind"
    starting = struck.moment == "before" and (struck.exit_code < 0 or "KeyboardInterrupt" in struck.stderr)
    if starting and INT in signals:  # before the handlers are there, Python answers it, with a traceback
        assert struck.exit_code in {0, 1, *(-number for number in signals)}
        return
    assert struck.exit_code in {0, *(128 + number for number in signals), *(-number for number in signals)}
    if struck.exit_code <= 0 and not struck.stdout:
        assert struck.stderr == ""
    if struck.exit_code < 0:  # the default action: the handlers were not there yet, or the work was done
        assert struck.moment == "before" or struck.stdout
    if struck.exit_code > 0:
        name = signal.Signals(struck.exit_code - 128).name
        assert struck.stderr.count("\n") == 1, "not one line"
        assert name in struck.stderr


def check_spread(moments: Counter[str], strikes: int) -> None:
    """A good share of the signals landed inside a copy; the loops go on until some landed on both sides."""
    assert moments["within"] >= strikes / 5, moments


def undisturbed(arguments: list[str]) -> float:
    """Run to the end, which must succeed; returns the seconds that it took."""
    started = time.perf_counter()
    outcome = finished(arguments, env=environment())
    assert (outcome.returncode, outcome.stderr) == (0, "")
    return time.perf_counter() - started


@contextmanager
def story(plan: Plan, trial: int, struck: Struck) -> Iterator[None]:
    """Say which trial failed, so that it can be told from the others and run again."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"seed {SEED}, {plan}, trial {trial}: {struck}")
        raise


MOMENTS = ("before", "within", "after")
AIMS = ("within", "start", "within", "after", "anywhere")

JOINS = [
    Plan("process.py", (KILL,), 26),
    Plan("process.py", (TERM,), 26),
    Plan("process.py", (INT,), 14),
    Plan("merge.py", (KILL,), 24),
    Plan("merge.py", (TERM,), 22),
    Plan("merge.py", (INT,), 12),
    Plan("process.py", (TERM, TERM), 16),
    Plan("process.py", (TERM, INT), 12),
    Plan("merge.py", (INT, TERM), 8),
]
TREES = [Plan("pipeline.py", (KILL,), 18), Plan("pipeline.py", (TERM,), 14), Plan("pipeline.py", (INT,), 10)]


@pytest.fixture(autouse=True)
def _tidy(root: Path) -> Iterator[None]:
    """Give the disk its hundreds of MiB back; pytest would keep them for three runs."""
    yield
    shutil.rmtree(root)


def test_enough_kills() -> None:
    """At least 200 signals reach live processes: the loops below count no other."""
    assert sum(plan.strikes for plan in [*JOINS, *TREES]) >= 200


@pytest.mark.parametrize("plan", JOINS, ids=str)
def test_a_killed_join(plan: Plan, root: Path) -> None:
    """The target is as it was, or whole and new; only SIGKILL may leave a temporary."""
    chance = Random(f"{SEED} {plan}")
    count, level = (2, 1) if plan.script == "process.py" else (3, 4)
    contents = [chance.randbytes(16 * MIB + number) for number in range(count)]
    write_level(root, level, contents)
    new = b"".join(contents)
    target = root / ("l2/0.txt" if plan.script == "process.py" else "result.txt")
    arguments = command(plan.script, *([0, 1] if plan.script == "process.py" else [3]), "--root", root)
    whole = undisturbed(arguments)
    moments: Counter[str] = Counter()
    trial = 0
    while moments.total() < plan.strikes or len(moments) < len(MOMENTS):
        trial += 1
        before = chance.choice([None, OLD])
        target.unlink(missing_ok=True)
        if before is not None:
            target.write_bytes(before)
        checksum = chance.choice([[], ["--checksum"]])  # the other way to copy
        struck = strike(
            [*arguments, *checksum], root, target, plan.signals, AIMS[trial % len(AIMS)], chance, whole
        )
        with story(plan, trial, struck):
            assert trial < 10 * plan.strikes, "too few signals met a live process"
            moments.update([struck.moment] * struck.alive)
            found = target.read_bytes() if target.exists() else None
            assert found in (before, new), f"{found and len(found)} bytes, neither old nor new"
            if struck.exit_code == 0:
                assert found == new
            check_end(struck, plan.signals, root)
            if temporaries(root):
                assert undisturbed(arguments) > 0
                assert target.read_bytes() == new
                assert temporaries(root) == [], "the dead run's temporary is still there"
    check_spread(moments, plan.strikes)


@pytest.mark.parametrize("number", [TERM, INT], ids=lambda number: number.name)
def test_a_signal_after_the_work_is_done(number: signal.Signals, root: Path) -> None:
    """Between the summary and the end a signal makes no traceback, no false claim and no death by signal."""
    write_level(root, 1, [b"a", b"b"])
    chance = Random(f"{SEED} {number}")
    arguments = command("process.py", 0, 1, "--root", root)
    for trial in range(12):
        process = subprocess.Popen(
            arguments, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.read(1)
        time.sleep(chance.uniform(0, 0.002))
        alive = process.poll() is None
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
        with story(
            Plan("process.py", (number,), 12),
            trial,
            Struck(process.returncode, stdout, stderr, "after", alive),
        ):
            assert process.returncode in (0, 128 + number)
            assert stderr.count("\n") == (1 if process.returncode else 0)
            assert "the target is as it was" not in stderr
            assert (root / "l2/0.txt").read_bytes() == b"ab"


@pytest.mark.parametrize("plan", TREES, ids=str)
def test_a_killed_pipeline_is_taken_up(plan: Plan, root: Path) -> None:
    """What a killed run had noted is kept, what an earlier run left is not, and the result is right."""
    chance = Random(f"{SEED} {plan}")
    contents = [chance.randbytes(MIB + number) for number in range(8)]
    for path in write_level(root, 1, contents):
        os.utime(path, (1.6e9, 1.6e9))
    result = root / "result.txt"
    folder = root / "runs/killed"
    wanted = {
        **{folder / f"l2/{n}.txt": b"".join(contents[2 * n : 2 * n + 2]) for n in range(4)},
        **{folder / f"l3/{n}.txt": b"".join(contents[4 * n : 4 * n + 4]) for n in range(2)},
        result: b"".join(contents),
    }
    arguments = command("pipeline.py", "--workers", 2, "--root", root, "--run", "killed", "--keep")
    whole = undisturbed(arguments)
    moments: Counter[str] = Counter()
    resumed = 0
    trial = 0
    while moments.total() < plan.strikes or len(moments) < len(MOMENTS):
        trial += 1
        old = chance.choice([None, OLD])
        for path in wanted:
            path.unlink(missing_ok=True)
            if old is not None:
                path.write_bytes(old)
                os.utime(path, (1.7e9, 1.7e9))  # long before the run, but after the inputs
        aim = AIMS[trial % len(AIMS)]
        watched = result if aim == "after" else chance.choice(list(wanted))
        struck = strike(arguments, root, watched, plan.signals, aim, chance, whole)
        with story(plan, trial, struck):
            assert trial < 10 * plan.strikes, "too few signals met a live process"
            moments.update([struck.moment] * struck.alive)
            found = {path: path.read_bytes() if path.exists() else None for path in wanted}
            assert all(found[path] in (old, new) for path, new in wanted.items()), "neither old nor new"
            check_end(struck, plan.signals, root)
            journal = (folder / ".pipeline.json").exists()
            done = {path: inode(path) for path, new in wanted.items() if found[path] == new}
            again = finished([*arguments, "--resume"], env=environment())
            assert (again.returncode, again.stderr) == (0, "")
            assert {path: path.read_bytes() for path in wanted} == wanted
            assert leftovers(root) == []
            if journal:
                kept = [line for line in again.stdout.splitlines() if line.endswith("  kept")]
                same = [path for path in done if inode(path) == done[path]]
                resumed += bool(kept)
                assert len(kept) == len(same), "what is kept is what stays"
    assert resumed >= plan.strikes / 10, f"{resumed} of {trial} runs were cut off with something done"
    check_spread(moments, plan.strikes)
