"""Sequences whose items are made when they are asked for: a hundred thousand names as a list take 8 MB."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, overload

Made = TypeVar("Made")


class Lazy(Sequence[Made]):
    """`count` items, each of which `make` makes of its number, every time."""

    def __init__(self, make: Callable[[int], Made], count: int) -> None:
        self._make = make
        self._numbers = range(count)

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Made]:
        return map(self._make, self._numbers)

    @overload
    def __getitem__(self, index: int) -> Made: ...

    @overload
    def __getitem__(self, index: slice) -> list[Made]: ...

    def __getitem__(self, index: int | slice) -> Made | list[Made]:
        if isinstance(index, slice):
            return list(map(self._make, self._numbers[index]))
        return self._make(self._numbers[index])
