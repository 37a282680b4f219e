"""The list of inputs that a run works by: read from its file, or just made and not yet written."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, Self

from aggregation.errors import MissingInputError, printable
from aggregation.layout import INPUTS, Layout
from aggregation.stores.promise import Entry, Storage

from . import input_list
from .input_list import InputList

if TYPE_CHECKING:
    from .planning import Plan

_LOOKS = 16
"""Looks at inputs, or listings of their folders, that are under way at a time."""


class GivenInputs(NamedTuple):
    """A list, and where it is."""

    inputs: InputList
    path: str
    plan: "Plan | None" = None
    """Where it is still to be written."""

    @classmethod
    def read(cls, storage: Storage, layout: Layout, name: str) -> Self:
        """The list with this name. Raises as input_list.read."""
        return cls(input_list.read(storage, layout, name), input_list.path_of(layout, name))

    def placed(self, storage: Storage, layout: Layout) -> Self:
        """The same with its file in the run's folder, where it was made and not written before."""
        if self.plan is None:
            return self
        from . import planning  # noqa: PLC0415 - for a list that is made only

        path = input_list.path_of(layout, INPUTS)
        planning.write(storage, path, self.plan)
        return self._replace(path=path, plan=None)

    def entries(self, storage: Storage) -> list[Entry]:
        """What the inputs are, in their order.

        Raises:
            MissingInputError: one is not there.
        """
        from .looking import look_up  # noqa: PLC0415 - for pipeline.py only

        entries: list[Entry] = []
        for name, entry in zip(self.inputs.names, look_up(storage, self.inputs.names, _LOOKS), strict=True):
            if entry is None:
                why = f"{printable(storage.path(name))} is in the list of inputs, and is not there"
                raise MissingInputError("looking at the inputs", why, "write it, or make the list again")
            entries.append(entry)
        return entries

    def accounted(self, storage: Storage, output: str) -> AbstractContextManager[None]:
        """The account of the list's gaps beside the result that the block makes. See account.kept."""
        from . import account  # noqa: PLC0415 - for the final merge only

        return account.kept(storage, self.path, self.inputs, output)
