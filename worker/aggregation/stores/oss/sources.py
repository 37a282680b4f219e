"""Sources: their sizes and states, and their bytes, compared with the CRC64 that the service has."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice, takewhile
from typing import NamedTuple

from aggregation.errors import IntegrityError, MissingInputError
from aggregation.stores.checksum import combined, crc64_of
from aggregation.stores.readahead import blocks, read_ahead

from . import parts
from .answers import ObjectState
from .client import OssClient
from .listing import Listed
from .objects import Objects
from .parts import Range

SMALL = 64 * 1024
"""Bytes that are on their way for less time than their request waits for its answer."""


class Source(NamedTuple):
    """An input: its key, its size in bytes, and its state where it has been asked for."""

    key: str
    size: int
    state: ObjectState | None

    @property
    def known_crc64(self) -> int | None:
        """Its CRC64, where it is known."""
        return self.state.known_crc64 if self.state else None


def known_crc64(sources: Iterable[Source]) -> int | None:
    """The CRC64 of sources joined, where that of each is known."""
    return combined((source.known_crc64, source.size) for source in sources)


def _by_folder(key: str) -> tuple[str, str]:
    return os.path.dirname(key), key


class Reader:
    """Reads the objects of a bucket, `parallel` requests at a time in each call, or `small` for little data.

    Safe to use from several threads at once.
    """

    def __init__(self, client: OssClient, objects: Objects, parallel: int, small: int) -> None:
        self._client = client
        self._objects = objects
        self._parallel = parallel
        self._small = small

    def state_of(self, doing: str, key: str) -> Source:
        """A source by its HEAD.

        Raises:
            MissingInputError: there is no such object.
        """
        state = self._objects.head(key)
        if state is None:
            why = f"{self._client.url(key)} is missing"
            raise MissingInputError(doing, why, "write it, or run the step that makes it")
        return Source(key, state.size, state)

    def look_up(self, doing: str, keys: Sequence[str], *, by_listing: bool) -> list[Source]:
        """The sources' sizes and states: by a HEAD each.

        With `by_listing`, of many by one listing where they are short: these have no state then.
        """
        short: dict[str, int] = {}
        if by_listing and len(keys) >= parts.LIST_FROM:
            for _, group in groupby(sorted(keys, key=_by_folder), key=os.path.dirname):
                wanted = list(group)
                if len(wanted) < parts.LIST_FROM:
                    continue
                # A symlink may be listed with 0 bytes, and not as one.
                short |= {
                    listed.key: listed.size
                    for listed in self._from_first_to_last(wanted)
                    if 0 < listed.size < parts.PART_MIN and listed.kind != "Symlink"
                }

        def look_up(key: str) -> Source:
            size = short.get(key)
            return self.state_of(doing, key) if size is None else Source(key, size, None)

        return list(read_ahead(look_up, keys, self._client.at_a_time(self._small)))

    def _from_first_to_last(self, keys: Sequence[str]) -> Iterator[Listed]:
        """What a folder's listing has between the first and last of these sorted keys of it; not all of much.

        Every pod of a level may list: what lies between the keys of one, numbers of more digits do, must
        not make the requests of all pods grow faster than the level.
        """
        folder = os.path.dirname(keys[0])
        found = self._objects.list(f"{folder}/" if folder else "", after=keys[0][:-1])
        return takewhile(lambda listed: listed.key <= keys[-1], islice(found, parts.PAGE + 2 * len(keys)))

    def fetch(self, doing: str, source: Source, piece: Range) -> tuple[bytes, ObjectState | None]:
        """A range of a source, its CRC64 checked if the range is all of it.

        Raises:
            ReplacedError: the source is not what it was.
            IntegrityError: what arrived is not what the service has.
        """
        if not piece.size:
            return b"", source.state
        etag = source.state.etag if source.state else None
        data, state = self._objects.get(source.key, piece.start, piece.size, etag)
        if piece.size == source.size and state.known_crc64 not in (None, crc64_of(data)):
            raise IntegrityError(doing, f"{source.key} arrived with another CRC64", "run again")
        return data, state

    def whole(self, doing: str, sources: Sequence[Source]) -> Iterator[bytes]:
        """The bytes of each source, in their order, each fetched by one request."""

        def fetch(source: Source) -> bytes:
            return self.fetch(doing, source, Range(0, 0, source.size))[0]

        return read_ahead(fetch, sources, self._at_a_time(sources))

    def blocks(self, doing: str, sources: Sequence[Source]) -> Iterator[bytes]:
        """The bytes of all sources, in their order, in the pieces that readahead.blocks cuts each into."""

        def fetch(piece: tuple[Source, Range]) -> bytes:
            return self.fetch(doing, *piece)[0]

        pieces = ((source, Range(0, *border)) for source in sources for border in blocks(source.size))
        return read_ahead(fetch, pieces, self._at_a_time(sources))

    def _at_a_time(self, sources: Sequence[Source]) -> int:
        """How many are read at a time: of small ones more, since they wait and move little."""
        if sum(source.size for source in sources) > SMALL * len(sources):
            return self._parallel
        return self._client.at_a_time(self._small)

    def crc64(self, doing: str, sources: Sequence[Source]) -> int:
        """The CRC64 of the sources' bytes, by reading them all."""
        crc64 = 0
        for data in self.blocks(doing, sources):
            crc64 = crc64_of(data, crc64)
        return crc64
