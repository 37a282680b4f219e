"""The three steps of the pipeline on any storage: prepare, process, merge."""

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from aggregation.stores.promise import Advance, Storage, Written, describe

from . import levels, tree
from .errors import ConfigurationError, MissingInputError, WrongUsageError, printable
from .layout import Layout
from .progress import ArgoProgress

if TYPE_CHECKING:
    from aggregation.commands.command import Command

_LIST_FROM = 16
"""Files from which on one listing is worth it to learn their sizes."""

_THREADS_FROM = 4
"""Files from which on prepare.py writes by threads."""

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
    missing: int | None = None
    """Inputs that the result lacks, or has something else for; None where no list says what they are."""


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
    if layout.inputs is not None:
        files = files or tree.width(len(layout.inputs), fan_in, level)
        if level == 1:
            levels.see_that_the_list_is_whole(layout, files)
    try:
        numbers = tree.group(number, fan_in, files)
    except ValueError as error:
        raise WrongUsageError(
            f"joining group {number} of l{level}", str(error), "check the file number, --files and --fan-in"
        ) from error
    if layout.inputs is None and files is not None and numbers.stop == files and not partial:
        levels.see_that_no_more_are_there(storage, layout, level, files)
    levels.see_that_all_are_there(storage, layout, level, numbers)
    sources = layout.files(level, numbers)
    target = layout.file(level + 1, number)
    join = _Join(storage, layout, command, level, number, checksum, None if partial else files)
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
        level = levels.last_level(storage, layout, count)
    else:
        if not partial or layout.inputs is not None:
            levels.see_that_no_more_are_there(storage, layout, level, count)
        levels.see_that_all_are_there(storage, layout, level, range(count))
    sources = layout.files(level, range(count))
    if layout.inputs is not None:
        _see_that_it_is_no_input(storage, layout.inputs, output)
    join = _Join(storage, layout, command, level, 0, checksum, None if partial else count)
    written = join(sources, output, advance)
    beside = os.path.dirname(output)
    # What killed pods left of a run of its own goes with the run's folder.
    is_elsewhere = layout.run or layout.listed(level) is not None
    storage.sweep(*[beside] if is_elsewhere else [layout.folder(level), beside])
    return Done("merge", describe(sources), output, count, written)


def prepare(storage: Storage, layout: Layout, count: int, *, parallel: int) -> Done:
    """Make `count` files of level 1, each one random capital letter, `parallel` of them at a time.

    Idempotent: letters that exist are kept.

    Raises:
        ConfigurationError: a file of level 1 holds something else, which would be lost, or level 1 holds
            files that have no number.
    """
    started = time.perf_counter()
    targets = layout.files(1, range(count))
    present = {entry.name: entry.size for entry in storage.entries(layout.folder(1))}
    _see_that_all_are_letters(storage, layout, count, present, parallel)
    missing = [target for target in targets if os.path.basename(target) not in present]
    _side_by_side(lambda target: storage.write(target, _random_letter()), missing, parallel)
    written = Written(count, None, "streamed", 0, time.perf_counter() - started)
    return Done("prepare", "", describe(targets), count, written)


def _see_that_all_are_letters(
    storage: Storage, layout: Layout, count: int, present: dict[str, int], parallel: int
) -> None:
    """Look at all of level 1 before the first letter is written."""
    doing = f"preparing {count} letters"
    others = sorted(name for name in present if layout.number(name) is None and not name.startswith("."))
    if others:
        raise ConfigurationError(
            doing,
            f"{storage.path(layout.folder(1))} holds other files, such as {printable(others[0])}; "
            "letters are not written among them",
            "name another --root, or take these by inputs.py and --inputs",
        )

    def look(name: str) -> None:
        file = f"{layout.folder(1)}/{name}"
        number = layout.number(name) or 0
        if present[name] != 1 or (number < count and storage.read(file, 1) not in _LETTERS):
            raise ConfigurationError(
                doing,
                f"{storage.path(file)} exists and holds something else ({present[name]} bytes), "
                "which would be lost",
                "name another --root, or move the file away",
            )

    _side_by_side(look, [name for name in present if layout.number(name) is not None], parallel)


def _side_by_side(step: Callable[[str], object], names: Sequence[str], parallel: int) -> None:
    """Do a step for each name; by threads where there are enough to be worth loading them."""
    if min(parallel, len(names)) < _THREADS_FROM:
        for name in names:
            step(name)
        return
    from .crew import Crew  # noqa: PLC0415 - 6 ms of start-up that other steps need not pay

    with Crew(min(parallel, len(names))) as crew:
        crew.each(step, names)


def _see_that_it_is_no_input(storage: Storage, inputs: Sequence[str], output: str) -> None:
    """Refuse a result that would replace one of its inputs: each later run would read it as that."""
    if output in inputs or storage.path(output) in inputs:
        raise WrongUsageError(
            f"joining the list's inputs into {storage.path(output)}",
            "it is one of them",
            "name another --output, or leave it out of the list",
        )


class _Join(NamedTuple):
    """How the sources of one group become its target."""

    storage: Storage
    layout: Layout
    command: "Command | None"
    level: int
    number: int
    checksum: bool
    files: int | None
    """Files of the level, where they are known to be all."""

    @property
    def _held(self) -> int | None:
        """Files of the folder of the sources, where they have one and that is known."""
        return self.files if self.layout.listed(self.level) is None else None

    def __call__(self, sources: Sequence[str], target: str, advance: Advance | None) -> Written:
        """Make the target. An input that is missing is told with what is there instead."""
        if self._held is not None:
            self.storage.foresee(sources, self._held)
        try:
            return self._made(sources, target, advance)
        except MissingInputError as error:
            from . import advice  # noqa: PLC0415 - start-up that only an error need pay

            raise advice.explained(self.storage, self.layout, self.level, error) from error

    def _made(self, sources: Sequence[str], target: str, advance: Advance | None) -> Written:
        """In a pod of Argo, with its progress."""
        argo = ArgoProgress.for_this_pod() if advance is None else None
        if argo is not None:
            done = 0

            def advance(count: int) -> None:
                nonlocal done
                if self.command is None:  # whose output may be of any size
                    done += count
                argo.show(done, lambda: _total_size(self.storage, sources, self._held))

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


def _total_size(storage: Storage, names: Sequence[str], held: int | None) -> int:
    """Bytes of files, as far as they are there; estimated by some where only a listing of many more tells it.

    Every pod of a level asks this: a look at all files of the level would be one at their square.
    """
    if held is not None and len(names) >= _LIST_FROM and held <= 2 * len(names):
        sizes = {entry.name: entry.size for entry in storage.entries(os.path.dirname(names[0]))}
        return sum(sizes.get(os.path.basename(name), 0) for name in names)
    looked_at = names[:: -(-len(names) // _LIST_FROM)]
    total = sum(entry.size for name in looked_at if (entry := storage.find(name)))
    return total * len(names) // len(looked_at)


def _random_letter() -> bytes:
    """One capital letter, each as likely as the others."""
    while (value := os.urandom(1)[0]) >= 9 * len(_LETTERS):
        pass
    return bytes([ord("A") + value % len(_LETTERS)])
