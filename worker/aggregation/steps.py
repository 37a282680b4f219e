"""The three steps of the pipeline on any storage: prepare, process, merge."""

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from aggregation.stores.promise import Advance, Storage, Written, describe

from . import tree
from .errors import ConfigurationError, MissingInputError, WrongUsageError, printable
from .layout import Layout
from .progress import ArgoProgress

if TYPE_CHECKING:
    from aggregation.commands.command import Command

_SHOWN_GAPS = 5
_MANY = 10_000
"""Files from which on one listing is worth it to find a mistyped count."""

_LIST_FROM = 16
"""Files from which on one listing is worth it to learn their sizes."""

_CLOCKS_SECONDS = 3600
"""How far the clocks of two nodes may be apart, and a mount's from the server's."""

_LETTERS = frozenset(bytes([code]) for code in range(ord("A"), ord("Z") + 1))


class Done(NamedTuple):
    """What a step did: one summary line."""

    step: str
    source: str
    """In a few words; empty for `prepare`, which reads nothing."""
    target: str
    files: int
    """How many were joined, or made."""
    written: Written


def process(
    storage: Storage,
    layout: Layout,
    number: int,
    level: int,
    *,
    fan_in: int,
    files: int | None = None,
    partial: bool = False,
    advance: Advance | None = None,
    checksum: bool = False,
    command: "Command | None" = None,
) -> Done:
    """Join group `number` of a level into file `number` of the next, by `command` if there is one.

    Atomic, and idempotent as far as the command is. The last group of level 1 looks whether the level holds
    more than `files`, unless `partial` says that the first ones are meant.

    Raises:
        WrongUsageError: the level has no such group.
        MissingInputError: an input is missing, or `files` would leave some out.
        AggregationError: as Storage.concatenate.
    """
    try:
        numbers = tree.group(number, fan_in, files)
    except ValueError as error:
        raise WrongUsageError(
            f"joining group {number} of l{level}", str(error), "check the file number, --files and --fan-in"
        ) from error
    if files is not None and numbers.stop == files and not partial:
        _see_that_no_more_are_there(storage, layout, level, files)
    _see_that_all_are_there(storage, layout, level, numbers)
    sources = layout.files(level, numbers)
    target = layout.file(level + 1, number)
    join = _Join(storage, command, level, number, checksum)
    written = join(sources, target, advance)
    return Done("process", describe(sources), target, len(sources), written)


def merge(
    storage: Storage,
    layout: Layout,
    count: int,
    *,
    level: int | None = None,
    output: str,
    partial: bool = False,
    advance: Advance | None = None,
    checksum: bool = False,
    command: "Command | None" = None,
) -> Done:
    """Join files 0 ... count-1 of the last level into `output`, by `command` if there is one.

    Atomic, and idempotent as far as the command is. To a command this is group 0 of the level. Where `level`
    is 1 it must hold no more than `count` files, unless `partial` says that the first ones are meant.

    Raises:
        MissingInputError: no level, or more than one, can be the last one, or it is out of date.
        AggregationError: as Storage.concatenate.
    """
    if level is None:
        level = last_level(storage, layout, count)
    else:
        if not partial:
            _see_that_no_more_are_there(storage, layout, level, count)
        _see_that_all_are_there(storage, layout, level, range(count))
    sources = layout.files(level, range(count))
    join = _Join(storage, command, level, 0, checksum)
    written = join(sources, output, advance)
    beside = os.path.dirname(output)
    # What killed pods left of a run of its own goes with the run's folder.
    for folder in [beside] if layout.run else [layout.folder(level), beside]:
        storage.sweep(folder)
    return Done("merge", describe(sources), output, count, written)


