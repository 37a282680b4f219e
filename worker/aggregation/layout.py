"""The names under a root: level files, the result, and the temporaries that become them.

    l<level>/<number><suffix>                       a file of a level
    runs/<run>/l<level>/<number><suffix>            the same from level 2 on, where a run has a name
    runs/<run>~                                     the run's result is there, its folder is being removed
    runs/<run>/.pipeline.json                       the journal of a run of pipeline.py, until it is done
    runs/<run>/inputs.txt, missing.json             the run's list of inputs (see `inputs`), and its gaps
    runs/<run>/.made-l<level>.json                  what that run has made, and of what
    result<suffix>                                  the result
    .<file>.<host>.<pid>.<mark and random>.tmp      what is being written, beside the file that it will become

Names are relative to the root and use `/`, so that they are the same on every store.
"""

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import host
from .lazy import Lazy

RUNS = "runs"
"""Under the root: a folder for each run that has a name."""

JOURNAL = ".pipeline.json"
"""In a run's folder while pipeline.py runs: the shape of the run, for --resume."""

INPUTS = "inputs.txt"
"""What inputs.py calls the list of a run's inputs."""

ACCOUNT = "missing.json"
"""What tells of that list's gaps, beside it."""

RUN_MAX = 253
"""Characters of a run's name: as many as a Kubernetes name may have."""

_OWN_LEVELS_FROM = 2
"""The level from which on files are a run's own; what is below is everybody's input."""

MAX_DIGITS = 100
"""Digits that a number may have: with a suffix of 32 bytes a name stays far under a file system's 255."""


def account_beside(result: str) -> str:
    """The account of the gaps in a result, beside it."""
    return f"{result}.{ACCOUNT}"


class Layout(NamedTuple):
    """The names of a run; `suffix` ends each file's name.

    With a `run` its levels from 2 on are its own; without one they stand beside level 1. With `inputs`, level
    1 is these files, in this order, wherever they are.
    """

    suffix: str = ".txt"
    run: str = ""
    inputs: Sequence[str] | None = None

    @property
    def run_folder(self) -> str:
        """The folder of what is the run's own; empty without a run."""
        return f"{RUNS}/{self.run}" if self.run else ""

    @property
    def merged_mark(self) -> str:
        """Beside the run's folder while that is being removed; a `~` is in no run's name."""
        return f"{RUNS}/{self.run}~"

    @property
    def journal(self) -> str:
        """The journal of a run of pipeline.py."""
        return f"{self.run_folder}/{JOURNAL}"

    def notes(self, level: int) -> str:
        """What a run of pipeline.py has made of a level, and of what."""
        return f"{self.run_folder}/.made-l{level}.json"

    def folder(self, level: int) -> str:
        """The folder of a level."""
        return f"{RUNS}/{self.run}/l{level}" if self.run and level >= _OWN_LEVELS_FROM else f"l{level}"

    def listed(self, level: int) -> Sequence[str] | None:
        """The files of a level that a list of inputs names; None where they are named by their numbers."""
        return self.inputs if level == 1 else None

    def file(self, level: int, number: int) -> str:
        """A file of a level. A list of inputs must have so many."""
        if (listed := self.listed(level)) is not None:
            return listed[number]
        return f"{self.folder(level)}/{number}{self.suffix}"

    def files(self, level: int, numbers: Sequence[int]) -> Sequence[str]:
        """Files of a level, in the order of `numbers`."""
        if (listed := self.listed(level)) is not None:
            return Lazy(listed.__getitem__, numbers)
        start, suffix = (part.replace("%", "%%") for part in (f"{self.folder(level)}/", self.suffix))
        return Lazy(f"{start}%d{suffix}".__mod__, numbers)

    def result(self) -> str:
        """The result's default name."""
        return f"result{self.suffix}"

    def level(self, folder: str) -> int | None:
        """The level that a folder's name stands for; None if it is not a level's folder."""
        return _number(folder[1:]) if folder.startswith("l") else None

    def levels(self, root: Iterable[str], own: Iterable[str]) -> list[int]:
        """The levels that the root and the run's folder hold by their names, each where it belongs."""
        outside = {level for name in root if (level := self.level(name)) is not None}
        if not self.run:
            return sorted(outside)
        inside = {level for name in own if (level := self.level(name)) is not None}
        return sorted(
            {level for level in outside if level < _OWN_LEVELS_FROM}
            | {level for level in inside if level >= _OWN_LEVELS_FROM}
        )

    def number(self, name: str) -> int | None:
        """The number that a file's name (without its folder) stands for; None if it is not a level's file."""
        return _number(name[: len(name) - len(self.suffix)]) if name.endswith(self.suffix) else None


