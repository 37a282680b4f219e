"""The list of a run's inputs as a file: one name a line, in order, UTF-8.

    # 240 inputs, made by inputs.py --glob 'shot7_*.exr'
    shot7_1.exr
    shot7_2.exr
    …

Names are relative to the root; one that begins with `/` counts from where the store begins: the bucket, or
the directory `/`. The first line's count is compared with the lines, so that a list that is cut short shows;
its `3 missing` says that `missing.json` beside the list tells of gaps. A list that somebody wrote by hand may
lack that line.
"""

import os
import re
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

from aggregation.errors import MissingInputError, printable
from aggregation.layout import ACCOUNT, INPUTS, Layout, account_beside
from aggregation.stores.promise import Storage

MADE_BY = "made by inputs.py"

_HEADER = re.compile(r"# ([0-9]{1,12}) inputs?(?:, ([0-9]{1,12}) missing)?(?:,.*)?")

_NO_NAME = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|[\n\0]")
"""What shows a part that is `.`, `..` or empty; a `/` at the start is one of its own."""

_CHUNK = 64 * 1024
"""Bytes of a list whose lines are looked at together."""


class Names(Sequence[str]):
    """The names of a list, read as far as they are asked for: a step takes a few of many thousand.

    What is asked for may raise MissingInputError, where a line is no name.
    """

    def __init__(self, data: bytes) -> None:
        """Keep the lines, each with its end."""
        self._data = data
        self._count = data.count(b"\n")
        self._starts: list[tuple[int, int]] = []  # of each chunk: its first line, and that one's offset
        self._near: tuple[int, list[str]] = (0, [])

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            start, stop, step = index.indices(self._count)
            if stop - start > _CHUNK:
                return list(self)[index]
            return [self[number] for number in range(start, stop, step)]
        number = index + self._count if index < 0 else index
        if not 0 <= number < self._count:
            raise IndexError(index)
        first, lines = self._near
        if not first <= number < first + len(lines):
            first, lines = self._near = self._lines_around(number)
        return _checked(lines[number - first])

    def __iter__(self) -> Iterator[str]:
        return map(_checked, _decoded(self._data).removesuffix("\n").split("\n") if self._count else ())

    def _lines_around(self, number: int) -> tuple[int, list[str]]:
        """The lines of a chunk, and the number of its first."""
        if not self._starts:
            line = offset = 0
            while offset < len(self._data):
                self._starts.append((line, offset))
                end = self._data.find(b"\n", offset + _CHUNK) + 1 or len(self._data)
                line += self._data.count(b"\n", offset, end)
                offset = end
        at = bisect_right(self._starts, (number, sys.maxsize)) - 1
        first, offset = self._starts[at]
        end = self._starts[at + 1][1] if at + 1 < len(self._starts) else len(self._data)
        return first, _decoded(self._data[offset:end]).removesuffix("\n").split("\n")


def _checked(name: str) -> str:
    if _NO_NAME.search(name.removeprefix("/")):
        raise MissingInputError(
            "reading the list of inputs",
            f"{name!r} has an empty part, '.' or '..', and names no file",
            "make the list again by inputs.py",
        )
    return name


class InputList(NamedTuple):
    """What level 1 is, and how many inputs it lacks."""

    names: Sequence[str]
    missing: int = 0
    how: str = ""
    """The options of inputs.py that made it."""

    def to_bytes(self) -> bytes:
        """The list as a file."""
        count = f"{len(self.names)} {'input' if len(self.names) == 1 else 'inputs'}"
        gaps = f", {self.missing} missing" if self.missing else ""
        how = f"{MADE_BY} {self.how}".rstrip()
        return _encoded("\n".join([f"# {count}{gaps}, {how}", *self.names, ""]))

    def digest(self) -> str:
        """Tells this list from others, whatever made it."""
        from hashlib import blake2b  # noqa: PLC0415 - for gaps and journals only

        return blake2b(_encoded("\n".join(self.names)), digest_size=16).hexdigest()


def parse(data: bytes) -> InputList:
    """Read a list.

    Raises:
        ValueError: it is cut short, or names nothing; the message says why.
    """
    first, _, rest = data.partition(b"\n")
    header = _HEADER.fullmatch(_decoded(first))
    if header is None:
        if b"\r\n" in data:
            raise ValueError("it has Windows line ends (CRLF)")
        rest = rest if first.startswith(b"#") else data
        rest += b"" if rest.endswith(b"\n") or not rest else b"\n"
    elif not data.endswith(b"\n"):
        raise ValueError("its last line is cut short")
    names = Names(rest)
    if header is not None and int(header[1]) != len(names):
        raise ValueError(f"it holds {len(names)} names, and its first line says {header[1]}")
    if not names:
        raise ValueError("it names no input")
    how = _decoded(first).partition(MADE_BY)[2].strip()
    return InputList(names, int(header[2] or 0) if header else 0, how)


def path_of(layout: Layout, name: str) -> str:
    """Where a list is: in the run's folder, or, with a `/` in its name, where that says."""
    if "/" in name or not layout.run:
        return name
    return f"{layout.run_folder}/{name}"


def read(storage: Storage, layout: Layout, name: str) -> InputList:
    """The list with this name. One read.

    Raises:
        MissingInputError: there is none, or it is not whole.
    """
    path = path_of(layout, name)
    doing = f"reading the list of inputs {printable(storage.path(path))}"
    try:
        data = storage.read(path, None)
    except MissingInputError as error:
        why = "it is not there"
        raise MissingInputError(doing, why, "make it by inputs.py, or check --inputs and --run") from error
    try:
        return parse(data)
    except ValueError as error:
        raise MissingInputError(doing, str(error), "make it again by inputs.py") from error


def account_of(path: str) -> str:
    """The name of what tells of a list's gaps: `missing.json` beside `inputs.txt`."""
    folder, name = os.path.split(path)
    account = ACCOUNT if name == INPUTS else account_beside(name.removesuffix(".txt"))
    return os.path.join(folder, account)


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")  # a volume's names need not be UTF-8


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
