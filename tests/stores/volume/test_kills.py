"""SIGKILL before each system call that changes the disk: what is there is whole, and the next run is right.

By default each call of process.py is tried, and some of the others'; `KILLS=all` tries them all.
"""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

import kill_table
import machine
from aggregation import host
from aggregation.layout import Temporary
from aggregation.stores.volume.fast_copy import SMALL
from scripts import command, environment, leftovers, write_level
from system_calls import Watched

OLD = b"what an earlier run left"
FIRST, SECOND = b"a" * (SMALL + 1), b"b" * 10
WHOLE = FIRST + SECOND
LIVE = Temporary("0.txt", host.name_for_pids(), os.getpid(), "aggregation0a1b2c3d1").name()
FOREIGN = ".backup.2024.12.31.tmp"


class Scenario(NamedTuple):
    """What is killed, and what it makes."""

    script: str
    arguments: tuple[object, ...]
    made: Mapping[str, tuple[bytes, ...]]
    """The files that it makes, and what each may hold in the end."""
    levels: Mapping[str, tuple[bytes, ...]] = {"l1": (FIRST, SECOND)}
    old: bool = False
    """Whether all that it makes is there before, from an earlier run."""
    again: tuple[object, ...] = ()
    """Options of the next run."""
    goes: tuple[str, ...] = ()
    """What is gone at the end."""
    step: int = 1
    """Of how many calls one is tried by default."""


LETTERS = tuple(bytes([code]) for code in range(ord("A"), ord("Z") + 1))
PROCESS = ("process.py", (0, 1))
SCENARIOS = {
    "process": Scenario(*PROCESS, {"l2/0.txt": (WHOLE,)}),
    "process over an old target": Scenario(*PROCESS, {"l2/0.txt": (WHOLE,)}, old=True, step=2),
    "process --verify": Scenario("process.py", (0, 1, "--verify"), {"l2/0.txt": (WHOLE,)}, old=True, step=3),
    "process --command": Scenario(
        "process.py", (0, 1, "--command", "cat {inputs}"), {"l2/0.txt": (WHOLE,)}, old=True, step=3
    ),
    "merge --run --clean": Scenario(
        "merge.py",
        (2, "--run", "r", "--clean"),
        {"result.txt": (WHOLE,)},
        {"l1": (b"x",) * 4, "runs/r/l2": (FIRST, SECOND)},
        old=True,
        goes=("runs",),
        step=2,
    ),
    "prepare": Scenario("prepare.py", (2,), {"l1/0.txt": LETTERS, "l1/1.txt": LETTERS}, {}, step=3),
    "pipeline": Scenario(
        "pipeline.py",
        ("--levels", 1, "--workers", 1, "--run", "r"),
        {"result.txt": (WHOLE,)},
        old=True,
        again=("--resume",),
        goes=("runs",),
        step=5,
    ),
}


def arrange(root: Path, scenario: Scenario) -> None:
    """Fill the root: inputs, what earlier runs left, and what is others'."""
    shutil.rmtree(root)
    root.mkdir()
    for folder, contents in scenario.levels.items():
        write_level(root / Path(folder).parent, int(Path(folder).name[1:]), contents)
    for name in scenario.made if scenario.old else ():
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_bytes(OLD)
    for name in (LIVE, FOREIGN):
        (root / name).write_bytes(b"others'")


def killed_at(root: Path, scenario: Scenario, which: int) -> str:
    """Kill the script before its call number `which` under the root; returns the call, or "" at its end.

    Writes to one file in a row are one call: what a command prints comes in any number of pieces.
    """
    watched = Watched(command(scenario.script, *scenario.arguments, "--root", root), environment())
    seen = 0
    at = ""
    last = ("", "")
    for call in watched:
        if call.path.startswith(str(root)):
            before, last = last, (call.name, call.path)
            if call.name == "write" and last == before:
                call.allow()
                continue
            seen += 1
            if seen > which:
                at = f"{call.name} {kind(root, call.path)}"
                os.kill(watched.pid, 9)
                continue
        call.allow()
    assert at or watched.returncode == 0, watched.stderr
    return at


def kind(root: Path, path: str) -> str:
    """What a path is, in a word."""
    name = os.path.basename(path)
    if ".tmp" in path.removeprefix(str(root)):
        return "temporary"
    if os.path.isdir(path) or name in ("runs", "r") or name.startswith("l"):
        return "folder"
    return "journal" if name.startswith(".") or name.endswith("~") else "target"


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_before_each_change(root: Path, name: str) -> None:
    """Old or whole at any moment; then the same command again is right, and leaves nothing of ours."""
    machine.system_calls()
    scenario = SCENARIOS[name]
    outcomes: Counter[tuple[str, str]] = Counter()
    step = 1 if os.environ.get("KILLS") == "all" else scenario.step
    which = 0
    while True:
        arrange(root, scenario)
        at = killed_at(root, scenario, which)
        found = []
        for target, wanted in scenario.made.items():
            held = (root / target).read_bytes() if (root / target).exists() else None
            before = OLD if scenario.old else None
            assert held in (before, *wanted), f"{target}: {held and len(held)} bytes after a kill at {at}"
            found.append("old" if held == before else "whole")
        left = [path for path in leftovers(root) if path not in (LIVE, FOREIGN)]
        kinds = "+".join(sorted(set(found)))
        outcomes[at, f"{kinds}{', a leftover' if left else ''}"] += bool(at)
        finished = "--clean" in scenario.arguments and not list(root.glob("runs/*"))
        again = subprocess.run(
            command(scenario.script, *scenario.arguments, *scenario.again, "--root", root),
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if finished:  # nothing tells it from a run that never was, and a mark that stayed would be a leftover
            assert (again.returncode, found) == (3, ["whole"])
            shutil.rmtree(root / "runs", ignore_errors=True)
        else:
            assert (again.returncode, again.stderr) == (0, ""), f"after a kill at {at}: {again.stderr}"
        for target, wanted in scenario.made.items():
            assert (root / target).read_bytes() in wanted, f"{target} after a kill at {at}"
        assert sorted(leftovers(root)) == sorted((LIVE, FOREIGN)), f"after a kill at {at}"
        assert not [gone for gone in scenario.goes if (root / gone).exists()], f"after a kill at {at}"
        if not at:
            break
        which += step
    assert which > step, "nothing was killed"
    kill_table.add(f"volume: {name}", +outcomes)
