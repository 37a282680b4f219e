"""What a case declares: commands, how to begin each anew, and what the worker promises."""

import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from aggregation import tree

KIB, MIB, GIB = 2**10, 2**20, 2**30

HERE = Path(__file__).resolve().parent
LAUNCHER = (sys.executable, "-I", "-S", str(HERE / "launcher.py"))

Arguments = Sequence[str | os.PathLike[str]]

Quantity = Literal["seconds", "cpu", "memory", "requests", "up", "down", "made", "failed", "used", "refused"]
"""The last two are shares: of a limit of requests a second, and of the answers."""


class SkippedError(Exception):
    """A family, or the rest of it, cannot run here; the message says why."""


@dataclass(frozen=True)
class Command:
    """One way to the case's end, run as a process of its own."""

    name: str
    argv: Arguments
    variables: Mapping[str, str] = field(default_factory=dict)
    inside: bool = False
    """The time is what the program prints last: seconds, of a clock or of the CPU, for a part of its work."""
    once: bool = False
    """Too slow for more than one round."""
    launcher: Sequence[str] = LAUNCHER


class Target(NamedTuple):
    """A promise about a case: a ratio to a reference, or without one a bound, in seconds or bytes."""

    promise: str
    command: str
    reference: str = ""
    at_most: float | None = None
    at_least: float | None = None
    """How many times faster than the reference."""
    quantity: Quantity = "seconds"
    each: bool = False
    """Every round has to keep it, not their median."""


class Gauge(NamedTuple):
    """Quantities that are read after each run, besides those of the process."""

    reset: Callable[[], None]
    read: Callable[[], Mapping[Quantity, float]]


@dataclass(frozen=True)
class Case:
    """Commands that are compared."""

    name: str
    commands: Sequence[Command]
    reference: str
    """The command that the table's ratios refer to."""
    rounds: int
    reset: Callable[[], None]
    """Called before each run: removes what the last one made."""
    check: Callable[[], None]
    """Called after each run: raises if the command has not done its work."""
    targets: Sequence[Target] = ()
    gauge: Gauge | None = None
    drawn: bool = True
    """Whether it tells enough to be in the pictures."""


class Options(NamedTuple):
    """What the command line says."""

    quick: bool
    rounds: int | None
    worker: Path
    image: str
    folder: Path
    """For temporary data; removed at the end."""

    def script(self, name: str, *arguments: str | os.PathLike[str]) -> Arguments:
        """A command line that runs one of the worker's scripts."""
        return [sys.executable, self.worker / name, *arguments]


Family = Callable[[Options], Generator[Case]]


def shell(script: str, *arguments: str | os.PathLike[str]) -> Arguments:
    """A command line that runs a shell script, with its arguments as $1, $2, and so on."""
    return ["/bin/sh", "-ec", script, "sh", *arguments]


def rival(name: str, *arguments: str | os.PathLike[str]) -> Arguments:
    """A command line that runs one of the scripts in rivals/."""
    return [sys.executable, HERE / "rivals" / f"{name}.py", *arguments]


def size_text(size: int) -> str:
    """A size as a person writes it: 1 B, 64 MiB."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= unit:
            return (
                f"{size // unit} {name}" if size % unit == 0 else f"{size // unit} {name} + {size % unit} B"
            )
    return f"{size} B"


def tree_widths(files: int, fan_in: int) -> list[int]:
    """Files of each level, where as many levels are reduced as leave one group for the final merge.

    A flat tree has level 1 alone.
    """
    levels = 0
    while tree.widths(files, fan_in, levels)[-1] > fan_in:
        levels += 1
    return tree.widths(files, fan_in, levels)
