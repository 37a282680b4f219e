"""The user's own merge command: one program that makes a target of its inputs, run without a shell.

The command is an argument list, quoted as a shell would quote it. `{inputs}`, an argument of its own, becomes
the inputs' paths; `{output}`, `{level}` and `{number}` are replaced wherever they stand. A command without
`{inputs}` reads the joined inputs on its standard input, one without `{output}` writes the target to its
standard output. The target appears only if the command ends with 0 and wrote something.
"""

import os
import re
import select
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, TextIO

from .errors import AggregationError, CommandFailedError, from_os_error, printable
from .storage import Advance, Storage, Written, describe

GRACE_SECONDS = 5.0
"""Between SIGTERM and SIGKILL for a command that does not end: less than the 10 s of `docker stop`."""

_PLACEHOLDER = re.compile(r"\{(?:output|level|number)\}")

_POLL_SECONDS = 0.1
_LOOK_SECONDS = 0.01
_BLOCK = 256 * 1024


class Command(NamedTuple):
    """A merge command, parsed."""

    arguments: tuple[str, ...]
    allow_empty: bool = False
    """Whether a command that wrote nothing made an empty target, or failed."""
    scratch: str | None = None
    """A folder for its files; None: beside the target on a volume, the system's own elsewhere."""

    @property
    def reads_stdin(self) -> bool:
        """Whether the inputs come on standard input."""
        return "{inputs}" not in self.arguments

    @property
    def writes_stdout(self) -> bool:
        """Whether the target goes to standard output."""
        return not any("{output}" in argument for argument in self.arguments)

    def expanded(self, inputs: Sequence[str], output: str, level: int, number: int) -> list[str]:
        """The arguments with their placeholders replaced; nothing else in them means anything."""
        values = {"{output}": output, "{level}": str(level), "{number}": str(number)}
        expanded: list[str] = []
        for argument in self.arguments:
            if argument == "{inputs}":
                expanded.extend(inputs)
            else:
                # In one pass: a value that looks like a placeholder stays what it is.
                expanded.append(_PLACEHOLDER.sub(lambda match: values[match[0]], argument))
        return expanded


def parse(text: str) -> tuple[str, ...]:
    """Split a command as a shell would, without running one.

    Raises:
        ValueError: the quotes do not match, there is no program, or `{inputs}` is part of an argument.
    """
    try:
        arguments = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"its quoting is wrong ({error})") from error
    if not arguments:
        raise ValueError("it names no program")
    for argument in arguments:
        if "{inputs}" in argument and argument != "{inputs}":
            raise ValueError(f"{{inputs}} must be an argument of its own, not a part of {argument!r}")
    return arguments


def join(
    storage: Storage,
    command: Command,
    sources: Sequence[str],
    target: str,
    *,
    level: int,
    number: int,
    advance: Advance | None = None,
    checksum: bool = False,
) -> Written:
    """Make `target` of the sources by the command. As atomic as Storage.concatenate; nothing is left behind.

    On a volume the command gets the files themselves, and no descriptor of the target: a mount of an object
    store publishes what is half-written when a descriptor is closed, which spawning a process does. Elsewhere
    the inputs are downloaded to scratch first.

    Raises:
        CommandFailedError: it could not be started, ended with another code than 0, or wrote nothing.
        AggregationError: as Storage.concatenate.
    """
    started = time.perf_counter()
    doing = f"running {printable(command.arguments[0])} on {describe(sources)}"
    with storage.workplace(target, command.scratch) as folder:
        output = os.path.join(folder, os.path.basename(target))
        inputs = storage.download(sources, f"{output}.inputs")
        arguments = command.expanded(inputs, output, level, number)
        _run(doing, command, arguments, inputs, output, lambda: advance(0) if advance else None)
        try:
            made = os.lstat(output)
        except FileNotFoundError as error:
            raise _failed(doing, "it ended with 0 and did not write {output}") from error
        if not stat.S_ISREG(made.st_mode):
            raise _failed(doing, "what it left at {output} is not a regular file")
        if not made.st_size and not command.allow_empty:
            raise _failed(doing, "it ended with 0 and wrote nothing", "--allow-empty permits that")
        written = storage.upload(output, target, advance=advance, checksum=checksum)
        return written._replace(seconds=time.perf_counter() - started)


def _failed(doing: str, why: str, cure: str = "its own messages are above this line") -> CommandFailedError:
    return CommandFailedError(doing, why, cure)


def _run(
    doing: str,
    command: Command,
    arguments: Sequence[str],
    inputs: Sequence[str],
    output: str,
    look: Callable[[], object],
) -> None:
    """Run the command to its end. What `look`, called now and then, raises ends it early."""
    starter = _Starter(
        arguments,
        stdin=subprocess.PIPE if command.reads_stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE if command.writes_stdout else sys.stderr,
    )
    feeder: _Feeder | None = None
    try:
        process = starter.wait(doing)
        if command.reads_stdin:
            feeder = _Feeder(doing, process, inputs)
        if command.writes_stdout:
            _receive(doing, process, output, look)
        while True:
            look()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)
                break
    finally:
        started = starter.settled()
        if started is not None:
            if _is_there(started):
                _end(started)
            if started.stdout is not None:
                started.stdout.close()
        if feeder is not None:
            # The pipe has lost its reader, which ends the feeder; unless the command left a process behind.
            feeder.join(GRACE_SECONDS)
    if feeder is not None and feeder.failure is not None:
        raise feeder.failure
    if process.returncode > 0:
        raise _failed(doing, f"it ended with exit code {process.returncode}")
    if process.returncode < 0:
        number = -process.returncode
        known = {known.value: known.name for known in signal.Signals}
        raise _failed(doing, f"it was killed by {known.get(number, f'signal {number}')}")


