"""What the inputs of a list are: sizes and states, at the cost of a listing a folder, or a look a file."""

import os
from collections.abc import Sequence

from aggregation.stores.promise import Entry, Storage
from aggregation.stores.readahead import read_ahead

_LIST_FROM = 16
"""Inputs of a folder from which on one listing costs less than a look at each."""


def look_up(storage: Storage, names: Sequence[str], parallel: int) -> list[Entry | None]:
    """The entry of each name, None for what is not there; `parallel` looks or listings are under way."""
    folders: dict[str, set[str]] = {}
    for name in names:
        folders.setdefault(os.path.dirname(name), set()).add(name)
    listed = [folder for folder, held in folders.items() if len(held) >= _LIST_FROM]
    found: dict[str, Entry] = {}
    for folder, entries in zip(listed, read_ahead(storage.entries, listed, parallel), strict=True):
        found |= {os.path.join(folder, entry.name): entry for entry in entries}
    single = [name for name in dict.fromkeys(names) if len(folders[os.path.dirname(name)]) < _LIST_FROM]
    looked = zip(single, read_ahead(storage.find, single, parallel), strict=True)
    found |= {name: entry for name, entry in looked if entry is not None}
    return [found.get(name) for name in names]
