"""What commands that run side by side print: each line says whose it is."""

import os
import re
import select
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

_PIECE = 64 * 1024
"""Bytes of a line at most: what is longer is printed in pieces, so that memory does not grow."""

_POLL_MILLISECONDS = 100
_QUIET_MILLISECONDS = 500

_ENDS = re.compile(rb"(?<=\n)|(?<=\r)(?=[^\n])")
"""After a line: progress that is drawn over itself ends each state by a carriage return."""

_lock = threading.Lock()


class Labelled(threading.Thread):
    """A pipe to stderr, whose lines get a label. Bytes stay as they are, and none is lost."""

    def __init__(self, label: str) -> None:
        super().__init__(name="labels", daemon=True)
        self._label = os.fsencode(f"{label}: ")
        self._source, self.pipe = os.pipe()
        self._ended = threading.Event()
        self._target = sys.stderr.fileno()

    def start(self) -> None:
        """Begin to read, and leave the writing to whom the pipe was given."""
        self._close_pipe()
        super().start()

    def wait(self, look: Callable[[], object]) -> None:
        """Wait until all that the command, which has ended, has printed is on stderr.

        Who else holds the pipe is not waited for. What `look`, called now and then, raises ends the waiting.
        """
        self._ended.set()
        while self.is_alive():
            look()
            self.join(_POLL_MILLISECONDS / 1000)

    def close(self) -> None:
        """Let go of the pipe, at once or as soon as it is empty. Idempotent."""
        self._ended.set()
        self._close_pipe()
        if self.ident is None and self._source >= 0:  # nothing was started
            os.close(self._source)
            self._source = -1

    def _close_pipe(self) -> None:
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1

    def run(self) -> None:
        """Read, until there is no more."""
        rest = b""
        poller = select.poll()
        poller.register(self._source, select.POLLIN)
        try:
            while True:
                is_last = self._ended.is_set()
                if not poller.poll(_QUIET_MILLISECONDS if is_last else _POLL_MILLISECONDS):
                    if is_last:
                        break
                    continue
                block = os.read(self._source, _PIECE)
                if not block:
                    break
                *lines, rest = _ENDS.split(rest + block)
                if len(rest) >= _PIECE:
                    lines.append(rest + b"\n")
                    rest = b""
                self._print(lines)
            self._print([rest + b"\n"] if rest else [])
        finally:
            os.close(self._source)

    def _print(self, lines: list[bytes]) -> None:
        text = memoryview(b"".join(self._label + line for line in lines))
        with _lock, suppress(OSError):  # where it cannot be written there is nobody to tell
            while text:
                text = text[os.write(self._target, text) :]
