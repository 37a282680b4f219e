"""Sources: their sizes and states, and their bytes, compared with the CRC64 that the service has."""

import os
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, islice, takewhile
from typing import NamedTuple

from aggregation.errors import IntegrityError, MissingInputError
from aggregation.lazy import Lazy
from aggregation.stores.checksum import combined, crc64_of
from aggregation.stores.promise import Advance
from aggregation.stores.readahead import blocks, read_ahead, side_by_side

from . import parts
from .client import OssClient
from .listing import Listed
from .objects import Objects
from .parts import Range

SMALL = 64 * 1024
"""Bytes that are on their way for less time than their request waits for its answer."""


class Source(NamedTuple):
    """An input."""

    key: str
    size: int
    """Bytes."""
    etag: str | None = None
    """Of the state of it that is meant; None where it has not been asked for."""
    crc64: int | None = None
    """Where it is known."""
    copyable: bool = True
    """Whether the service copies ranges of it."""


class Sources(Lazy[int, Source]):
    """The inputs of a join, in a few bytes each: there may be a hundred thousand.

    Of those whose size has not been found it is 0. Safe to use from several threads at once.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__(self._source, range(len(keys)))
        self.keys = keys
        self.sizes = array("q", bytes(8 * len(keys)))
        self.copyable = bytearray(b"\1") * len(keys)
        self._etags: list[str | None] = [None] * len(keys)
        self._crc64s = array("Q", self.sizes.tobytes())
        self._has_crc64 = bytearray(len(keys))

    def _source(self, number: int) -> Source:
        crc64 = self._crc64s[number] if self._has_crc64[number] else None
        copyable = bool(self.copyable[number])
        return Source(self.keys[number], self.sizes[number], self._etags[number], crc64, copyable)

    def __setitem__(self, number: int, source: Source) -> None:
        self.sizes[number] = source.size
        self.copyable[number] = source.copyable
        self._etags[number] = source.etag
        self.note_crc64(number, source.crc64)

    def note_crc64(self, number: int, crc64: int | None) -> None:
        """Learn the CRC64 of an input."""
        self._crc64s[number] = crc64 or 0
        self._has_crc64[number] = crc64 is not None


def known_crc64(sources: Iterable[Source]) -> int | None:
    """The CRC64 of sources joined, where that of each is known."""
    return combined((source.crc64, source.size) for source in sources)


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
        return Source(key, state.size, state.etag, state.known_crc64, state.copyable)

    def look_up(self, doing: str, keys: Sequence[str], *, by_listing: bool) -> Sources:
        """The sources' sizes and states: by a HEAD each.

        With `by_listing`, of many by one listing where they are short: these have no state then.
        """
        found = Sources(keys)
        if by_listing and len(keys) >= parts.LIST_FROM:
            folders: dict[str, array[int]] = {}
            for number, key in enumerate(keys):
                folders.setdefault(os.path.dirname(key), array("q")).append(number)
            for folder, numbers in folders.items():
                if len(numbers) >= parts.LIST_FROM:
                    self._find_short(found, folder, sorted(numbers, key=keys.__getitem__))

        def look_up(number: int) -> tuple[int, Source]:
            return number, self.state_of(doing, keys[number])

        others = (number for number, size in enumerate(found.sizes) if not size)
        for number, source in read_ahead(look_up, others, self._client.at_a_time(self._small)):
            found[number] = source
        return found

    def _find_short(self, sources: Sources, folder: str, numbers: Sequence[int]) -> None:
        """Note the sizes of those of a folder's sources, given in the order of their keys, that are short."""
        keys = sources.keys
        place = 0
        for listed in self._from_first_to_last(folder, keys[numbers[0]], keys[numbers[-1]], len(numbers)):
            # A symlink may be listed with 0 bytes, and not as one.
            is_short = 0 < listed.size < parts.PART_MIN and listed.kind != "Symlink"
            while place < len(numbers) and (key := keys[numbers[place]]) <= listed.key:
                if is_short and key == listed.key:
                    sources.sizes[numbers[place]] = listed.size
                place += 1

    def _from_first_to_last(self, folder: str, first: str, last: str, count: int) -> Iterator[Listed]:
        """What a folder's listing has between the first and last of `count` keys of it; not all of much.

        Every pod of a level may list: what lies between the keys of one, numbers of more digits do, must
        not make the requests of all pods grow faster than the level.
        """
        found = self._objects.list(f"{folder}/" if folder else "", after=first[:-1])
        return takewhile(lambda listed: listed.key <= last, islice(found, parts.PAGE + 2 * count))

    def fetch(self, doing: str, source: Source, piece: Range) -> tuple[bytes, int | None]:
        """A range of a source, and the source's CRC64 where it is known, checked if the range is all of it.

        Raises:
            ReplacedError: the source is not what it was.
            IntegrityError: what arrived is not what the service has.
        """
        if not piece.size:
            return b"", source.crc64
        data, state = self._objects.get(source.key, piece.start, piece.size, source.etag)
        crc64 = state.known_crc64
        if piece.size == source.size and crc64 not in (None, crc64_of(data)):
            raise IntegrityError(doing, f"{source.key} arrived with another CRC64", "run again")
        return data, crc64

    def whole(self, doing: str, sources: Sources, advance: Advance | None) -> bytearray:
        """The bytes of all sources, in their order, each fetched by one request."""
        data = bytearray(sum(sources.sizes))
        lock = threading.Lock()

        def fetch(place: tuple[int, Source]) -> None:
            end, source = place
            data[end - source.size : end] = self.fetch(doing, source, Range(0, 0, source.size))[0]
            if advance is not None and source.size:
                with lock:
                    advance(source.size)

        parallel = min(len(sources), self._at_a_time(sources))
        pool = ThreadPoolExecutor(parallel, thread_name_prefix="fetch")
        try:
            side_by_side(fetch, zip(accumulate(sources.sizes), sources, strict=True), parallel, pool)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return data

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
