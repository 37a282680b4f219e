"""The files under a root, found and read: what a join needs of its sources, and a look back at its target."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from aggregation.errors import IntegrityError, MissingInputError
from aggregation.stores.promise import Entry
from aggregation.stores.readahead import blocks, read_ahead
from aggregation.wildcards import Pattern, escape

from .calls import Calls
from .entries import entry_of

_LIST_FROM = 16
"""Sources from which on one listing of their folder costs less than a look-up of each."""


class Piece(NamedTuple):
    """A block of a source."""

    key: str
    start: int
    end: int


class Files:
    """The files under a root. Every method raises as `Calls` does."""

    def __init__(self, calls: Calls, parallel: int) -> None:
        self._calls = calls
        self._url = str(calls.location)
        self._parallel = parallel

    def path(self, name: str) -> str:
        """The name as a URL."""
        if name[:1] == "/":
            return self._url.removesuffix(self._calls.root.lstrip("/")) + self.key(name).lstrip("/")
        return f"{self._url}/{name}" if name else self._url

    def key(self, name: str) -> str:
        """The name as the file system's own path."""
        if name[:1] == "/":  # from where the store begins: the root directory, or the bucket
            root = self._calls.root
            return name if root.startswith("/") else f"{root.partition('/')[0]}{name}"
        return f"{self._calls.root}/{name}" if name else self._calls.root

    def listing(self, doing: str, folder: str) -> list[dict[str, Any]]:
        """What the file system says of each name in a folder; nothing where that is absent."""

        def ask(fs: Any) -> list[dict[str, Any]]:
            fs.invalidate_cache(self.key(folder))
            found: list[dict[str, Any]] = fs.ls(self.key(folder), detail=True)
            return found

        try:
            return self._calls(doing, ask)
        except MissingInputError:
            return []

    def glob(self, doing: str, pattern: str) -> list[str]:
        """The names of the files that match, by the file system's own glob."""
        wanted = Pattern(pattern)
        start = "/" if pattern.startswith("/") else ""
        above = self.key(start).rstrip("/")

        def ask(fs: Any) -> dict[str, dict[str, Any]]:
            fs.invalidate_cache()
            below = f"{escape(above)}/{pattern.removeprefix('/')}"
            found: dict[str, dict[str, Any]] = fs.glob(below, detail=True)
            return found

        try:
            found = self._calls(doing, ask)
        except MissingInputError:
            return []
        files = (path.strip("/") for path, info in found.items() if info["type"] == "file")
        cut = len(above.strip("/")) + 1 if above.strip("/") else 0
        return [name for path in files if wanted.matches(name := f"{start}{path[cut:]}")]

    def info(self, doing: str, name: str) -> dict[str, Any]:
        """What the file system says of a file.

        Raises:
            MissingInputError: there is none.
        """

        def ask(fs: Any) -> dict[str, Any]:
            fs.invalidate_cache(self.key(os.path.dirname(name)))
            found: dict[str, Any] = fs.info(self.key(name))
            return found

        return self._calls(doing, ask)

    def look_up(self, doing: str, sources: Sequence[str]) -> list[Entry]:
        """The entry of each source.

        Raises:
            MissingInputError: one is absent or is no file.
        """
        listed: dict[str, dict[str, Any]] = {}
        if len(sources) >= _LIST_FROM or self._calls.alone:
            held = Counter(map(os.path.dirname, sources))
            for folder in (folder for folder, n in held.items() if n >= _LIST_FROM or self._calls.alone):
                infos = self.listing(doing, folder)
                listed |= {os.path.join(folder, entry_of(info).name): info for info in infos}

        def look(name: str) -> dict[str, Any]:
            info = listed.get(name)
            return info if info and info["type"] == "file" else self.info(doing, name)

        found = []
        for name, info in zip(sources, read_ahead(look, sources, self._parallel), strict=True):
            if info["type"] != "file":
                raise MissingInputError(
                    doing, f"{self.path(name)} is not a file", "put the input in its place"
                )
            found.append(entry_of(info))
        return found

    def check_unchanged(self, doing: str, sources: Sequence[str], before: Sequence[Entry]) -> None:
        """See that the sources are what they were.

        Raises:
            IntegrityError: one is another file now.
        """
        for name, entry, now in zip(sources, before, self.look_up(doing, sources), strict=True):
            if entry.identity != now.identity:
                raise IntegrityError(doing, f"{self.path(name)} was replaced while it was read", "run again")

    def fetched(self, doing: str, sources: Sequence[str], found: Sequence[Entry]) -> Iterator[bytes]:
        """The blocks of all sources, in order."""
        pieces = (
            Piece(self.key(name), start, end)
            for name, entry in zip(sources, found, strict=True)
            for start, end in blocks(entry.size)
        )
        return read_ahead(lambda piece: self.fetch(doing, piece), pieces, self._parallel)

    def fetch(self, doing: str, piece: Piece) -> bytes:
        """The bytes of a block.

        Raises:
            IntegrityError: they are fewer.
        """
        key, start, end = piece
        if start == end:
            return b""
        data: bytes = self._calls(doing, lambda fs: fs.cat_file(key, start=start, end=end))
        if len(data) != end - start:
            name = self.path(key.removeprefix(self.key("") + "/"))
            gave = f"{name} had {end} bytes and gave {start + len(data)}: it was replaced"
            raise IntegrityError(doing, gave, "run again")
        return data
