"""What goes through a command's standard input and output."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from aggregation.errors import AggregationError, from_os_error

if TYPE_CHECKING:
    import subprocess

POLL_SECONDS = 0.1
"""Between two looks at what else may have happened."""

_BLOCK = 256 * 1024


class Printed:
    """What the command prints to its standard output, in blocks."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", look: Callable[[], object], patience: float
    ) -> None:
        self._process = process
        self._look = look
        self._patience = patience  # seconds without output, once the command has ended
        self.is_whole = False
        """Whether it came to its end: something that the command has left behind may keep the pipe open."""

    def __iter__(self) -> Iterator[bytes]:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        source = self._process.stdout.fileno()
        poller = select.poll()  # select() knows no descriptor above 1,023
        poller.register(source, select.POLLIN)
        quiet_since = None
        while True:
            self._look()
            if poller.poll(POLL_SECONDS * 1000):
                block = os.read(source, _BLOCK)
                if not block:
                    self.is_whole = True
                    return
                yield block
                quiet_since = None
            elif self._process.poll() is not None:
                quiet_since = quiet_since or time.monotonic()
                if time.monotonic() - quiet_since > self._patience:
                    return


class Feeder(threading.Thread):
    """Writes the inputs, one after the other, to the command's standard input."""

    def __init__(self, doing: str, process: "subprocess.Popen[bytes]", inputs: Sequence[str]) -> None:
        super().__init__(name="feeder", daemon=True)
        self._doing = doing
        self._process = process
        self._inputs = inputs
        self.failure: AggregationError | None = None
        self._stopped = threading.Event()
        self.start()

    def stop(self, patience: float) -> None:
        """End it where it still waits: a process that the command left behind may hold the pipe.

        Returns after `patience` seconds at the latest.
        """
        self._stopped.set()
        self.join(patience)

    def run(self) -> None:
        """Write all, then close. A command that has read enough ends it without an error."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        try:
            pipe = self._process.stdin.fileno()
            os.set_blocking(pipe, False)
            self._write_all(pipe)
        finally:
            with suppress(OSError):
                self._process.stdin.close()  # here and nowhere else: the number could be another file's

    def _write_all(self, pipe: int) -> None:
        poller = select.poll()
        poller.register(pipe, select.POLLOUT)
        for path in self._inputs:
            try:
                source = os.open(path, os.O_RDONLY)
            except OSError as error:
                self._fail(error, path)
                return
            try:
                while block := memoryview(os.read(source, _BLOCK)):
                    while block:
                        if self._stopped.is_set():
                            return
                        if poller.poll(POLL_SECONDS * 1000):
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
        # Joined inputs that are not whole must not make a target.
        self._process.kill()
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
