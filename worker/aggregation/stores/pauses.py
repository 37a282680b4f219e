"""Pauses between the tries of what fails for a passing reason, on every store."""

import os
import time
from collections.abc import Iterator


def pauses(first: float, longest: float) -> Iterator[float]:
    """Seconds to wait before each further try, without end: doubled each time, up to the longest.

    Each is cut at random, to no less than half: what failed together does not come back together.
    """
    pause = first
    while True:
        yield pause * (1 - os.urandom(1)[0] / 512)
        pause = min(2 * pause, longest)


def pauses_within(seconds: float) -> Iterator[float]:
    """The same from a tenth of a second to five, until `seconds` have passed since the first."""
    end = time.monotonic() + seconds
    for pause in pauses(0.1, 5.0):
        if (left := end - time.monotonic()) <= 0:
            return
        yield min(pause, left)
