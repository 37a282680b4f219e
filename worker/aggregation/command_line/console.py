"""Where lines go, and how: the summary on stdout, errors on stderr, for a person or a machine."""

import contextlib
import io
import os
import sys
import time
from errno import EBADF
from typing import TYPE_CHECKING, TextIO

from aggregation.errors import AggregationError, from_os_error
from aggregation.masking import masked

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

TERMINATION_LOG = "/dev/termination-log"
"""Where Kubernetes reads a container's last words, which Argo shows in its MESSAGE column."""

TERMINATION_BYTES = 4096
"""What Kubernetes keeps of them."""


class Console:
    """Where lines go, and how. Known before the options are read, for their errors."""

    def __init__(self) -> None:
        self.program = os.path.basename(sys.argv[0])
        self.as_json = _asked_for("--log-format", "AGGREGATION_LOG_FORMAT", "text") == "json"
        self.termination = _asked_for(
            "--termination-message", "AGGREGATION_TERMINATION_MESSAGE", TERMINATION_LOG
        )
        self.debug = False
        self._stdout_closed = sys.stdout is None

    def say(self, line: str, fields: dict[str, object]) -> None:
        """The summary, on stdout and as the termination message.

        Raises:
            RefusedError: stdout is a file on a full disk.
        """
        self._leave_word(line)
        self.print([self._format("INFO", line, fields)], "writing the summary (the target is complete)")

    def print(self, lines: list[str], doing: str = "printing", *, needed: bool = False) -> None:
        """Lines on stdout. A reader that has gone away is no error: the work is done.

        Nor is a closed stdout, unless the lines are all that was asked for.

        Raises:
            RefusedError: stdout is a file on a full disk, or closed.
        """
        if needed and self._stdout_closed:
            raise from_os_error(OSError(EBADF, ""), doing, "stdout", writing=True)
        try:
            print(*map(masked, lines), sep="\n", flush=True)  # noqa: T201 - this is the place for it
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the exit fails on its flush
        except OSError as error:
            raise from_os_error(error, doing, "stdout", writing=True) from error

    def notice(self, line: str) -> None:
        """Something that a person should know though all went well, on stderr."""
        self._tell("WARNING", line, {})

    def remark(self, line: str) -> None:
        """How far the work is, as it goes on: on stdout for a person, for a machine on stderr.

        Nobody needs it, so nothing fails for it.
        """
        if self.as_json:
            self.aside(line)
        else:
            with contextlib.suppress(AggregationError):
                self.print([self._format("INFO", line, {})])

    def aside(self, line: str) -> None:
        """How far the work is, where stdout is for something else: on stderr."""
        self._tell("INFO", line, {})

    def complain(self, line: str, exit_code: int) -> None:
        """An error, on stderr and as the termination message."""
        self._leave_word(line)
        self._tell("ERROR", line, {"exit_code": exit_code})

    def _tell(self, severity: str, line: str, fields: dict[str, object]) -> None:
        print(self._format(severity, line, fields), file=sys.stderr, flush=True)  # noqa: T201 - as above

    def _format(self, severity: str, line: str, fields: dict[str, object]) -> str:
        line = _one_line(line)
        if self.as_json:
            import json  # noqa: PLC0415 - 5 ms of start-up that the text format need not pay

            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            record = {"time": stamp, "severity": severity, "program": self.program, "message": line, **fields}
            return json.dumps(record)
        return f"{self.program}: {'error: ' if severity == 'ERROR' else ''}{line}"

    def _leave_word(self, line: str) -> None:
        """Write the termination message. Nothing depends on it: whatever goes wrong is left at that.

        The runtime's own file is never made, so that on a machine that is no container nothing appears.
        """
        if not self.termination:
            return
        text = _one_line(line).encode("utf-8", "backslashreplace")[:TERMINATION_BYTES]
        whole = text.decode("utf-8", "ignore").encode()  # cut on a character's border
        create = 0 if self.termination == TERMINATION_LOG else os.O_CREAT
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY | create
            descriptor = os.open(self.termination, flags, 0o666)
            try:
                os.write(descriptor, whole)
            finally:
                os.close(descriptor)


def _asked_for(option: str, variable: str, default: str) -> str:
    """An option's value, read here and not by click: what click says of the other options needs it."""
    value = os.environ.get(variable, default)
    arguments = iter(sys.argv[1:])
    for argument in arguments:
        if argument == option:
            value = next(arguments, value)
        elif argument.startswith(f"{option}="):
            value = argument.partition("=")[2]
    return value


def _one_line(text: str) -> str:
    """The text without secrets; what could end a line, steer a terminal or not be encoded is written out."""
    text = masked(text).replace("\n", " ")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class _Unfailing(io.FileIO):
    """Standard error that takes whatever is written: where it cannot go on, there is nobody to tell."""

    def write(self, data: "ReadableBuffer") -> int:
        """Write what can be written."""
        with contextlib.suppress(OSError):
            if (count := super().write(data)) is not None:
                return count
        return memoryview(data).nbytes


def open_streams() -> None:
    """Make the three standard streams usable, whatever the caller made of them.

    A closed one leads to /dev/null, so that no file of ours gets its number, where a child would write into
    it. What a stream's encoding lacks is written out, and no line on stderr fails.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, descriptor == number)
            setattr(sys, name, open(descriptor, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    with contextlib.suppress(OSError):  # it has no descriptor: then it is no real program's
        raw = _Unfailing(sys.stderr.fileno(), "w", closefd=False)
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(raw), sys.stderr.encoding, "backslashreplace", line_buffering=True
        )


console = Console()


def draws(stream: TextIO) -> bool:
    """Whether a stream is a terminal on which a line can be drawn anew."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