class _Starter(threading.Thread):
    """Starts the command, in a thread of its own.

    A signal interrupts the main thread only. There, one that came between the start of a process and the
    first line that could end it would leave the process running.
    """

    def __init__(self, arguments: Sequence[str], *, stdin: int, stdout: int | TextIO) -> None:
        super().__init__(name="starter", daemon=True)
        self.process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        self._arguments = arguments
        self._stdin = stdin
        self._stdout = stdout
        self._asked = False
        self._done = threading.Event()

    def run(self) -> None:
        """Start it in a process group of its own, so that a signal reaches what it starts in turn."""
        try:
            self.process = subprocess.Popen(
                self._arguments, stdin=self._stdin, stdout=self._stdout, process_group=0
            )
        except OSError as error:
            self._failure = error
        finally:
            self._done.set()

    def settled(self) -> "subprocess.Popen[bytes] | None":
        """The process, if one was started, also where an interruption came before wait() could say."""
        if self._asked:
            self._done.wait(GRACE_SECONDS)
        return self.process

    def wait(self, doing: str) -> "subprocess.Popen[bytes]":
        """Start, and return the process once it runs.

        Raises:
            CommandFailedError: it cannot be started.
        """
        self._asked = True
        self.start()
        self._done.wait()
        if self.process is None:
            reason = os.strerror(self._failure.errno or 0) if self._failure else "unknown"
            raise _failed(doing, f"it cannot be started: {reason}", "check --command") from self._failure
        return self.process


def _receive(doing: str, process: "subprocess.Popen[bytes]", output: str, look: Callable[[], object]) -> None:
    """Write what the command prints to `output`, opened after the spawn."""
    assert process.stdout is not None  # noqa: S101 - for the type checker
    source = process.stdout.fileno()
    try:
        with open(output, "xb", buffering=0) as file:
            while True:
                look()
                if select.select([source], [], [], _POLL_SECONDS)[0]:
                    block = memoryview(os.read(source, _BLOCK))
                    if not block:
                        return
                    while block:
                        block = block[file.write(block) :]
    except OSError as error:
        raise from_os_error(error, doing, output, writing=True) from error


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the command and all that it has started: SIGTERM, and SIGKILL after the grace period."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_SECONDS
        with suppress(OSError):
            os.killpg(process.pid, signum)
        while _is_there(process) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)


def _is_there(process: "subprocess.Popen[bytes]") -> bool:
    """Whether the command, or a process that it has started in its group, still runs."""
    if process.poll() is None:
        return True
    with suppress(ChildProcessError):
        # As process 1 of a container the worker is the parent of what the command left; nobody else reaps it.
        while os.waitpid(-process.pid, os.WNOHANG)[0]:
            pass
    try:
        os.killpg(process.pid, 0)
    except OSError:
        return False
    return _runs_in_group(process.pid)


def _runs_in_group(group: int) -> bool:
    """Whether a process of the group still runs: one that has ended may wait long for a parent to reap it."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                # proc(5): the command's name, in parentheses, may hold anything; then state, parent, group.
                state, _, its_group = file.read().rpartition(")")[2].split()[:3]
                if int(its_group) == group and state not in "ZX":
                    return True
    return False


class _Feeder(threading.Thread):
    """Writes the inputs, one after the other, to the command's standard input."""

    def __init__(self, doing: str, process: "subprocess.Popen[bytes]", inputs: Sequence[str]) -> None:
        super().__init__(name="feeder", daemon=True)
        self._doing = doing
        self._process = process
        self._inputs = inputs
        self.failure: AggregationError | None = None
        self.start()

    def run(self) -> None:
        """Write all, then close. A command that has read enough ends it without an error."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        try:
            self._write_all(self._process.stdin.fileno())
        finally:
            with suppress(OSError):
                self._process.stdin.close()  # here and nowhere else: the number could be another file's

    def _write_all(self, pipe: int) -> None:
        for path in self._inputs:
            try:
                source = os.open(path, os.O_RDONLY)
            except OSError as error:
                self._fail(error, path)
                return
            try:
                while block := memoryview(os.read(source, _BLOCK)):
                    while block:
                        block = block[os.write(pipe, block) :]
            except BrokenPipeError:
                return
            except OSError as error:
                self._fail(error, path)
                return
            finally:
                os.close(source)

    def _fail(self, error: OSError, path: str) -> None:
        self.failure = from_os_error(error, self._doing, path, writing=False)
        with suppress(ProcessLookupError):  # joined inputs that are not whole must not make a target
            os.killpg(self._process.pid, signal.SIGKILL)
