"""Sequences whose items are made when they are asked for: a hundred thousand names as a list take 8 MB."""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar, overload

Made = TypeVar("Made")
Item = TypeVar("Item")


class Lazy(Sequence[Made], Generic[Item, Made]):
    """What `make` makes of each of the items, every time anew."""

    def __init__(self, make: Callable[[Item], Made], items: Sequence[Item]) -> None:
        self._make = make
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Made]:
        return map(self._make, self._items)

    @overload
    def __getitem__(self, index: int) -> Made: ...

    @overload
    def __getitem__(self, index: slice) -> list[Made]: ...

    def __getitem__(self, index: int | slice) -> Made | list[Made]:
        if isinstance(index, slice):
            return list(map(self._make, self._items[index]))
        return self._make(self._items[index])
