"""Immutable bytes held as references: in memory, in files, or as a repeated pattern.

A server-side copy shares its source's bytes, so a multipart upload of 64 GiB made of part copies costs
some extents and no memory.
"""

import hashlib
import tempfile
import weakref
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import anycrc

_CRC64 = anycrc.Model("CRC64-XZ")
PIECE = 1 << 20
_KEEP_IN_MEMORY = (
    64 << 10
)  # bodies up to this size stay in memory even with a directory: one inode each is dearer


def crc64(data: bytes | bytearray | memoryview, start: int = 0) -> int:
    """Return the CRC64 (`CRC64-XZ`, the service's) of bytes that follow others whose CRC64 is `start`."""
    return int(_CRC64.calc(data, start)) if start else int(_CRC64.calc(data))


def crc64_combine(first: int, second: int, second_size: int) -> int:
    """Return the CRC64 of two runs of bytes joined, from theirs and the second's length in bytes."""
    return int(_CRC64.combine(first, second, second_size))


class Source(Protocol):
    """Bytes that never change."""

    def read(self, offset: int, size: int) -> memoryview:
        """Return `size` bytes at `offset`; the caller stays inside the source."""

    def crc(self, offset: int, size: int) -> int:
        """Return the CRC64 of `size` bytes at `offset`."""


class Memory:
    """Bytes in memory."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(data).toreadonly()

    def read(self, offset: int, size: int) -> memoryview:
        """Return a view, without a copy."""
        return self._view[offset : offset + size]

    def crc(self, offset: int, size: int) -> int:
        """Return the CRC64 of the range."""
        return crc64(self._view[offset : offset + size])


class File:
    """Bytes in a file that belongs to this object and is deleted with it.

    The file is opened for each read: a thousand stored objects would otherwise hold a thousand descriptors,
    and 1,024 is a usual limit.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        weakref.finalize(self, path.unlink, missing_ok=True)

    def read(self, offset: int, size: int) -> memoryview:
        """Return the range, read from the file."""
        with self._path.open("rb", buffering=0) as file:
            file.seek(offset)
            data = bytearray(size)
            view = memoryview(data)
            done = 0
            while done < size:
                count = file.readinto(view[done:])
                if not count:
                    raise EOFError(f"{self._path} lost bytes after {offset + done}")
                done += count
        return view.toreadonly()

    def crc(self, offset: int, size: int) -> int:
        """Return the CRC64 of the range, read piece by piece."""
        value = 0
        end = offset + size
        for start in range(offset, end, PIECE):
            value = crc64(self.read(start, min(PIECE, end - start)), value)
        return value


