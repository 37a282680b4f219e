"""How to join objects by a multipart upload: a plan of its parts. Pure arithmetic, in OSS's limits.

A part is a range of one source that the service copies by itself, or a few short ranges that the worker
downloads and uploads together, because a part but the last holds at least 100 KiB. Such a run of short ranges
borrows the lacking bytes from the source that follows, or all of it where the rest would be too short.
What needs more than 10,000 parts is cut into cells of equal size; a cell that is more than a range of one
source is joined into an intermediate object first.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

PART_MIN = 100 * 1024
"""Bytes of every part but the last: OSS's 100 KB, read the safe way."""

PART_MAX = 5 * 1024**3
"""Bytes of any part."""

PARTS_MAX = 10_000
"""Parts of an object: with PART_MAX 48.8 TB in all."""

COPY_SIZE = 1024**3
"""Bytes of a copied part, where that gives few enough parts: what the guides copy in one request."""

UPLOAD_SIZE = 4 * 1024**2
"""Bytes of an uploaded part: it is held in memory, once for each upload that runs at a time."""

PUT_MAX = 8 * 1024**2
"""Bytes of a target that may be held in memory and written by one PUT."""

WORTH = 2 * 1024**2
"""Bytes of traffic that an upload in parts has to save to be worth three requests more than a PUT."""

LIST_FROM = 100
"""Sources from which on one listing is cheaper than a HEAD each."""

PAGE = 1000
"""Names in the answer to a listing: the most that OSS gives."""


class Range(NamedTuple):
    """Bytes `start` to `end` (without it) of source number `source`."""

    source: int
    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


class Copy(NamedTuple):
    """A part that the service copies."""

    range: Range


class Relay(NamedTuple):
    """A part whose bytes pass through the worker: it downloads them and uploads them."""

    ranges: tuple[Range, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(piece.size for piece in self.ranges)


class Join(NamedTuple):
    """An object made of parts; as a part of another, an intermediate one that is copied whole."""

    parts: tuple["Part", ...]


Part = Copy | Relay | Join


def copied_size(part: Part) -> int:
    """Bytes of a part that do not pass through the worker."""
    if isinstance(part, Copy):
        return part.range.size
    if isinstance(part, Relay):
        return 0
    return sum(copied_size(inner) for inner in part.parts)


def strategy(sizes: Sequence[int], copyable: Sequence[int], limit: int = PARTS_MAX) -> Join | None:
    """The plan that is followed; None where fetching all and one PUT are cheaper.

    Raises:
        ValueError: see plan.
    """
    made = plan(sizes, copyable, limit)
    return None if sum(sizes) <= PUT_MAX and copied_size(made) < WORTH else made


def plan(sizes: Sequence[int], copyable: Sequence[int], limit: int = PARTS_MAX) -> Join:
    """The parts that make the sources' bytes, in their order, each byte once.

    `sizes` are the sources' bytes; a source that is not `copyable` (an Appendable object) is uploaded whole.
    `limit` is the most parts that an upload may have.

    Raises:
        ValueError: together they are larger than an object can be.
    """
    total = sum(sizes)
    largest = limit * PART_MAX
    if total > largest:
        raise ValueError(f"{total} bytes are more than the {largest} of the largest object")
    return _join([Range(number, 0, size) for number, size in enumerate(sizes) if size], copyable, limit)


def _join(ranges: Sequence[Range], copyable: Sequence[int], limit: int) -> Join:
    parts = _parts(ranges, copyable, COPY_SIZE)
    if len(parts) > limit:
        parts = _parts(ranges, copyable, PART_MAX)
    if len(parts) > limit:
        parts = _cells(ranges, copyable, limit, len(parts))
    return Join(tuple(parts))


def _parts(ranges: Sequence[Range], copyable: Sequence[int], copy_size: int) -> list[Part]:
    """The ranges as parts, however many; every part but the last has PART_MIN to PART_MAX bytes."""
    parts: list[Part] = []
    gathered: list[Range] = []  # what is to be uploaded next
    held = 0

    def flush() -> None:
        nonlocal held
        parts.append(Relay(tuple(gathered)))
        gathered.clear()
        held = 0

    for piece in ranges:
        rest = piece
        if copyable[piece.source] and piece.size >= PART_MIN:
            if held:
                borrowed = max(0, PART_MIN - held)
                if piece.size - borrowed < PART_MIN:  # the rest would be no part by itself
                    borrowed = piece.size
                if borrowed:
                    gathered.append(Range(piece.source, piece.start, piece.start + borrowed))
                flush()
                rest = Range(piece.source, piece.start + borrowed, piece.end)
            if rest.size >= PART_MIN:
                parts.extend(Copy(cut) for cut in _split(rest, copy_size))
                continue
        while held + rest.size >= UPLOAD_SIZE:
            cut = rest.start + UPLOAD_SIZE - held
            gathered.append(Range(rest.source, rest.start, cut))
            rest = Range(rest.source, cut, rest.end)
            flush()
        if rest.size:
            gathered.append(rest)
            held += rest.size
    if held:
        flush()
    return parts


def _split(piece: Range, size: int) -> list[Range]:
    """A range cut into equal ones of at most `size` bytes; each has more than half of it, or all there is."""
    count = -(-piece.size // size)
    borders = [piece.start + piece.size * number // count for number in range(count + 1)]
    return [Range(piece.source, *pair) for pair in pairwise(borders)]


def _cells(ranges: Sequence[Range], copyable: Sequence[int], limit: int, expected: int) -> list[Part]:
    """The ranges as at most `limit` cells of equal size (the last may be less), each one part.

    Cells of half the limit's parts on average leave most of them one plain join; one that is still too full
    is cut again.
    """
    total = sum(piece.size for piece in ranges)
    count = max(-(-total // PART_MAX), min(limit, -(-2 * expected // limit)), 2)
    size = max(-(-total // count), PART_MIN)
    cells: list[list[Range]] = [[]]
    room = size
    for piece in ranges:
        rest = piece
        while rest.size > room:
            cut = rest.start + room
            cells[-1].append(Range(rest.source, rest.start, cut))
            rest = Range(rest.source, cut, rest.end)
            cells.append([])
            room = size
        cells[-1].append(rest)
        room -= rest.size
    return [_cell(cell, copyable, limit) for cell in cells if any(piece.size for piece in cell)]


def _cell(ranges: Sequence[Range], copyable: Sequence[int], limit: int) -> Part:
    ranges = [piece for piece in ranges if piece.size]
    if len(ranges) == 1 and copyable[ranges[0].source]:
        return Copy(ranges[0])
    join = _join(ranges, copyable, limit)
    return join.parts[0] if len(join.parts) == 1 else join
