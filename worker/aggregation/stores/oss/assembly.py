"""One join by multipart upload: parts that the service copies, and parts that pass through the worker."""

from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import accumulate, takewhile
from mmap import mmap
from typing import Self

from aggregation.stores.promise import Advance
from aggregation.stores.readahead import side_by_side

from .bucket import UPLOADS_AT_ONCE, Bucket
from .interference import ReplacedError
from .multipart import MadePart, Multipart
from .parts import Copy, Join, Part, Range, Relay
from .sources import Source, Sources, known_crc64

_SMALL_PARTS = 8 * 1024**2
"""Bytes that the service copies in less time than the request for it waits."""


class Assembly:
    """One join by multipart upload: of its target, and of the intermediate objects that it needs.

    Leaving the block drops the intermediate objects.
    """

    def __init__(self, bucket: Bucket, doing: str, sources: Sources, advance: Advance | None) -> None:
        self._bucket = bucket
        self._doing = doing
        self._sources = sources
        self._advance = advance
        self._intermediates: list[str] = []
        self._is_over = False
        small = sum(sources.sizes) <= _SMALL_PARTS * len(sources)
        self._parallel = parallel = bucket.settings.share_small if small else bucket.settings.share
        # A part that waits for its fetches must not keep them from running, nor the copies.
        self._copies = ThreadPoolExecutor(parallel, thread_name_prefix="copy")
        self._relays = ThreadPoolExecutor(UPLOADS_AT_ONCE, thread_name_prefix="relay")
        self._fetches = ThreadPoolExecutor(parallel, thread_name_prefix="fetch")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A request under way is not waited for: without its upload it ends by itself.
        self._is_over = True
        for pool in (self._copies, self._relays, self._fetches):
            pool.shutdown(wait=False, cancel_futures=True)
        for key in self._intermediates:
            self._bucket.unfinished.drop(key)

    def make(self, key: str, join: Join) -> tuple[int | None, bool]:
        """Make the object. Returns its CRC64, as far as known, and whether it was compared."""
        found = self._assemble(key, join, known_crc64(self._sources))
        expected = known_crc64(self._sources)
        if expected is None:
            return found, False
        if found is None:
            state = self._bucket.objects.head(key)
            found = state.crc64 if state else None
        self._bucket.objects.see_published(self._doing, key, expected, found)
        return expected, found is not None

    def _assemble(self, key: str, join: Join, crc64: int | None, *, whole: bool = True) -> int | None:
        """Make one object. Returns the CRC64 that the service says it has, if it does."""
        inner = {
            number: self._intermediate(key, part)
            for number, part in enumerate(join.parts, start=1)
            if isinstance(part, Join)
        }
        with Multipart(self._bucket, self._doing, key, crc64) as multipart:
            made = self._make_parts(multipart, join, inner, whole=whole)
            found = multipart.crc64_of(made)
            if whole:
                # All sources have been seen by now, and nothing is published yet.
                multipart.compare(known_crc64(self._sources), found)
            reported = multipart.complete(made, crc64)
        return found if found is not None else reported

    def _intermediate(self, key: str, join: Join) -> Source:
        made = self._bucket.unfinished.intermediate(key)
        self._intermediates.append(made)
        self._assemble(made, join, None, whole=False)
        return self._bucket.reader.state_of(self._doing, made)

    def _make_parts(
        self, multipart: Multipart, join: Join, inner: dict[int, Source], *, whole: bool
    ) -> list[MadePart]:
        def make(number: int, part: Part) -> MadePart:
            if isinstance(part, Relay):
                return self._relay(multipart, number, part)
            if isinstance(part, Copy):
                source = self._with_state(part.range.source)
                return multipart.copy(number, source, part.range.start, part.range.end)
            return multipart.copy(number, inner[number], 0, inner[number].size)

        futures = [
            (self._relays if isinstance(part, Relay) else self._copies).submit(make, number, part)
            for number, part in enumerate(join.parts, start=1)
        ]
        for future in as_completed(futures):
            made = future.result()
            if self._advance is not None and whole:
                self._advance(made.size)
        return [future.result() for future in futures]

    def _relay(self, multipart: Multipart, number: int, part: Relay) -> MadePart:
        # Memory of its own, which goes back to the system: else each thread's heap keeps a part's.
        with self._bucket.relaying:
            data = memoryview(mmap(-1, part.size))
            ends = accumulate(piece.size for piece in part.ranges)

            def fetch(place: tuple[int, Range]) -> None:
                end, piece = place
                data[end - piece.size : end] = self._fetch(piece)

            pieces = takewhile(lambda _: not self._is_over, zip(ends, part.ranges, strict=True))
            side_by_side(fetch, pieces, min(self._parallel, len(part.ranges)), self._fetches)
            return multipart.send(number, data)

    def _fetch(self, piece: Range) -> bytes:
        source = self._sources[piece.source]
        if piece.size != source.size:
            source = self._with_state(piece.source)  # ranges of one object must be of one state of it
        data, crc64 = self._bucket.reader.fetch(self._doing, source, Range(0, piece.start, piece.end))
        if source.etag is None:
            self._sources.note_crc64(piece.source, crc64)
        return data

    def _with_state(self, number: int) -> Source:
        source = self._sources[number]
        if source.etag is None:
            source = self._bucket.reader.state_of(self._doing, source.key)
            if source.size != self._sources[number].size:
                raise ReplacedError(source.key)
            self._sources[number] = source
        return source