def run_name(text: str) -> str:
    """The name of a run, if it can be one.

    Raises:
        ValueError: it cannot; the message says why.
    """
    if text in (".", "..") or len(text) > RUN_MAX or not _RUN_NAME.fullmatch(text):
        raise ValueError(
            f"{text!r} names no run: letters, digits, '.', '_' and '-', {RUN_MAX} at most, not '.' or '..'"
        )
    return text


_RUN_NAME = re.compile(r"[A-Za-z0-9._-]+")


def run_of_mark(name: str) -> str | None:
    """The run whose `merged_mark` has this name in its folder; None if none has."""
    try:
        return run_name(name[:-1]) if name.endswith("~") else None
    except ValueError:
        return None


def is_ours(name: str) -> bool:
    """Whether a name under the root is the worker's own: a level, a run, a journal, or a temporary."""
    first, *_ = parts = name.split("/")
    return (
        Layout().level(first) is not None
        or first == RUNS
        or any(part == JOURNAL or (part.startswith(".") and part.endswith(".tmp")) for part in parts)
    )


def _number(text: str) -> int | None:
    """The number that is written so, and in no other way; None if it is none."""
    if not (text.isascii() and text.isdigit()) or len(text) > MAX_DIGITS:
        return None  # int() would take `+1`, `1_000` and other scripts' digits
    return int(text) if text[0] != "0" or text == "0" else None


class Temporary(NamedTuple):
    """The name of a file that is being written.

    `host` and `pid` say who writes it, so that a leftover can be told from a file in use; `token` begins with
    a mark that no other program writes. `target` is the name of the file that it becomes, as much of it as
    there is room for.
    """

    target: str
    host: str
    pid: int
    token: str

    def name(self) -> str:
        """The temporary's name, beside its target's (both without their folder)."""
        return f".{self.target}.{self.host}.{self.pid}.{self.token}.tmp"


NAME_BYTES = 255
"""Bytes of a file's name, at most, on what Linux mounts."""

STALE_SECONDS = 24 * 3600
"""A temporary whose writer cannot be asked for is a leftover when nothing was written to it for so long: no
join takes a day."""

_MARK = "aggregation"
_RUN = _MARK + os.urandom(4).hex()
_SERIAL = itertools.count(1)


def new_temporary(target: str, host: str, room: int = NAME_BYTES) -> Temporary:
    """A temporary that no other thread or process has, with a name of at most `room` bytes.

    All of a process's begin their token alike.
    """
    temporary = Temporary(target, host, os.getpid(), f"{_RUN}{next(_SERIAL)}")
    beyond = len(os.fsencode(temporary.name())) - room
    if beyond <= 0:
        return temporary
    label = os.fsencode(target)[: max(len(os.fsencode(target)) - beyond, 1)].decode("utf-8", "ignore")
    return temporary._replace(target=label or "_")


def temporary_beside(target: str) -> str:
    """The name of a new temporary in its target's folder, where only the host tells whose it is."""
    folder, name = os.path.split(target)
    return os.path.join(folder, new_temporary(name, host.name()).name())


def is_of_this_process(temporary: Temporary) -> bool:
    """Whether this process made the temporary; another one may have had its number before."""
    return temporary.pid == os.getpid() and temporary.token.startswith(_RUN)


_TEMPORARY = re.compile(
    rf"\.(?P<target>.+)\.(?P<host>[^.]+)\.(?P<pid>[0-9]{{1,10}})\.(?P<token>{_MARK}[0-9a-f]{{8}}[0-9]+)\.tmp",
    re.ASCII | re.DOTALL,
)


def parse_temporary(name: str) -> Temporary | None:
    """The parts of a temporary's name; None if it is none, or one without the mark, as 0.1.0 made them."""
    match = _TEMPORARY.fullmatch(name)
    return Temporary(match["target"], match["host"], int(match["pid"]), match["token"]) if match else None
