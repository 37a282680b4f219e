"""One run of a user's command, from its start to the end of all that it has started."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, TextIO

from aggregation.errors import CommandFailedError, UnavailableError
from aggregation.scratch import save

from . import descendants, diagnosis
from .labels import Labelled
from .pipes import POLL_SECONDS, Feeder, Printed

GRACE_SECONDS = 5.0
"""Between SIGTERM and SIGKILL for a command that does not end: docker stop leaves the worker 10."""

_KILLED_SECONDS = 2.0
"""How long what was killed is waited for: a process that waits for a dead mount cannot end."""

_MOMENT_SECONDS = 0.5
"""How long what a command started may run on, once the command itself has ended well: a process substitution
or the other end of a pipe is often about to end."""

_LOOK_SECONDS = 0.01

_FORK_ERRORS = frozenset({errno.EAGAIN, errno.ENOMEM, errno.ETXTBSY})
"""What keeps a program from starting for a while: too many processes, no memory, a file still written to."""


class Task(NamedTuple):
    """What is run, and on what."""

    doing: str
    """For the error's line."""
    arguments: Sequence[str]
    inputs: Sequence[str]
    output: str
    """Where its standard output goes, if it is asked for."""
    reads_stdin: bool
    writes_stdout: bool
    label: str
    """What its messages are labelled with; empty where no other command runs at the time."""
    is_quiet: bool = False
    """Whether what it prints on standard output is thrown away, where that is not the target."""


class BadEndError(CommandFailedError):
    """The command ran, and ended with another code than 0 or by a signal."""

    def __init__(self, doing: str, why: str, cure: str, returncode: int) -> None:
        super().__init__(doing, why, cure)
        self.returncode = returncode


def run(task: Task, look: Callable[[], object]) -> None:
    """Run the command to its end. What `look`, called now and then, raises ends it early.

    Raises:
        BadEndError: it ended with another code than 0.
        CommandFailedError: it could not be started, or what it had started still ran when it ended.
        UnavailableError: no process can be started for now.
        AggregationError: an input cannot be read, or its output not be written.
    """

    def watch() -> None:
        look()
        descendants.reap()

    kills = diagnosis.out_of_memory_kills()
    lines = Labelled(task.label) if task.label else None
    messages = lines.pipe if lines else sys.stderr
    starter = _Starter(
        task.arguments,
        stdin=subprocess.PIPE if task.reads_stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE if task.writes_stdout else subprocess.DEVNULL if task.is_quiet else messages,
        stderr=messages,
    )
    feeder: Feeder | None = None
    try:
        process = starter.wait(task)
        if lines is not None:
            lines.start()
        if task.reads_stdin:
            feeder = Feeder(task.doing, process, task.inputs)
        printed = Printed(process, watch, _MOMENT_SECONDS) if task.writes_stdout else None
        if printed is not None:  # written to a file that is opened after the spawn: see command.join
            save(task.doing, task.output, printed)
        while process.returncode is None:
            watch()
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
        left = [] if process.returncode else _still_running(process, task, look)
        if lines is not None:
            lines.wait(look)
    finally:
        _clear_up(starter.settled(), task, feeder, lines)
    if feeder is not None and feeder.failure is not None:
        raise feeder.failure
    if process.returncode:
        why, cure = diagnosis.ended(process.returncode, task.arguments[0], kills)
        raise BadEndError(task.doing, why, cure, process.returncode)
    if left or (printed is not None and not printed.is_whole):
        raise _still_runs(task, left)


def _still_runs(task: Task, left: Sequence[descendants.Process]) -> CommandFailedError:
    who = "; ".join(map(str, left[:3])) or "it holds its standard output open"
    return CommandFailedError(
        task.doing,
        f"it ended with 0 while something that it had started still ran ({who})",
        "let it wait for all that it starts, as a shell does by `wait`",
    )


def _still_running(
    process: "subprocess.Popen[bytes]", task: Task, look: Callable[[], object]
) -> list[descendants.Process]:
    """What the command has left behind, once that has had a moment to end."""
    deadline = time.monotonic() + _MOMENT_SECONDS
    while left := _left_by(process, task):
        if time.monotonic() > deadline:
            break
        look()
        time.sleep(_LOOK_SECONDS)
    return left


def _left_by(process: "subprocess.Popen[bytes]", task: Task) -> list[descendants.Process]:
    pipe = process.stdout.fileno() if process.stdout else None
    return descendants.left_by(process.pid, os.path.dirname(task.output), pipe)


def _clear_up(
    process: "subprocess.Popen[bytes] | None", task: Task, feeder: "Feeder | None", lines: Labelled | None
) -> None:
    if process is not None:
        _end(process, task)
        if process.stdout is not None:
            process.stdout.close()
    if feeder is not None:
        feeder.stop(_KILLED_SECONDS)
    if lines is not None:
        lines.close()


class _Starter(threading.Thread):
    """Starts the command, in a thread of its own.

    A signal interrupts the main thread only. There, one that came between the start of a process and the
    first line that could end it would leave the process running.
    """

    def __init__(self, arguments: Sequence[str], **streams: int | TextIO) -> None:
        super().__init__(name="starter", daemon=True)
        self.process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        self._arguments = arguments
        self._streams = streams
        self._asked = False
        self._done = threading.Event()

    def run(self) -> None:
        """Start it in a session of its own."""
        try:
            self.process = descendants.start(self._arguments, **self._streams)
        except OSError as error:
            self._failure = error
        finally:
            self._done.set()

    def settled(self) -> "subprocess.Popen[bytes] | None":
        """The process, if one was started, also where an interruption came before wait() could say."""
        if self._asked:
            self._done.wait(_KILLED_SECONDS)
        return self.process

    def wait(self, task: Task) -> "subprocess.Popen[bytes]":
        """Start, and return the process once it runs.

        Raises:
            CommandFailedError: it cannot be started.
            UnavailableError: nothing can be started for now.
        """
        self._asked = True
        self.start()
        self._done.wait()
        if self.process is None:
            failure = self._failure or OSError(0, "")
            why, cure = diagnosis.not_started(failure, task.arguments, len(task.inputs))
            kind = UnavailableError if failure.errno in _FORK_ERRORS else CommandFailedError
            raise kind(task.doing, why, cure) from failure
        return self.process


def _end(process: "subprocess.Popen[bytes]", task: Task) -> None:
    """End the command and all that it has started: SIGTERM, and SIGKILL after the grace period."""
    for signum, seconds in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, _KILLED_SECONDS)):
        deadline = time.monotonic() + seconds
        told: set[int] = set()
        while (left := _left_by(process, task)) or process.poll() is None:
            if time.monotonic() > deadline:
                break
            pids = {other.pid for other in left}
            if process.returncode is None:  # else its number may be another's
                pids.add(process.pid)
            for pid in pids - told:
                told.add(pid)
                _tell(pid, signum)
            time.sleep(_LOOK_SECONDS)
    process.poll()
    descendants.forget(process)


def _tell(pid: int, signum: signal.Signals) -> None:
    for number in (signum, signal.SIGCONT):  # what is stopped hears of it only once it goes on
        with suppress(OSError):
            os.kill(pid, number)
