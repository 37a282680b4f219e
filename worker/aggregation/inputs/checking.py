"""Looking at inputs by a program such as `gdalinfo {input}`: what it refuses counts as missing."""

import os
import re
import shlex
import signal
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from tempfile import gettempdir
from typing import NamedTuple

from aggregation.commands import child
from aggregation.crew import Crew
from aggregation.errors import CommandFailedError, printable
from aggregation.stores.promise import Storage

_INPUT = re.compile(r"\{input\}")

_BATCH = 1000
"""Files that are handed to the threads at a time: what waits there is looked at ten times a second."""

_NO_VERDICT = frozenset({126, 127, 128 + signal.SIGKILL, -signal.SIGKILL})
"""Exit codes that are no verdict on the file: a shell could not start the program, or memory ran out."""


def parse(text: str) -> tuple[str, ...]:
    """Split the command as a shell would, without running one.

    Raises:
        ValueError: the quotes do not match, or there is no program, or no `{input}`.
    """
    try:
        arguments = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"its quoting is wrong ({error})") from error
    if not any(_INPUT.search(argument) for argument in arguments[1:]):
        raise ValueError("it needs {input} among its arguments, which becomes the file's path")
    return arguments


class Checker(NamedTuple):
    """Looks at files, several at a time."""

    storage: Storage
    arguments: tuple[str, ...]
    workers: int
    scratch: str | None
    """A folder for copies of what is no file of this machine; None for the system's temporary folder."""
    watch: Callable[[int, int], None]
    """Called a few times a second with how many files are looked at, and how many there are."""

    def refused(self, names: Sequence[str]) -> set[str]:
        """Those of the files that the program refuses, by an exit code other than 0.

        Raises:
            CommandFailedError: it cannot be run.
            AggregationError: a file cannot be fetched.
        """
        found: set[str] = set()
        done = 0
        with Crew(self.workers) as crew:
            for batch in _batches(names):
                futures = [crew.submit(self._is_refused, name, crew.look) for name in batch]
                crew.wait(futures, lambda ended, before=done: self.watch(before + ended, len(names)))  # type: ignore[misc]
                found |= {name for name, future in zip(batch, futures, strict=True) if future.result()}
                done += len(batch)
        return found

    def _is_refused(self, name: str, look: Callable[[], None]) -> bool:
        doing = f"checking {printable(self.storage.path(name))} by {printable(self.arguments[0])}"
        # A place of its own for each: by that name what the program leaves behind is found.
        with self.storage.workplace(name, self.scratch or gettempdir()) as folder:
            place = os.path.join(folder, "input")
            (path,) = self.storage.download([name], place)
            arguments = [_INPUT.sub(lambda _: path, argument) for argument in self.arguments]
            task = child.Task(
                doing,
                arguments,
                [path],
                os.path.join(folder, "output"),
                reads_stdin=False,
                writes_stdout=False,
                label=name,
                is_quiet=True,
            )
            try:
                child.run(task, look)
            except child.BadEndError as error:
                if error.returncode in _NO_VERDICT:
                    raise CommandFailedError(error.doing, error.why, error.cure) from error
                return True
        return False


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(names)
    while batch := list(islice(rest, _BATCH)):
        yield batch
