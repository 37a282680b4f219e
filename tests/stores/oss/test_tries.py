"""The times of one request's tries."""

from aggregation.stores.oss.tries import READ_SECONDS, Tries


def test_the_patience_grows() -> None:
    """What was not answered in time is given twice the time, up to what any answer is given."""
    tries = Tries(8, 0, cleaning=False)
    given = [tries.patience() for _ in range(20)]
    assert given[:2] == [2, 4]
    assert given == sorted(given)
    assert given[-1] == READ_SECONDS


def test_what_cleans_up_is_tried_for_less_long() -> None:
    """A join that failed has been tried for all its time: the line is not to wait as long again."""
    assert Tries(3600, 0, cleaning=True).seconds * 10 < Tries(3600, 0, cleaning=False).seconds
    assert Tries(1, 0, cleaning=True).seconds == 1
