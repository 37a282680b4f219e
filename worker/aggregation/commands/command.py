"""The user's own merge command: one program that makes a target of its inputs, run without a shell.

The command is an argument list, quoted as a shell would quote it. `{inputs}`, an argument of its own, becomes
the inputs' paths; `{inputs-file}`, the path of a file that lists them, `{output}`, `{level}` and `{number}`
are replaced wherever they stand. A command with neither of the first two reads the joined inputs on its
standard input, one without `{output}` writes the target to its standard output. The target appears only if
the command ends with 0 and wrote something.
"""

import os
import re
import shlex
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from errno import ENOENT, ENOTDIR
from typing import NamedTuple

from aggregation.errors import (
    CommandFailedError,
    MissingInputError,
    UnavailableError,
    from_os_error,
    printable,
)
from aggregation.stores.promise import Advance, Storage, Written, describe

from . import child, lists
from .diagnosis import MESSAGES

_LIST = "inputs-file"

_BRACED = re.compile(rf"(\{{+)({_LIST}(?::[^{{}}]+)?|inputs|output|level|number)(\}}+)")

_LISTS = {f"{_LIST}:{style}" if style else _LIST: style for style in lists.STYLES}
"""The names that become the path of a list, and its style."""

_SHOWN = 5
"""Names of side files that a line holds."""

Notice = Callable[[str], None]
"""Called with a line that a person should read though all went well."""


class Command(NamedTuple):
    """A merge command, parsed."""

    arguments: tuple[str, ...]
    allow_empty: bool = False
    """Whether a command that wrote nothing made an empty target, or failed."""
    scratch: str | None = None
    """A folder for its files; None: beside the target on a volume, the system's own elsewhere."""
    notice: Notice | None = None
    """Hears of files that it wrote beside {output}, which are not kept."""
    label: str = ""
    """Begins each line of its messages, where several commands run side by side; empty: they go through as
    they are."""

    @property
    def reads_stdin(self) -> bool:
        """Whether the inputs come on standard input."""
        return "{inputs}" not in self.arguments and not self.lists

    @property
    def lists(self) -> set[str]:
        """The styles of the lists of inputs that it asks for."""
        names = {name for argument in self.arguments for name in _placeholders(argument)}
        return {_style(name) for name in names if name.startswith(_LIST)}

    @property
    def writes_stdout(self) -> bool:
        """Whether the target goes to standard output."""
        return not any("output" in _placeholders(argument) for argument in self.arguments)

    def expanded(self, inputs: Sequence[str], output: str, level: int, number: int) -> list[str]:
        """The arguments with their placeholders replaced; nothing else in them means anything."""
        values = {"inputs": "{inputs}", "output": output, "level": str(level), "number": str(number)}
        values |= {name: lists.path_of(style, output) for name, style in _LISTS.items()}
        expanded: list[str] = []
        for argument in self.arguments:
            if argument == "{inputs}":
                expanded.extend(inputs)
            else:
                # In one pass: a value that looks like a placeholder stays what it is.
                expanded.append(_BRACED.sub(lambda match: _replaced(match, values), argument))
        return expanded


def _replaced(match: re.Match[str], values: Mapping[str, str]) -> str:
    """A name in braces replaced, or its doubled braces halved, as in Python's format strings.

    Braces double only around a name of ours, on both sides: all others are the program's own, in any number.
    """
    before, name, after = match.groups()
    depth = min(len(before), len(after))
    text = values[name] if depth % 2 else name
    inner = f"{'{' * (depth // 2)}{text}{'}' * (depth // 2)}"
    return f"{before[depth:]}{inner}{after[depth:]}"


def _style(name: str) -> str:
    """What stands behind `inputs-file:`; empty without it."""
    return name.removeprefix(_LIST).removeprefix(":")


def _placeholders(argument: str) -> set[str]:
    """The names that stand in an argument to be replaced."""
    return {match[2] for match in _BRACED.finditer(argument) if min(len(match[1]), len(match[3])) % 2}


