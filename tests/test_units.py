"""Amounts as people read them."""

import pytest

from aggregation import units

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (KIB, "1.0 KiB"),
        (9.94 * KIB, "9.9 KiB"),
        (9.96 * KIB, "10 KiB"),
        (480 * MIB, "480 MiB"),
        (MIB - 1, "1.0 MiB"),
        (1.2 * GIB, "1.2 GiB"),
        (GIB - 1, "1.0 GiB"),
        (5 << 40, "5.0 TiB"),
        (3 << 50, "3.0 PiB"),
        (2 << 60, "2048 PiB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    """The unit is the largest that leaves 1 or more, after rounding too."""
    assert units.size(count) == text


@pytest.mark.parametrize(
    ("count", "seconds", "text"),
    [(1.2 * GIB, 2.5, "492 MiB/s"), (MIB, 2, "512 KiB/s"), (MIB - 1, 1, None), (MIB, 0, None)],
)
def test_rates(count: float, seconds: float, text: str | None) -> None:
    """Bytes per second, where there are enough bytes to tell."""
    assert units.rate(count, seconds) == text
