"""CRC-64/XZ, which is the CRC64 that OSS computes of every object."""

from collections.abc import Callable


def crc64_function() -> Callable[[bytes | memoryview, int], int]:
    """The function that goes on with a CRC-64/XZ, which is OSS's: the data, and the CRC64 before it (0)."""
    from anycrc import Model  # noqa: PLC0415 - 3 ms of start-up that most merges need not pay

    calculate: Callable[[bytes | memoryview, int], int] = Model("CRC64-XZ").calc
    return calculate