def parse(text: str) -> tuple[str, ...]:
    """Split a command as a shell would, without running one.

    Raises:
        ValueError: the quotes do not match, there is no program, `{inputs}` is part of an argument, or
            `{inputs-file:...}` names a way to write a list that is not known.
    """
    try:
        arguments = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"its quoting is wrong ({error})") from error
    if not arguments:
        raise ValueError("it names no program")
    for argument in arguments:
        if "inputs" in _placeholders(argument) and argument != "{inputs}":
            raise ValueError(
                f"{{inputs}} must be an argument of its own, not a part of {argument!r}; what the program "
                "itself shall see as {inputs} is written {{inputs}}"
            )
    for style in Command(arguments).lists:
        if style not in lists.STYLES:
            known = " or ".join(f"{{{name}}}" for name in _LISTS)
            raise ValueError(f"{{{_LIST}:{style}}} is no list of inputs: write {known}")
    return arguments


def join(
    storage: Storage,
    command: Command,
    sources: Sequence[str],
    target: str,
    *,
    level: int,
    number: int,
    advance: Advance | None = None,
    checksum: bool = False,
) -> Written:
    """Make `target` of the sources by the command. As atomic as Storage.concatenate; nothing is left behind.

    On a volume the command gets the files themselves, and no descriptor of the target: a mount of an object
    store publishes what is half-written when a descriptor is closed, which spawning a process does. Elsewhere
    the inputs are downloaded to scratch first.

    Raises:
        CommandFailedError: it could not be started, ended with another code than 0, or wrote nothing.
        AggregationError: as Storage.concatenate.
    """
    started = time.perf_counter()
    doing = f"running {printable(command.arguments[0])} on {describe(sources)}"
    with storage.workplace(target, command.scratch) as folder:
        output = os.path.join(folder, os.path.basename(target))
        fetched = f"{output}.inputs"
        inputs = storage.download(sources, fetched)
        path = os.path.abspath(output)  # the command may change its folder
        made = lists.write(doing, command.lists, inputs, path)
        task = child.Task(
            doing,
            command.expanded(inputs, path, level, number),
            inputs,
            path,
            reads_stdin=command.reads_stdin,
            writes_stdout=command.writes_stdout,
            label=command.label,
        )
        try:
            child.run(task, lambda: advance(0) if advance else None)
            _see_what_it_made(doing, command, output)
        except (CommandFailedError, MissingInputError):  # the other one where the inputs go to standard input
            _see_that_the_volume_is_there(doing, [*inputs[:1], os.path.dirname(path)])
            raise
        ours = {os.path.basename(name) for name in (output, fetched, *made)}
        _tell_of_side_files(command, target, folder, ours)
        written = storage.upload(output, target, advance=advance, checksum=checksum)
        return written._replace(seconds=time.perf_counter() - started)


def _see_what_it_made(doing: str, command: Command, output: str) -> None:
    try:
        made = os.lstat(output)
    except FileNotFoundError as error:
        raise _failed(doing, "it ended with 0 and did not write {output}") from error
    except OSError as error:
        raise from_os_error(error, doing, output, writing=True) from error
    if not stat.S_ISREG(made.st_mode):
        raise _failed(doing, "what it left at {output} is not a regular file")
    if not made.st_size and not command.allow_empty:
        raise _failed(doing, "it ended with 0 and wrote nothing", "--allow-empty permits that")


def _see_that_the_volume_is_there(doing: str, paths: Sequence[str]) -> None:
    """Where the mount went away under the command, raise its error: the command is not to blame."""
    gone = 0
    for path in paths:
        try:
            os.stat(path)
        except OSError as error:
            gone += error.errno in (ENOENT, ENOTDIR)
            known = from_os_error(error, doing, path, writing=False)
            if isinstance(known, UnavailableError):
                raise known from error
    if gone == len(paths):  # an input and the command's own folder: no command removes both
        raise UnavailableError(
            doing, f"{printable(paths[0])} is gone", "see that the volume is mounted, then run again"
        )


def _tell_of_side_files(command: Command, target: str, folder: str, expected: set[str]) -> None:
    if command.notice is None or command.writes_stdout:  # it does not know the folder
        return
    names: list[str] = []
    with suppress(OSError):  # the target is made all the same
        names = sorted(printable(name) for name in os.listdir(folder) if name not in expected)
    if names:
        shown = ", ".join(names[:_SHOWN])
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        command.notice(
            f"making {printable(target)}: beside {{output}} the command wrote {shown}{more}; "
            "only {output} is kept"
        )


def _failed(doing: str, why: str, cure: str = MESSAGES) -> CommandFailedError:
    return CommandFailedError(doing, why, cure)
