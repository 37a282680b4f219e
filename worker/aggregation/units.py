"""Amounts as people read them. Machines get bytes and seconds."""

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")

_NEXT_UNIT = 1023.5
"""What is rounded to 1024 is 1.0 of the next unit."""

_TWO_DIGITS = 9.95
"""What is rounded to 10 has two digits, and needs none after the point."""

_RATED_BYTES = 1 << 20
"""Below this a rate would say how long a file takes to open, not how fast its bytes move."""


def size(count: float) -> str:
    """Bytes in the largest unit that leaves a number of 1 or more: `9 bytes`, `1.2 GiB`, `480 MiB`."""
    unit = 0
    while count >= _NEXT_UNIT and unit < len(_UNITS) - 1:
        count /= 1024
        unit += 1
    if unit == 0:
        return "1 byte" if round(count) == 1 else f"{count:.0f} bytes"
    return f"{count:.{int(count < _TWO_DIGITS)}f} {_UNITS[unit]}"


def rate(count: float, seconds: float) -> str | None:
    """Bytes per second, `480 MiB/s`; None where there are too few bytes, or no time, to tell."""
    return f"{size(count / seconds)}/s" if count >= _RATED_BYTES and seconds > 0 else None


def duration(seconds: float, space: str = "") -> str:
    """`37ms` or `1.2s`, with the space that a sentence has before the unit."""
    return f"{seconds * 1000:.0f}{space}ms" if seconds < 1 else f"{seconds:.1f}{space}s"


def about(seconds: float) -> str:
    """A time that is only foreseen, in two digits or so: `0.4 s`, `12 s`, `2 min`, `1.4 h`."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.{0 if seconds >= _TWO_DIGITS else 1}f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004 - an hour
