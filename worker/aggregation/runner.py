"""The whole tree on this machine: prepare, reduce, merge; and taking up a run that was killed."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext, suppress
from itertools import accumulate
from typing import TYPE_CHECKING

from aggregation.stores.promise import Entry, Storage, Written

from . import cleaning, levels, steps, tree
from . import journal as journals
from .crew import Crew
from .errors import AggregationError
from .journal import Journal, Mark, Notes
from .layout import Layout
from .shape import Shape, Stage, Stand, Step

if TYPE_CHECKING:
    from aggregation.commands.command import Command
    from aggregation.inputs.given import GivenInputs

Watch = Callable[["Run"], None]
"""Called with the run from the calling thread, a few times a second and at the end of each stage."""


class Run:
    """One run of a tree under a storage's root, in a folder of its own.

    A journal in the folder holds the shape until the run is done, and notes hold of what each target was
    made: by these `resume` knows what it may keep. The stages that are done are in `stages`.

    `layout` may name the run; without a name a run that is begun gets one.
    """

    def __init__(
        self,
        storage: Storage,
        layout: Layout,
        shape: Shape,
        *,
        workers: int,
        output: str,
        parallel: int = 1,
        command: "Command | None" = None,
        final_command: "Command | None" = None,
        checksum: bool = False,
        watch: Watch | None = None,
        inputs: "GivenInputs | None" = None,
    ) -> None:
        self.layout = layout
        self.stages: list[Stage] = []
        self.stand = Stand("", 0, 0)
        self.done = 0
        """Bytes of level 1 that have gone through a step, once for each level."""
        self.total = 0
        """What `done` is in the end."""
        self.mark = Mark({}, "", "")
        """What the mark of the run's cleaning is to hold."""
        self._storage = storage
        self._shape = shape
        self._workers = workers
        self._parallel = parallel
        self._output = output
        self._command = command
        self._final_command = final_command
        self._checksum = checksum
        self._watch = watch
        self._given = inputs
        self._missing = inputs.inputs.missing if inputs else None
        self._lock = threading.Lock()
        self._crew = Crew(workers)
        self._ends: list[int] = []  # of each file of level 1: bytes up to its end

    def execute(self, *, prepare: bool, resume: bool, partial: bool = False) -> steps.Done:
        """Run the tree and return what the final merge did.

        `prepare` makes the level-1 files first, `resume` keeps what an interrupted run of the same shape has
        done, `partial` says that level 1 may hold more files. The run's folder stays: see `forget` and
        `cleaning.clean`.

        Raises:
            WrongUsageError: the interrupted runs had other shapes.
            MissingInputError: level 1 is not complete, or holds more.
            AggregationError: as Storage.concatenate; what is done stays, for `resume`.
        """
        form = self._form()
        journal = journals.take_up(self._storage, self.layout, form) if resume else None
        resuming = journal is not None
        if not prepare:
            inputs = self._inputs(partial=partial)  # what is missing should show before anything is written
            if resume and not resuming and (done := self._done_before(form, inputs)):
                return done
        if journal is None:
            journal = journals.begin(self._storage, self._named(), form)
        else:
            journal.write(self._storage)
        self.layout = journal.layout
        if self._given is not None:
            self._given = self._given.placed(self._storage, self.layout)
        if prepare:
            self._prepare()
            inputs = self._inputs(partial=partial)
        self._ends = list(accumulate(entry.size for entry in inputs.values()))
        self.total = self._ends[-1] * (self._shape.levels + 1)
        with self._given.accounted(self._storage, self._output) if self._given else nullcontext():
            done = self._reduce(inputs, journal, resuming=resuming)
        made_of = journals.made_of(inputs.values())
        result = self._storage.find(self._output)
        self.mark = Mark(form, made_of, result.identity if result else "")
        return done._replace(missing=self._missing)

    def forget(self) -> None:
        """Remove the journal and notes: the run is done, and its levels stay.

        Raises:
            AggregationError: they cannot be removed.
        """
        journals.forget(self._storage, self.layout, self._shape.levels)

    def _form(self) -> journals.Form:
        commands = [list(c.arguments) if c else None for c in (self._command, self._final_command)]
        names = {"output": self._output, "suffix": self.layout.suffix}
        inputs = {"inputs": self._given.inputs.digest()} if self._given else {}
        return {**self._shape._asdict(), **names, **inputs, "commands": commands}

    def _named(self) -> Layout:
        if self.layout.run:
            return self.layout
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        return self.layout._replace(run=f"pipeline-{stamp}-{os.urandom(4).hex()}")

    def _prepare(self) -> None:
        started = time.perf_counter()
        steps.prepare(self._storage, self.layout, self._shape.files, parallel=self._parallel)
        seconds = time.perf_counter() - started
        self._ended(Stage("prepare-data", [Step(f"prepare.py {self._shape.files}", seconds)], seconds))

    def _inputs(self, *, partial: bool) -> dict[int, Entry]:
        if self._given is not None:
            return dict(enumerate(self._given.entries(self._storage)))
        return levels.inputs(self._storage, self.layout, self._shape.files, partial=partial)

    def _level(self, level: int) -> dict[int, Entry]:
        return levels.entries(self._storage, self.layout, level)

    def _done_before(self, form: journals.Form, inputs: dict[int, Entry]) -> steps.Done | None:
        """The final merge of a run that was interrupted while it was cleaned, if it is still current."""
        mark = Mark(form, journals.made_of(inputs.values()), "")
        for layout in [self.layout] if self.layout.run else cleaning.marked(self._storage, self.layout):
            found = journals.done_before(self._storage, layout, mark, self._output)
            if found is not None:
                self.layout = layout
                self.mark = mark._replace(result=found.identity)
                self._ended(Stage("merge-data", [Step(self._merge_command(), 0.0, kept=True)], 0.0))
                written = Written(found.size, None, "streamed", 0, 0.0)
                width = self._shape.widths()[-1]
                return steps.Done("merge", "kept", self._output, width, written, self._missing)
        return None

    def _merge_command(self) -> str:
        return f"merge.py {self._shape.widths()[-1]}"

    def _ended(self, stage: Stage) -> None:
        self.stages.append(stage)
        if self._watch is not None:
            self._watch(self)

    def _reduce(self, inputs: dict[int, Entry], journal: Journal, *, resuming: bool) -> steps.Done:
        widths = self._shape.widths()
        below = inputs
        with self._crew:
            for level, width in enumerate(widths[:-1], start=1):
                below = self._run_level(level, width, below, journal, resuming=resuming)
            started = time.perf_counter()
            self.stand = Stand("merge-data", 0, 1)
            merging = self._crew.submit(self._merge, widths[-1], len(widths))
            self._crew.wait([merging], self._show)
            seconds = time.perf_counter() - started
            self._ended(Stage("merge-data", [Step(self._merge_command(), seconds)], seconds))
            return merging.result()

    def _run_level(
        self, level: int, width: int, below: dict[int, Entry], journal: Journal, *, resuming: bool
    ) -> dict[int, Entry]:
        """Make the targets of a level that are not current; returns what is there then."""
        numbers = range(tree.group_count(width, self._shape.fan_in))
        # What the inputs are is learnt before they are read: one that changes later makes its target old.
        groups = {number: tree.group(number, self._shape.fan_in, width) for number in numbers}
        made_of = journals.made_of_groups(groups, below)
        notes = Notes(self._storage, journal, level + 1)
        kept: set[int] = set()
        if resuming:
            notes.load()
            above = self._level(level + 1)
            kept = {n for n, made in made_of.items() if notes.is_current(n, made, above.get(n))}
        started = time.perf_counter()
        name = f"process-data-l{level}"
        self.stand = Stand(name, len(kept), len(numbers))
        self._add(sum(self._weight(level, number) for number in kept))
        futures = {n: self._crew.submit(self._process, n, level, width) for n in numbers if n not in kept}

        def note() -> dict[int, Entry]:
            ready = {n: made_of[n] for n, future in futures.items() if _is_made(future) and n in made_of}
            targets = self._level(level + 1)
            notes.save(ready, targets)
            return targets

        try:
            self._crew.wait(futures.values(), lambda ended: self._show(len(kept) + ended), note)
        except BaseException:
            with suppress(AggregationError):  # what is not noted is made again
                note()
            raise
        targets = note()
        made = [
            Step(f"process.py {number} {level}", 0.0, kept=True)
            if number in kept
            else Step(f"process.py {number} {level}", futures[number].result().written.seconds)
            for number in numbers
        ]
        self._ended(Stage(name, made, time.perf_counter() - started))
        return targets

    def _process(self, number: int, level: int, width: int) -> steps.Done:
        command = self._command
        if command is not None and self._workers > 1:  # others print beside it
            command = command._replace(label=f"process.py {number} {level}")
        done = steps.process(
            self._storage,
            self.layout,
            number,
            level,
            fan_in=self._shape.fan_in,
            files=width,
            partial=True,
            advance=self._look if self._command else self._advance,
            checksum=self._checksum,
            command=command,
        )
        if self._command:
            self._add(self._weight(level, number))
        return done

    def _merge(self, count: int, level: int) -> steps.Done:
        done = steps.merge(
            self._storage,
            self.layout,
            count,
            level=level,
            output=self._output,
            partial=True,
            advance=self._look if self._final_command else self._advance,
            checksum=self._checksum,
            command=self._final_command,
        )
        if self._final_command:
            self._add(self._ends[-1])
        return done

    def _weight(self, level: int, number: int) -> int:
        """Bytes of level 1 that group `number` of a level stands for, whatever a command made of them."""
        first, last = self._shape.inputs(level, number)
        return self._ends[last - 1] - (self._ends[first - 1] if first else 0)

    def _add(self, count: int) -> None:
        with self._lock:
            self.done += count

    def _look(self, _: int) -> None:
        """For a command, whose output may be of any size: its inputs count, once it has ended."""
        self._crew.look()

    def _advance(self, count: int) -> None:
        self._crew.look()
        self._add(count)

    def _show(self, done: int) -> None:
        self.stand = self.stand._replace(done=done)
        if self._watch is not None:
            self._watch(self)


def _is_made(future: Future[steps.Done]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
