"""A program on a terminal of its own: a real pty of a given size."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Shown(NamedTuple):
    """What a program wrote on its terminal, and how it ended."""

    returncode: int
    text: str
    """With all escape sequences; each line ends with a line feed alone."""

    @property
    def last(self) -> list[str]:
        """The lines as they are when all is over: of a line that is drawn anew its last state."""
        return [line.rpartition("\r")[2].removeprefix("\x1b[2K") for line in self.text.split("\n")]


def on_terminal(
    arguments: Sequence[str],
    variables: Mapping[str, str],
    *,
    columns: int = 80,
    stdout: Path | None = None,
    meanwhile: Callable[["subprocess.Popen[bytes]"], None] = lambda _: None,
) -> Shown:
    """Run a program whose output is a terminal, or only its stderr where `stdout` names a file.

    `meanwhile` is called while it runs, and the terminal is read all the time.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    target = os.open(stdout, os.O_WRONLY | os.O_CREAT, 0o600) if stdout else os.dup(theirs)
    process = subprocess.Popen(
        arguments, env=variables, stdin=theirs, stdout=target, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    os.close(target)
    blocks: list[bytes] = []
    reader = threading.Thread(target=_read, args=(ours, blocks))
    reader.start()
    try:
        meanwhile(process)
        process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        reader.join()
        os.close(ours)
    return Shown(process.returncode, b"".join(blocks).decode().replace("\r\n", "\n"))


def _read(terminal: int, blocks: list[bytes]) -> None:
    """Read to the end, which a pty tells by an error: nobody has its other side open."""
    while True:
        try:
            block = os.read(terminal, 1 << 16)
        except OSError:
            return
        if not block:
            return
        blocks.append(block)