def prepare(storage: Storage, layout: Layout, count: int, *, advance: Advance | None = None) -> Done:
    """Make `count` files of level 1, each one random capital letter. Idempotent: letters that exist are kept.

    Raises:
        ConfigurationError: a file of level 1 holds something else, which would be lost.
    """
    started = time.perf_counter()
    targets = layout.files(1, range(count))
    present = {entry.name: entry.size for entry in storage.entries(layout.folder(1))}
    for target in targets:
        size = present.get(os.path.basename(target))
        if size is None:
            storage.write(target, _random_letter())
        elif size != 1 or storage.read(target, 1) not in _LETTERS:
            raise ConfigurationError(
                f"preparing {count} letters",
                f"{storage.path(target)} exists and holds something else ({size} bytes), which would be lost",
                "name another --root, or move the file away",
            )
        if advance is not None:
            advance(1)
    written = Written(count, None, "streamed", 0, time.perf_counter() - started)
    return Done("prepare", "", describe(targets), count, written)


def last_level(storage: Storage, layout: Layout, count: int) -> int:
    """The one level that holds exactly files 0 ... count-1 and no file `count`.

    Two look-ups rule most levels out, so that the large ones are not listed.

    Raises:
        MissingInputError: no such level, or several; the message says what each level holds. Or the level is
            older than what it should have been made of.
    """
    own = storage.names(layout.run_folder) if layout.run else []
    levels = layout.levels(storage.names(""), own)
    fitting = [
        level
        for level in levels
        if storage.find(layout.file(level, count)) is None
        and storage.find(layout.file(level, count - 1)) is not None
        and _holds_exactly(storage, layout, level, count)
    ]
    if len(fitting) == 1:
        _see_that_it_is_current(storage, layout, fitting[0], [n for n in levels if 1 <= n < fitting[0]])
        return fitting[0]
    holdings = [
        f"{layout.folder(level)} holds {describe_numbers(numbers(storage, layout, level))}"
        for level in levels
    ]
    wanted = f"files 0 to {count - 1} and no file {count}"
    raise MissingInputError(
        f"looking for the last level under {storage.path('')}",
        f"{'several levels hold' if fitting else 'no level holds'} exactly {wanted}: "
        f"{'; '.join(holdings) or 'there is no level at all'}",
        "name the level with --level, or run the missing process.py steps",
    )


def _holds_exactly(storage: Storage, layout: Layout, level: int, count: int) -> bool:
    names = set(storage.names(layout.folder(level)))
    if len(names) < count:  # before a name is made for each file of a mistyped count
        return False
    wanted = {f"{number}{layout.suffix}" for number in range(count)}
    return wanted <= names and not any(layout.number(name) is not None for name in names - wanted)


