"""The order in which people read names: by the numbers in them, 2 before 10."""

import re
from collections.abc import Iterable
from itertools import pairwise

_DIGITS = re.compile(r"([0-9]+)")

Key = list[str | int]


class AmbiguousNamesError(ValueError):
    """Two names stand for the same numbers, so that nothing says which comes first."""


def natural_key(name: str) -> Key:
    """What to compare: folder by folder, text as text and digits as a number, in turn."""
    # No character comes before NUL, which no name has: `a/1` is before `a-b/1`, as folders are listed.
    pieces: Key = list(_DIGITS.split(name.replace("/", "\0")))
    pieces[1::2] = map(int, pieces[1::2])
    return pieces


def in_natural_order(names: Iterable[str]) -> list[str]:
    """The names in order.

    Raises:
        AmbiguousNamesError: two differ by zeros before a number only, as `1` and `01`; it names both.
    """
    keyed = sorted((natural_key(name), name) for name in names)
    for (before, first), (after, second) in pairwise(keyed):
        # `a05b1` and `a5b01`, of the same length, are hexadecimal digits rather than a number written twice.
        if before == after and len(first) != len(second):
            raise AmbiguousNamesError(f"{second} and {first} stand for the same number")
    return [name for _, name in keyed]
