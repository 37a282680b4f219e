"""Reading ahead: in order, within its bound, and nothing that was fetched for nothing is lost."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aggregation.stores.readahead import read_ahead, side_by_side


@pytest.mark.parametrize("taken", [0, 1, 5, 20])
def test_what_is_left_is_discarded(taken: int) -> None:
    """Leaving early, each piece that was fetched was either handed on or discarded, also what comes late."""
    fetched: list[int] = []
    discarded: list[int] = []

    def fetch(piece: int) -> int:
        time.sleep(0.01)
        fetched.append(piece)
        return piece

    coming = read_ahead(fetch, range(100), 4, discarded.append)
    got = [next(coming) for _ in range(taken)]
    coming.close()
    time.sleep(0.1)  # for what is under way
    deadline = time.monotonic() + 10
    while sorted([*got, *discarded]) != sorted(fetched) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert got == list(range(taken))
    assert sorted([*got, *discarded]) == sorted(fetched)
    assert len(fetched) <= taken + 4 + 1


def test_a_failure_discards_the_rest() -> None:
    """The failure is raised in its piece's place; what was fetched behind it is discarded."""
    behind = threading.Event()
    discarded: list[int] = []

    def fetch(piece: int) -> int:
        if piece == 1:
            behind.wait(10)
            raise ValueError(piece)
        if piece == 3:
            behind.set()
        return piece

    coming = read_ahead(fetch, range(4), 4, discarded.append)
    assert next(coming) == 0
    with pytest.raises(ValueError, match="1"):
        next(coming)
    deadline = time.monotonic() + 10
    while sorted(discarded) != [2, 3] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(discarded) == [2, 3]


def test_side_by_side() -> None:
    """Each piece is worked on once; the first failure ends the work and is raised."""
    begun: list[int] = []

    def work(piece: int) -> None:
        begun.append(piece)
        time.sleep(0.001)
        if piece == 2000:
            raise ValueError(piece)

    with ThreadPoolExecutor(4) as pool:
        side_by_side(work, range(1000), 4, pool)
        assert sorted(begun) == list(range(1000))
        with pytest.raises(ValueError, match="2000"):
            side_by_side(work, range(1990, 20_000), 4, pool)
    assert len(begun) < 10_000
