"""Removing a run's folder when its result is there, so that a kill in the middle costs nothing.

A mark beside the folder says that the result is there. It is written before the first file goes and removed
after the last: whoever cleans next finishes what was begun, and a merge that finds its inputs gone knows why.
"""

import time

from aggregation.stores.promise import Storage, Written

from .layout import RUNS, Layout, run_of_mark
from .steps import Done


def clean(storage: Storage, layout: Layout, note: bytes = b"") -> None:
    """Remove the run's folder, and those of other runs whose removal was begun. Idempotent.

    `note` is kept in the mark, for whoever finds it.

    Raises:
        AggregationError: something cannot be removed; the mark stays, so that the next one tries again.
    """
    storage.write(layout.merged_mark, note)
    storage.remove_tree(layout.run_folder)
    try:
        for other in marked(storage, layout):
            if other.run != layout.run and not _was_begun_anew(storage, other):
                storage.remove_tree(other.run_folder)
                storage.remove([other.merged_mark])
    finally:
        # The last of all: the next try after a kill learns from the mark that all was done.
        storage.remove([layout.merged_mark])


def marked(storage: Storage, layout: Layout) -> list[Layout]:
    """The runs whose removal was begun. Costs one listing."""
    return [layout._replace(run=run) for name in storage.names(RUNS) if (run := run_of_mark(name))]


def merged_before(storage: Storage, layout: Layout, output: str) -> Done | None:
    """What a merge of this run did whose cleaning was interrupted; None if it was not."""
    started = time.perf_counter()
    if storage.find(layout.merged_mark) is None or _was_begun_anew(storage, layout):
        return None
    result = storage.find(output)
    if result is None:
        return None
    written = Written(result.size, None, "streamed", 0, time.perf_counter() - started)
    return Done("merge", "merged before", output, 0, written)


def _was_begun_anew(storage: Storage, layout: Layout) -> bool:
    """Whether a run of the same name wrote to the folder after its removal had begun."""
    mark = storage.find(layout.merged_mark)
    if mark is None:
        return False
    levels = layout.levels((), storage.names(layout.run_folder))
    written = [entry for level in levels for entry in storage.entries(layout.folder(level))]
    journal = storage.find(layout.journal)
    return any(entry.modified > mark.modified for entry in [*written, *([journal] if journal else [])])
