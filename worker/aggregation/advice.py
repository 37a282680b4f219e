"""What to do where level 1 holds other names than numbers: the option or the command that takes them."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from aggregation.stores.promise import Storage

from .errors import AggregationError, MissingInputError, printable
from .layout import ACCOUNT, INPUTS, Layout, account_beside, is_ours
from .wildcards import escape

_NUMBERED = re.compile(r"(0|[1-9][0-9]*)(\.[^/]+)")
_PADDED = re.compile(r"0[0-9]+\.[^/]+")
_LEVEL_1 = "l1"


class Advice(NamedTuple):
    """What is there, to follow "it holds no files", and what to do about it."""

    why: str
    cure: str


def about(layout: Layout, names: Sequence[str], root: Sequence[str]) -> Advice | None:
    """What the names that level 1 holds ask for, or, where it holds none, those of the root.

    None where nothing but files is missing.
    """
    visible = sorted(name for name in names if not name.startswith("."))
    held = sorted(number for name in visible if (number := layout.number(name)) is not None)
    others = [name for name in visible if layout.number(name) is None]
    if others:
        return _other_names(layout, held, others)
    if held and held[0] > 0:
        cure = f"files are numbered from 0 on; these are taken as they are by {_command(_LEVEL_1, visible)}"
        return Advice("", cure)
    if held:
        last = f"--frames 0-{held[-1]}"
        cure = (
            f"write the missing ones, say with --files how many to take, or leave them out: inputs.py {last}"
        )
        return Advice("", f"{cure} --missing skip")
    return _elsewhere(layout, root)


def others(storage: Storage, layout: Layout) -> str:
    """What level 1 holds besides numbers, in a few words that follow those on the numbers."""
    names = [name for name in storage.names(layout.folder(1)) if layout.number(name) is None]
    visible = sorted(name for name in names if not name.startswith("."))
    return f" and {_counted(visible)}" if visible else ""


def explained(storage: Storage, layout: Layout, level: int, error: MissingInputError) -> MissingInputError:
    """The error of a step that found an input missing, with what is there instead. Costs one listing."""
    if level == 1 and layout.listed(level) is None:
        with suppress(AggregationError):  # then the first error has to do
            names = storage.names(layout.folder(1))
            if any(layout.number(name) is None and not name.startswith(".") for name in names):
                found = about(layout, names, ())
                if found is not None:
                    more = f"l1 holds{found.why.removeprefix(' and')}"
                    return MissingInputError(error.doing, f"{error.why}; {more}", found.cure)
    return error


def _other_names(layout: Layout, held: Sequence[int], others: Sequence[str]) -> Advice:
    why = f" and {_counted(others)}"
    numbered = [match for name in others if (match := _NUMBERED.fullmatch(name))]
    suffix, count = Counter(match[2] for match in numbered).most_common(1)[0] if numbered else ("", 0)
    if not held and 2 * count > len(others) and any(m[1] == "0" and m[2] == suffix for m in numbered):
        return Advice(why, f"say with --suffix {shlex.quote(suffix)} how their names end")
    if not held and 2 * count > len(others):
        return Advice(why, f"files are numbered from 0 on; {_taken(others)}")
    if 2 * sum(_PADDED.fullmatch(name) is not None for name in others) > len(others):
        return Advice(why, f"a file's number has no zeros before it (0{layout.suffix}); {_taken(others)}")
    return Advice(why, _taken(others))


def _elsewhere(layout: Layout, root: Sequence[str]) -> Advice | None:
    """What to do where level 1 is empty and the root holds other files than the worker's own."""
    own = {layout.result(), account_beside(layout.result()), INPUTS, ACCOUNT}
    foreign = sorted(name for name in root if name[0] != "." and name not in own and not is_ours(name))
    if not foreign:
        return None
    if "L1" in foreign:
        return Advice("; the root holds L1", "rename it to l1, or name its files: inputs.py --glob 'L1/*'")
    why = f"; the root holds {_counted(foreign)}"
    if len({_suffix(name) for name in foreign} - {""}) == 0:  # folders, most likely
        pattern = shlex.quote(f"{escape(foreign[0])}/*")
        return Advice(
            why, f"the inputs may have any names: inputs.py --glob {pattern}, then --inputs inputs.txt"
        )
    return Advice(why, f"these are taken as they are by {_command('', foreign)}")


def _taken(names: Sequence[str]) -> str:
    return f"these are taken as they are by {_command(_LEVEL_1, names)}"


def _command(folder: str, names: Sequence[str]) -> str:
    """The command that lists these names, or most of them."""
    suffix, count = Counter(map(_suffix, names)).most_common(1)[0]
    if not suffix and count < len(names):
        suffix = next(filter(None, map(_suffix, names)), "")
    pattern = f"{folder}/*{escape(suffix)}" if folder else f"*{escape(suffix)}"
    return f"inputs.py --glob {shlex.quote(pattern)}, then --inputs inputs.txt"


def _suffix(name: str) -> str:
    stem, dot, end = name.rpartition(".")
    return f".{end}" if dot and stem else ""


def _counted(names: Iterable[str]) -> str:
    found = list(names)
    return f"{len(found)} other {'name' if len(found) == 1 else 'names'}, such as {printable(found[0])}"
