"""Where lines go, and how: the summary on stdout, errors on stderr, for a person or a machine."""

import contextlib
import os
import sys
import time

from .errors import from_os_error


class Console:
    """Where lines go, and how. Known from the environment before the options are read, for their errors."""

    def __init__(self) -> None:
        self.program = os.path.basename(sys.argv[0])
        self.as_json = os.environ.get("AGGREGATION_LOG_FORMAT") == "json"
        self.debug = False

    def say(self, line: str, fields: dict[str, object]) -> None:
        """The summary, on stdout."""
        self.print([self._format("INFO", line, fields)])

    def print(self, lines: list[str]) -> None:
        """Lines on stdout. A reader that has gone away is no error: the work is done.

        Raises:
            RefusedError: stdout is a file on a full disk.
        """
        try:
            print(*lines, sep="\n", flush=True)  # noqa: T201 - this is the place for it
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the exit fails on its flush
        except OSError as error:
            raise from_os_error(
                error, "writing the summary (the target is complete)", "stdout", writing=True
            ) from error

    def complain(self, line: str, exit_code: int) -> None:
        """An error, on stderr."""
        with contextlib.suppress(OSError):  # there is nobody left to tell
            line = self._format("ERROR", line, {"exit_code": exit_code})
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the place for it

    def _format(self, severity: str, line: str, fields: dict[str, object]) -> str:
        line = line.replace("\n", " ")
        if self.as_json:
            import json  # noqa: PLC0415 - 5 ms of start-up that the text format need not pay

            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            record = {"time": stamp, "severity": severity, "program": self.program, "message": line, **fields}
            return json.dumps(record)
        return f"{self.program}: {'error: ' if severity == 'ERROR' else ''}{line}"


console = Console()


def speaks_unicode() -> bool:
    """Whether stdout can show the characters of a drawn tree."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
