"""What a level holds: its count, its gaps, and whether it is the one that is to be merged."""

import time
from collections.abc import Sequence
from itertools import islice

from aggregation.stores.promise import Entry, Storage

from .errors import MissingInputError
from .layout import Layout

_SHOWN_GAPS = 5
MANY = 10_000
"""Files from which on one listing is worth it to find a mistyped count."""

_LAST_SECONDS = 253_402_300_799
"""The end of the year 9999: a mount may say any time, and beyond some the clock's functions fail."""

_CLOCKS_SECONDS = 3600
"""How far the clocks of two nodes may be apart, and a mount's from the server's."""


def last_level(storage: Storage, layout: Layout, count: int) -> int:
    """The one level that holds exactly files 0 ... count-1 and no file `count`.

    Raises:
        MissingInputError: no such level, or several; the message says what each level holds. Or the level is
            older than what it should have been made of.
    """
    own = storage.names(layout.run_folder) if layout.run else []
    levels = layout.levels(storage.names(""), own)
    if layout.inputs is not None:
        levels = sorted({1, *levels})
    fitting = [level for level in levels if _holds_exactly(storage, layout, level, count)]
    if len(fitting) == 1:
        _see_that_it_is_current(storage, layout, fitting[0], [n for n in levels if 1 <= n < fitting[0]])
        return fitting[0]
    holdings = [_holding(storage, layout, level) for level in levels]
    wanted = f"files 0 to {count - 1} and no file {count}"
    raise MissingInputError(
        f"looking for the last level under {storage.path('')}",
        f"{'several levels hold' if fitting else 'no level holds'} exactly {wanted}: "
        f"{'; '.join(holdings) or 'there is no level at all'}",
        "name the level with --level, or run the missing process.py steps",
    )


def _holding(storage: Storage, layout: Layout, level: int) -> str:
    if (listed := layout.listed(level)) is not None:
        return f"the list of inputs holds {len(listed)}"
    line = f"{layout.folder(level)} holds {describe_numbers(numbers(storage, layout, level))}"
    if level != 1:
        return line
    from . import advice  # noqa: PLC0415 - start-up that only an error need pay

    return line + advice.others(storage, layout)


def _holds_exactly(storage: Storage, layout: Layout, level: int, count: int) -> bool:
    """Two look-ups rule most levels out, so that the large ones are not listed."""
    if (listed := layout.listed(level)) is not None:
        return len(listed) == count
    if storage.find(layout.file(level, count)) or not storage.find(layout.file(level, count - 1)):
        return False
    names = set(storage.names(layout.folder(level)))
    if len(names) < count:  # before a name is made for each file of a mistyped count
        return False
    others = len(names) - count
    names.difference_update([f"{number}{layout.suffix}" for number in range(count)])
    return len(names) == others and not any(layout.number(name) is not None for name in names)


def _see_that_it_is_current(storage: Storage, layout: Layout, level: int, below: Sequence[int]) -> None:
    """Refuse a level that an earlier run left: its first file is older than those that it is made of.

    Raises:
        MissingInputError: a level below is newer by more than an hour; clocks of nodes differ by less.
    """
    if not below:
        return
    found = storage.find(layout.file(level, 0))
    for lower in reversed(below):
        source = storage.find(layout.file(lower, 0))
        if not (found and source and found.modified and source.modified):
            continue
        if source.modified - found.modified > _CLOCKS_SECONDS:
            raise MissingInputError(
                f"looking for the last level under {storage.path('')}",
                f"{layout.file(level, 0)} was written at {_utc(found.modified)}, before what it is made of, "
                f"{layout.file(lower, 0)} at {_utc(source.modified)}: an earlier run left it",
                f"run the process.py steps, or name the level: --level {level} takes it as it is",
            )


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(max(0, min(seconds, _LAST_SECONDS))))


def see_that_no_more_are_there(storage: Storage, layout: Layout, level: int, count: int) -> None:
    """Refuse a count lower than what level 1 holds, which would leave files out. Costs one look-up.

    Raises:
        MissingInputError: file `count` is there.
    """
    if level != 1:
        return
    if layout.inputs is not None:
        see_that_the_list_is_whole(layout, count)
        return
    if storage.find(layout.file(level, count)) is not None:
        raise too_few(storage, layout, count, numbers(storage, layout, level))