def _see_that_it_is_current(storage: Storage, layout: Layout, level: int, below: Sequence[int]) -> None:
    """Let a level that an earlier run left end the search: its first file is made of the first ones below it.

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
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _see_that_no_more_are_there(storage: Storage, layout: Layout, level: int, count: int) -> None:
    """Let a count that is lower than what level 1 holds end before it shortens the result: one look-up.

    Raises:
        MissingInputError: file `count` is there.
    """
    if level != 1 or storage.find(layout.file(level, count)) is None:
        return
    raise too_few(storage, layout, count, numbers(storage, layout, level))


def too_few(storage: Storage, layout: Layout, count: int, held: set[int]) -> MissingInputError:
    """The error of a count that would leave out files of level 1."""
    return MissingInputError(
        f"joining {count} files of {layout.folder(1)} under {storage.path('')}",
        f"it holds {describe_numbers(held)}, more than the {count} that are to be taken",
        "give the right count, or say with --partial that the first ones are meant",
    )


def _see_that_all_are_there(storage: Storage, layout: Layout, level: int, wanted: range) -> None:
    """Let a mistyped count end before a name is made for each file of it."""
    count = wanted.stop - wanted.start  # len() takes no number of a hundred digits
    if count <= _MANY:
        return
    held = numbers(storage, layout, level)
    missing = next((number for number in wanted if number not in held), None)
    if missing is not None:
        raise MissingInputError(
            f"joining {count} files of l{level} under {storage.path('')}",
            f"l{level} holds {describe_numbers(held)}, not {layout.file(level, missing)}",
            "check the numbers, or run the step that makes the file",
        )


class _Join(NamedTuple):
    """How the sources of one group become its target."""

    storage: Storage
    command: "Command | None"
    level: int
    number: int
    checksum: bool

    def __call__(self, sources: Sequence[str], target: str, advance: Advance | None) -> Written:
        """Make the target; in a pod of Argo, with its progress."""
        argo = ArgoProgress.for_this_pod() if advance is None else None
        if argo is not None:
            done = 0

            def advance(count: int) -> None:
                nonlocal done
                if self.command is None:  # whose output may be of any size
                    done += count
                argo.show(done, lambda: _total_size(self.storage, sources))

        if self.command is None:
            return self.storage.concatenate(sources, target, advance=advance, checksum=self.checksum)
        from aggregation.commands.command import join  # noqa: PLC0415 - subprocess and more, for commands only

        return join(
            self.storage,
            self.command,
            sources,
            target,
            level=self.level,
            number=self.number,
            advance=advance,
            checksum=self.checksum,
        )


def _total_size(storage: Storage, names: Sequence[str]) -> int:
    """Bytes of files of one folder, as far as they are there."""
    if len(names) < _LIST_FROM:
        return sum(entry.size for name in names if (entry := storage.find(name)))
    sizes = {entry.name: entry.size for entry in storage.entries(os.path.dirname(names[0]))}
    return sum(sizes.get(os.path.basename(name), 0) for name in names)


def count_files(storage: Storage, layout: Layout, level: int) -> int:
    """How many files a level holds.

    Raises:
        MissingInputError: it holds none, or not all up to the last.
    """
    names = storage.names(layout.folder(level))
    held = {number for name in names if (number := layout.number(name)) is not None}
    if not names:
        storage.names("")  # which tells an absent root from an empty level
    if held and len(held) == max(held) + 1:
        return len(held)
    why = f"it holds {describe_numbers(held)}"
    cure = "write the missing ones, or say with --files how many to take"
    others = sorted(name for name in names if layout.number(name) is None)
    if others:
        kind = "other name" if len(others) == 1 else "other names"
        why += f" and {len(others)} {kind}, such as {printable(others[0])}"
    if not held:
        first = f"0{layout.suffix}, 1{layout.suffix}"
        cure = f"name the inputs {first} and so on, or say with --suffix how their names end"
    if not names:
        cure = "write the missing ones, say with --files how many to take, or let --prepare make some"
    raise MissingInputError(f"counting the files of l{level} under {storage.path('')}", why, cure)


def numbers(storage: Storage, layout: Layout, level: int) -> set[int]:
    """The numbers of the files that a level holds."""
    names = storage.names(layout.folder(level))
    return {number for name in names if (number := layout.number(name)) is not None}


def describe_numbers(held: set[int]) -> str:
    """A set of file numbers in a few words: `32 files (0 to 31)`, `3 files (0 to 4 without 2, 3)`."""
    if not held:
        return "no files"
    last = max(held)
    line = f"{len(held)} {'file' if len(held) == 1 else 'files'}"
    if len(held) == last + 1:
        return f"{line} ({'0' if last == 0 else f'0 to {last}'})"
    gaps: list[str] = []
    number = 0
    while len(gaps) <= _SHOWN_GAPS and number < last:
        if number not in held:
            gaps.append(str(number))
        number += 1
    shown = ", ".join(gaps[:_SHOWN_GAPS]) + (" ..." if len(gaps) > _SHOWN_GAPS else "")
    return f"{line} (0 to {last} without {shown})"


def _random_letter() -> bytes:
    """One capital letter, each as likely as the others."""
    while (value := os.urandom(1)[0]) >= 9 * len(_LETTERS):
        pass
    return bytes([ord("A") + value % len(_LETTERS)])