class Pattern:
    """A block of bytes repeated without end: objects of any size at no cost."""

    def __init__(self, block: bytes) -> None:
        if not block:
            raise ValueError("a pattern needs at least one byte")
        # Reads copy whole blocks, so a short one is lengthened once here.
        self._block = block * max(1, PIECE // len(block))

    def read(self, offset: int, size: int) -> memoryview:
        """Return the range, made for this call."""
        first = offset % len(self._block)
        data = self._block * ((first + size - 1) // len(self._block) + 1) if size else b""
        return memoryview(data)[first : first + size]

    def crc(self, offset: int, size: int) -> int:
        """Return the CRC64 of the range in logarithmic time."""
        length = len(self._block)
        first = offset % length
        head = min(size, (length - first) % length)
        value = crc64(self._block[first : first + head])
        repeats, tail = divmod(size - head, length)
        power, power_size = crc64(self._block), length
        while repeats:
            if repeats & 1:
                value = crc64_combine(value, power, power_size)
            power, power_size = crc64_combine(power, power, power_size), power_size * 2
            repeats >>= 1
        return crc64(self._block[:tail], value) if tail else value


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of a source: offset and size in bytes."""

    source: Source
    offset: int
    size: int


class Body:
    """A run of bytes: extents in order.

    Attributes:
        extents: The ranges that it is made of, none empty.
        size: Length in bytes.
    """

    __slots__ = ("_ends", "extents", "size")

    def __init__(self, extents: Iterable[Extent] = ()) -> None:
        self.extents = tuple(extent for extent in extents if extent.size)
        self._ends = list(accumulate(extent.size for extent in self.extents))
        self.size = self._ends[-1] if self._ends else 0

    @classmethod
    def of(cls, data: bytes) -> "Body":
        """Return a body that holds `data` in memory."""
        return cls([Extent(Memory(data), 0, len(data))])

    @classmethod
    def joined(cls, bodies: Iterable["Body"]) -> "Body":
        """Return the bodies one after the other, sharing their bytes."""
        return cls(extent for body in bodies for extent in body.extents)

    def part(self, offset: int, size: int) -> "Body":
        """Return a range, sharing its bytes."""
        return Body(self._ranges(offset, size))

    def pieces(self, offset: int, size: int, piece: int = PIECE) -> Iterator[memoryview]:
        """Yield a range in order, at most `piece` bytes at a time."""
        for extent in self._ranges(offset, size):
            end = extent.offset + extent.size
            for start in range(extent.offset, end, piece):
                yield extent.source.read(start, min(piece, end - start))

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        """Return a range as one bytes object; all of it by default."""
        return b"".join(self.pieces(offset, self.size - offset if size is None else size))

    def crc(self) -> int:
        """Compute the CRC64 of all bytes."""
        value = 0
        for extent in self.extents:
            value = crc64_combine(value, extent.source.crc(extent.offset, extent.size), extent.size)
        return value

    def _ranges(self, offset: int, size: int) -> Iterator[Extent]:
        index = bisect_right(self._ends, offset)
        while size > 0 and index < len(self.extents):
            extent = self.extents[index]
            skip = offset - (self._ends[index] - extent.size)
            take = min(size, extent.size - skip)
            yield Extent(extent.source, extent.offset + skip, take)
            offset += take
            size -= take
            index += 1


class Intake:
    """Takes a body while it arrives: stores it, and computes MD5 and CRC64 on the way.

    The sender reads into `room()` and then calls `took()`, so bytes go from the socket to their place without
    another copy. `finish()` may be called once; a body that is never finished is dropped with this object.
    """

    def __init__(self, directory: Path | None, expected: int | None) -> None:
        """Prepare for `expected` bytes (None: unknown), in a file of `directory` or (None) in memory."""
        self.size = 0
        self.crc = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._extents: list[Extent] = []
        self._block = bytearray(0)
        self._used = 0
        self._expected = expected
        self._file = None
        if directory is not None and (expected is None or expected > _KEEP_IN_MEMORY):
            self._file = tempfile.NamedTemporaryFile(dir=directory, prefix="body-", delete=False, buffering=0)  # noqa: SIM115
            self._source = File(Path(self._file.name))

    def room(self, limit: int) -> memoryview:
        """Return where the next bytes go: at least one and at most `limit` bytes of space."""
        if self._file is not None:
            if not self._block:
                self._block = bytearray(PIECE)
            self._used = 0
        elif self._used == len(self._block):
            self._seal()
            # A known length gets one block: 1 GiB takes 1 GiB. bytearray() is calloc, so an announced
            # length costs memory only as bytes arrive.
            self._block = bytearray(self._expected - self.size if self._expected else PIECE)
        return memoryview(self._block)[self._used : self._used + limit]

    def took(self, count: int) -> None:
        """Account for `count` bytes put at the start of the last `room()`."""
        view = memoryview(self._block)[self._used : self._used + count]
        self._md5.update(view)
        self.crc = crc64(view, self.crc)
        if self._file is not None:
            while view:
                view = view[self._file.write(view) :]
        self._used += count
        self.size += count

    def finish(self) -> Body:
        """Return the body that has arrived."""
        if self._file is not None:
            self._file.close()
            return Body([Extent(self._source, 0, self.size)])
        self._seal()
        return Body(self._extents)

    def close(self) -> None:
        """Close the file, if there is one; the bytes of an unfinished body go with this object."""
        if self._file is not None:
            self._file.close()

    @property
    def md5(self) -> bytes:
        """The MD5 digest of the bytes so far."""
        return self._md5.digest()

    def _seal(self) -> None:
        if self._used:
            self._extents.append(Extent(Memory(self._block), 0, self._used))
        self._block = bytearray(0)
        self._used = 0
