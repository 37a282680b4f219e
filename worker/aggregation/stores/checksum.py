"""CRC-64/XZ, which is the CRC64 that OSS computes of every object."""

from collections.abc import Iterable
from functools import cache
from typing import Any, TypeAlias

Data: TypeAlias = bytes | bytearray | memoryview


@cache
def _model() -> Any:
    from anycrc import Model  # noqa: PLC0415 - 3 ms of start-up that most merges need not pay

    return Model("CRC64-XZ")


def crc64_of(data: Data, before: int = 0) -> int:
    """The CRC64 of some bytes, or of what has the CRC64 `before` and these bytes after it."""
    return int(_model().calc(data, before))


def combined(checksums: Iterable[tuple[int | None, int]]) -> int | None:
    """The CRC64 of pieces joined, from theirs and their sizes in bytes; None if one is not known."""
    whole = 0
    for crc64, size in checksums:
        if size and crc64 is None:
            return None
        if size:
            whole = int(_model().combine(whole, crc64, size))
    return whole