def see_that_the_list_is_whole(layout: Layout, count: int) -> None:
    """Refuse a list of inputs that was cut short, or the count of another list, before anything is read.

    Raises:
        MissingInputError: the list holds another number of inputs.
    """
    if layout.inputs is not None and len(layout.inputs) != count:
        raise MissingInputError(
            f"joining {count} inputs",
            f"the list of inputs holds {len(layout.inputs)}",
            "give the count that inputs.py printed, or make the list again",
        )


def too_few(storage: Storage, layout: Layout, count: int, held: set[int]) -> MissingInputError:
    """The error of a count that would leave out files of level 1."""
    return MissingInputError(
        f"joining {count} files of {layout.folder(1)} under {storage.path('')}",
        f"it holds {describe_numbers(held)}, more than the {count} that are to be taken",
        "give the right count, or say with --partial that the first ones are meant",
    )


def see_that_all_are_there(storage: Storage, layout: Layout, level: int, wanted: range) -> None:
    """Refuse a mistyped count before a name is made for each of its files."""
    count = wanted.stop - wanted.start  # len() takes no number of a hundred digits
    if count <= MANY or layout.listed(level) is not None:
        return
    held = numbers(storage, layout, level)
    missing = next((number for number in wanted if number not in held), None)
    if missing is not None:
        raise MissingInputError(
            f"joining {count} files of l{level} under {storage.path('')}",
            f"l{level} holds {describe_numbers(held)}, not {layout.file(level, missing)}",
            "check the numbers, or run the step that makes the file",
        )


def count_files(storage: Storage, layout: Layout, level: int) -> int:
    """How many files a level holds.

    Raises:
        MissingInputError: it holds none, or not all up to the last.
    """
    if (listed := layout.listed(level)) is not None:
        return len(listed)
    names = storage.names(layout.folder(level))
    held = _numbers_in(layout, names)
    if held and len(held) == max(held) + 1:
        return len(held)
    why = f"it holds {describe_numbers(held)}"
    cure = "write the missing ones, or say with --files how many to take"
    root = [] if names else storage.names("")  # which also tells an absent root from an empty level
    from . import advice  # noqa: PLC0415 - start-up that only an error need pay

    found = advice.about(layout, names, root) if level == 1 else None
    if found is not None:
        why, cure = f"{why}{found.why}", found.cure
    elif not names:
        cure = "write the missing ones, say with --files how many to take, or let --prepare make some"
    raise MissingInputError(f"counting the files of l{level} under {storage.path('')}", why, cure)


def inputs(storage: Storage, layout: Layout, count: int, *, partial: bool) -> dict[int, Entry]:
    """What files 0 ... count-1 of level 1 are. Costs one listing.

    Raises:
        MissingInputError: one is not there, or there are more, unless `partial` says that these are meant.
    """
    found = entries(storage, layout, 1)
    if not found:
        count_files(storage, layout, 1)  # which says what is there instead
    lacking = next((number for number in range(count) if number not in found), None)
    if lacking is not None:
        raise MissingInputError(
            f"reducing {count} files under {storage.path('')}",
            f"l1 holds {describe_numbers(set(found))}, {layout.file(1, lacking)} not",
            "write it, or set --files",
        )
    if not partial and len(found) > count:
        raise too_few(storage, layout, count, set(found))
    return {number: found[number] for number in range(count)}


def entries(storage: Storage, layout: Layout, level: int) -> dict[int, Entry]:
    """What a level's files are, by their numbers."""
    found = storage.entries(layout.folder(level))
    return {number: entry for entry in found if (number := layout.number(entry.name)) is not None}


def numbers(storage: Storage, layout: Layout, level: int) -> set[int]:
    """The numbers of the files that a level holds."""
    return _numbers_in(layout, storage.names(layout.folder(level)))


def _numbers_in(layout: Layout, names: Sequence[str]) -> set[int]:
    return {number for name in names if (number := layout.number(name)) is not None}


def describe_numbers(held: set[int]) -> str:
    """A set of file numbers in a few words: `32 files (0 to 31)`, `3 files (0 to 4 without 2, 3)`."""
    if not held:
        return "no files"
    last = max(held)
    line = f"{len(held)} {'file' if len(held) == 1 else 'files'}"
    if len(held) == last + 1:
        return f"{line} ({'0' if last == 0 else f'0 to {last}'})"
    gaps = list(islice((str(number) for number in range(last) if number not in held), _SHOWN_GAPS + 1))
    shown = ", ".join(gaps[:_SHOWN_GAPS]) + (" ..." if len(gaps) > _SHOWN_GAPS else "")
    return f"{line} (0 to {last} without {shown})"
