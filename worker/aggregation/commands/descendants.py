"""The processes that a command leaves behind: found as /proc shows them, reaped, and named.

The worker makes itself the parent of every process whose own parent has ended, as process 1 of a container is
by nature. So all that a command has started stays among the worker's descendants, whatever group or session
it moved to. What belongs to a command is what is still in its session, which a shell's background jobs and
process substitutions are, and what left the session and yet knows the command's folder: it has a file there
open, works there, or has it among its arguments or variables. A daemon that the command merely woke up (an
agent that keeps keys) is left alone, and so is what is older than the command: a driver that serves the
volume has the command's files open.
"""

import ctypes
import functools
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from aggregation import limits
from aggregation.errors import printable

_PR_SET_CHILD_SUBREAPER = 36

_ROUNDS = 100
"""Looks at a family whose members keep ending, which hands their children on."""

_lock = threading.Lock()
_commands: dict[int, int] = {}
"""Processes that a Popen waits for, and when they were started: nobody else may reap them."""


class Process(NamedTuple):
    """A process as proc(5) has it."""

    pid: int
    name: str
    state: str
    parent: int
    session: int
    started: int
    """In clock ticks since the machine was started."""

    @property
    def runs(self) -> bool:
        """Whether it has not ended; one that has may wait long for its parent to ask."""
        return self.state not in "ZX"

    def __str__(self) -> str:
        return f"{printable(self.name)}, process {self.pid}"


@functools.cache
def _all_are_listed() -> bool:
    """Become the parent of what loses its own. Whether that succeeds, and the kernel lists one's children."""
    adopts = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    return adopts and os.path.exists(f"/proc/self/task/{threading.get_native_id()}/children")


def start(arguments: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Start a command in a session of its own, with the limits that this process was started with.

    Without a terminal a prompt on /dev/tty fails at once, where one in the background would be stopped.

    Raises:
        OSError: it cannot be started.
    """
    _all_are_listed()
    with _lock, limits.as_found():
        process = subprocess.Popen(arguments, start_new_session=True, **options)
        begun = _look_at(process.pid)
        _commands[process.pid] = begun.started if begun else 0
    return process


def forget(process: "subprocess.Popen[bytes]") -> None:
    """Say that the Popen has reaped its process."""
    if process.returncode is not None:
        _commands.pop(process.pid, None)


def left_by(session: int, folder: str, pipe: int | None = None) -> list[Process]:
    """What a command, the leader of `session`, has started and still runs; itself too, while it does.

    Reaps what has ended. `folder` has a name that no other file has; `pipe` is a descriptor of a pipe that
    the command writes to.
    """
    marks = [os.fsencode(os.path.basename(folder))]
    if pipe is not None:
        marks.append(os.fsencode(os.readlink(f"/proc/self/fd/{pipe}")))
    for _ in range(_ROUNDS):
        family, whole = _descendants() if _all_are_listed() else (_processes(), True)
        if not _reap(family) and whole:
            break
    ours = os.getpid()
    with _lock:  # a command that is between fork and exec still has all that this process has open
        return [
            process
            for process in family
            if process.runs
            and process.started >= _commands.get(session, 0)
            and (
                process.session == session
                or ((_all_are_listed() or process.parent == ours) and _knows(process.pid, marks))
            )
        ]


def reap() -> None:
    """Reap what commands that still run have left behind and has ended: as process 1 nobody else does."""
    if _all_are_listed():
        _reap([process for pid in _children(os.getpid()) if (process := _look_at(pid))])


def _descendants() -> tuple[list[Process], bool]:
    """All that descends from this process, and whether none of it was gone before it could be looked at.

    The children of one that is gone have a new parent, who may have been asked before.
    """
    found: list[Process] = []
    whole = True
    pending = [os.getpid()]
    while pending:
        for pid in _children(pending.pop()):
            process = _look_at(pid)
            if process is None:
                whole = False
            else:
                pending.append(pid)
                found.append(process)
    return found, whole


def _processes() -> list[Process]:
    """All that this process can see, for a kernel or a sandbox that lists no children."""
    seen = (_look_at(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in seen if process is not None]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):  # it has ended
        for task in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError), open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found.extend(map(int, file.read().split()))
    return found


def _look_at(pid: int) -> Process | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="surrogateescape") as file:
            # The name, in parentheses, may hold anything, parentheses too.
            before, _, after = file.read().rpartition(")")
    except OSError:
        return None
    fields = after.split()
    state, parent, session, started = fields[0], int(fields[1]), int(fields[3]), int(fields[19])
    return Process(pid, before.partition("(")[2], state, parent, session, started)


def _reap(family: list[Process]) -> bool:
    """Reap those that are this process's own to reap; whether there were any."""
    ended = [p.pid for p in family if not p.runs and p.parent == os.getpid() and p.pid not in _commands]
    if not ended:
        return False
    reaped = False
    with _lock:  # a command that just starts is not known yet
        for pid in ended:
            if pid not in _commands:
                with suppress(ChildProcessError):
                    reaped |= os.waitpid(pid, os.WNOHANG)[0] == pid
    return reaped


def _knows(pid: int, marks: list[bytes]) -> bool:
    """Whether the process has anything to do with the folder or the pipe."""
    return any(mark in text for text in _texts(pid) for mark in marks)


def _texts(pid: int) -> Iterator[bytes]:
    """All that says what a process works on; another user's may not be read."""
    place = f"/proc/{pid}"
    for name in ("cmdline", "environ"):
        with suppress(OSError), open(f"{place}/{name}", "rb") as file:
            yield file.read()
    links = [f"{place}/cwd"]
    with suppress(OSError):
        links += [f"{place}/fd/{number}" for number in os.listdir(f"{place}/fd")]
    for link in links:
        with suppress(OSError):
            yield os.fsencode(os.readlink(link))
