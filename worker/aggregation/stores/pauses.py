"""Pauses between the tries of what fails for a passing reason, on every store."""

import os
from collections.abc import Iterator


def pauses(first: float, longest: float) -> Iterator[float]:
    """Seconds to wait before each further try, without end: doubled each time, up to the longest.

    Each is cut at random, to no less than half: what failed together does not come back together.
    """
    pause = first
    while True:
        yield pause * (1 - os.urandom(1)[0] / 512)
        pause = min(2 * pause, longest)
