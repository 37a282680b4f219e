"""The whole tree on this machine: prepare, reduce, merge; and taking up a run that was killed."""

import json
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, NamedTuple

from . import steps, stopping, tree
from .errors import MissingInputError, WrongUsageError
from .layout import JOURNAL, Layout
from .storage import Entry, Storage, Written

if TYPE_CHECKING:
    from .command import Command

_POLL_SECONDS = 0.1
"""How often the watcher hears of progress."""

Watch = Callable[[int, int], None]
"""Called with bytes done and bytes to do, from the calling thread, a few times a second."""


class Shape(NamedTuple):
    """What a tree looks like."""

    files: int
    """Files of level 1."""
    fan_in: int
    levels: int
    """Reductions before the final merge."""

    def widths(self) -> list[int]:
        """Files of each level, level 1 first."""
        return tree.widths(self.files, self.fan_in, self.levels)


class Step(NamedTuple):
    """One command of the pipeline, as a pod would run it."""

    command: str
    seconds: float
    kept: bool = False
    """An earlier run had done it."""


class Stage(NamedTuple):
    """Steps that run side by side."""

    name: str
    steps: list[Step]
    seconds: float


class Run:
    """One run of a tree under a storage's root.

    A journal under the root holds the shape until the run is done. Whatever is newer than the journal, and
    than the level-1 files, was written by this run, and whole, because a target appears whole or not at all:
    that is what `resume` keeps. The stages that are done are in `stages`.
    """

    def __init__(
        self,
        storage: Storage,
        layout: Layout,
        shape: Shape,
        *,
        workers: int,
        output: str,
        command: "Command | None" = None,
        final_command: "Command | None" = None,
        checksum: bool = False,
        watch: Watch | None = None,
    ) -> None:
        self.stages: list[Stage] = []
        self._storage = storage
        self._layout = layout
        self._shape = shape
        self._workers = workers
        self._output = output
        self._command = command
        self._final_command = final_command
        self._checksum = checksum
        self._watch = watch
        self._lock = threading.Lock()
        self._stop = False
        self._done = 0
        self._total = 0
        self._since = 0.0  # the journal's time, by the store's clock: what is older belongs to an earlier run

    def execute(self, *, prepare: bool, resume: bool, clean: bool) -> steps.Done:
        """Run the tree and return what the final merge did.

        `prepare` makes the level-1 files first, `resume` keeps what an interrupted run of the same shape has
        done, `clean` removes the levels between the first and the result at the end.

        Raises:
            WrongUsageError: the interrupted run had another shape.
            MissingInputError: level 1 is not complete.
            AggregationError: as Storage.concatenate; what is done stays, for `resume`.
        """
        resuming = resume and self._take_up()
        if not prepare:
            self._inputs()  # what is missing should show before anything is written
        if not resuming:
            self._storage.write(JOURNAL, json.dumps(self._journal()).encode())
        if prepare:
            started = time.perf_counter()
            steps.prepare(self._storage, self._layout, self._shape.files)
            seconds = time.perf_counter() - started
            self.stages.append(
                Stage("prepare-data", [Step(f"prepare.py {self._shape.files}", seconds)], seconds)
            )
        inputs = self._inputs()
        newest = max(entry.modified for entry in inputs.values())
        self._total = sum(entry.size for entry in inputs.values()) * (self._shape.levels + 1)
        done = self._result_of_earlier_run(newest) if resuming else None
        if done is None:
            done = self._reduce(inputs, resuming=resuming)
        if clean:
            for level, width in enumerate(self._shape.widths()[1:], start=2):
                self._storage.remove(self._layout.files(level, range(width)))
        self._storage.remove([JOURNAL])
        return done

    def _journal(self) -> dict[str, object]:
        commands = [list(c.arguments) if c else None for c in (self._command, self._final_command)]
        return {
            **self._shape._asdict(),
            "output": self._output,
            "suffix": self._layout.suffix,
            "commands": commands,
        }

    def _take_up(self) -> bool:
        """Whether there is an interrupted run of the same shape to go on with."""
        entry = self._storage.find(JOURNAL)
        if entry is None:
            return False
        try:
            found = json.loads(self._storage.read(JOURNAL, entry.size))
        except ValueError:
            found = None
        if found != self._journal():
            raise WrongUsageError(
                f"resuming the run under {self._storage.path('')}",
                f"it was started as {found}, not as {self._journal()}",
                "call with the same options, or without --resume",
            )
        self._since = entry.modified
        return True

    def _inputs(self) -> dict[int, Entry]:
        found = self._level(1)
        lacking = next((number for number in range(self._shape.files) if number not in found), None)
        if lacking is not None:
            raise MissingInputError(
                f"reducing {self._shape.files} files under {self._storage.path('')}",
                f"l1 holds {steps.describe_numbers(set(found))}, {self._layout.file(1, lacking)} not",
                "write it, set --files, or let --prepare make some",
            )
        return {number: found[number] for number in range(self._shape.files)}

    def _level(self, level: int) -> dict[int, Entry]:
        entries = self._storage.entries(self._layout.folder(level))
        return {n: entry for entry in entries if (n := self._layout.number(entry.name)) is not None}

    def _result_of_earlier_run(self, newest: float) -> steps.Done | None:
        """The final merge, if the interrupted run had come so far: then only its cleaning is left."""
        entry = self._storage.find(self._output)
        if entry is None or entry.modified < max(self._since, newest):
            return None
        self.stages.append(Stage("merge-data", [Step(self._merge_command(), 0.0, kept=True)], 0.0))
        written = Written(entry.size, None, "streamed", 0, 0.0)
        return steps.Done("merge", "kept", self._output, self._shape.widths()[-1], written)

    def _merge_command(self) -> str:
        return f"merge.py {self._shape.widths()[-1]}"

    def _reduce(self, inputs: dict[int, Entry], *, resuming: bool) -> steps.Done:
        fan_in = self._shape.fan_in
        widths = self._shape.widths()
        below = inputs
        redone: set[int] = set()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="merge")
        try:
            for level, width in enumerate(widths[:-1], start=1):
                above = self._level(level + 1) if resuming else {}
                numbers = range(tree.group_count(width, fan_in))
                keep = {
                    number
                    for number in numbers
                    if self._is_current(above.get(number), tree.group(number, fan_in, width), below, redone)
                }
                self._done += sum(above[number].size for number in keep)
                self._run_stage(pool, level, [n for n in numbers if n not in keep], keep, width)
                below, redone = above, set(numbers) - keep
            started = time.perf_counter()
            merging = pool.submit(self._merge, widths[-1], len(widths))
            self._await([merging])
            seconds = time.perf_counter() - started
            self.stages.append(Stage("merge-data", [Step(self._merge_command(), seconds)], seconds))
            return merging.result()
        finally:
            # After a signal _await() has waited for them, and for no longer than a signal allows.
            pool.shutdown(wait=stopping.seconds_left() is None, cancel_futures=True)

    def _is_current(
        self, target: Entry | None, sources: Iterable[int], below: dict[int, Entry], redone: set[int]
    ) -> bool:
        """Whether an earlier run's target can stay: it is of this run, and nothing below it is newer."""
        if target is None or target.modified < self._since:
            return False
        return all(
            source not in redone and source in below and below[source].modified <= target.modified
            for source in sources
        )

    def _run_stage(
        self, pool: ThreadPoolExecutor, level: int, numbers: list[int], keep: set[int], width: int
    ) -> None:
        started = time.perf_counter()
        futures = {number: pool.submit(self._process, number, level, width) for number in numbers}
        self._await(futures.values())
        made = [
            Step(f"process.py {number} {level}", 0.0, kept=True)
            if number in keep
            else Step(f"process.py {number} {level}", futures[number].result().written.seconds)
            for number in sorted([*numbers, *keep])
        ]
        self.stages.append(Stage(f"process-data-l{level}", made, time.perf_counter() - started))

    def _process(self, number: int, level: int, width: int) -> steps.Done:
        return steps.process(
            self._storage,
            self._layout,
            number,
            level,
            fan_in=self._shape.fan_in,
            files=width,
            advance=self._advance,
            checksum=self._checksum,
            command=self._command,
        )

    def _merge(self, count: int, level: int) -> steps.Done:
        return steps.merge(
            self._storage,
            self._layout,
            count,
            level=level,
            output=self._output,
            advance=self._advance,
            checksum=self._checksum,
            command=self._final_command,
        )

    def _advance(self, count: int) -> None:
        if self._stop:
            raise _StoppedError
        with self._lock:
            self._done += count

    def _await(self, futures: Iterable[Future[steps.Done]]) -> None:
        """Wait for all; raise the first failure as soon as it is there."""
        pending = set(futures)
        try:
            while pending:
                finished, pending = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_EXCEPTION)
                for future in finished:
                    future.result()
                if self._watch is not None:
                    self._watch(self._done, self._total)
        except BaseException:
            self._give_up(pending)
            raise

    def _give_up(self, pending: Iterable[Future[steps.Done]]) -> None:
        """Let the others stop at their next bytes and tidy up; after a signal, for a while."""
        self._stop = True
        running = [future for future in pending if not future.cancel()]
        seconds = stopping.seconds_left()
        patience = None if seconds is None else max(0.0, seconds - stopping.CLOSING_SECONDS)
        _, unfinished = wait(running, timeout=patience)
        if unfinished:
            stopping.leave(f"what {len(unfinished)} of the steps had begun")


class _StoppedError(Exception):
    """Another step failed or a signal came; nobody sees this one."""
