"""Files that list a command's inputs, for programs that read the names from a file of their own.

One input a line, in order. Each way to write a line is what some program's own reader takes back unchanged.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from aggregation.errors import WrongUsageError, printable
from aggregation.scratch import save


class Style(NamedTuple):
    """How a list is written."""

    line: Callable[[bytes], bytes]
    """What stands for an input, its end included."""
    takes_line_ends: bool = False
    """Whether a name may hold a line end."""


def _for_ffmpeg(path: bytes) -> bytes:
    # Its concat demuxer takes all between apostrophes as it is. With the protocol's name before it no part of
    # the path is taken for another protocol's, and none is resolved against the list's own folder.
    return b"file 'file:" + path.replace(b"'", b"'\\''") + b"'\n"


STYLES = {
    "": Style(lambda path: path + b"\n"),
    "nul": Style(lambda path: path + b"\0", takes_line_ends=True),
    "ffmpeg": Style(_for_ffmpeg),
}
"""By what stands behind `inputs-file:` in a command; plain without it."""


def path_of(style: str, output: str) -> str:
    """Where the list of a style is, for a command that writes `output`."""
    return f"{output}.inputs{'-' if style else ''}{style}.list"


def write(doing: str, styles: Iterable[str], inputs: Sequence[str], output: str) -> list[str]:
    """Write the lists that a command asks for; returns their paths.

    Raises:
        WrongUsageError: a name holds a line end, and a list cannot say so.
        RefusedError: there is no room for them.
    """
    paths = []
    for style in styles:
        _see_that_lines_hold_them(doing, style, inputs)
        path = path_of(style, output)
        save(doing, path, (STYLES[style].line(os.fsencode(each)) for each in inputs))
        paths.append(path)
    return paths


def _see_that_lines_hold_them(doing: str, style: str, inputs: Sequence[str]) -> None:
    if STYLES[style].takes_line_ends:
        return
    for path in inputs:
        if "\n" in path or "\r" in path:
            raise WrongUsageError(
                doing,
                f"{printable(path)} has a line end in its name, which a list of one name a line cannot hold",
                "take {inputs} or {inputs-file:nul}",
            )
