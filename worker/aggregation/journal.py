"""What a run of pipeline.py notes in its folder, so that --resume can go on with it.

The journal says what the run is: its shape, names and commands. Beside it there is a file of notes for each
level: of every target what it was made of, and what it is, each as the store's own identity of that state. A
target without a note is made again, because each note is written after its target.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import blake2b
from typing import NamedTuple

from aggregation.stores.promise import Entry, Storage

from . import host
from .errors import WrongUsageError
from .layout import RUNS, Layout, run_of_mark

Form = dict[str, object]
"""What makes two runs the same, as JSON has it: shape, names and commands."""

_NOT_OURS = (ValueError, KeyError, TypeError, RecursionError)
"""What reading a file raises that is cut short, or that something else wrote."""


class Journal(NamedTuple):
    """The journal of a run that is not done."""

    layout: Layout
    run: str
    """Tells the notes of this run from those of an earlier one of its name."""
    form: Form
    writer: str

    def write(self, storage: Storage) -> None:
        """Note that this process works on the run."""
        record = {"run": self.run, "form": self.form, "writer": _writer(os.getpid())}
        storage.write(self.layout.journal, json.dumps(record).encode())


def begin(storage: Storage, layout: Layout, form: Form) -> Journal:
    """Begin a run."""
    journal = Journal(layout, os.urandom(8).hex(), form, "")
    journal.write(storage)
    return journal


def take_up(storage: Storage, layout: Layout, form: Form) -> Journal | None:
    """The interrupted run to go on with: the latest of this form, or the one that `layout` names.

    A run whose process is at work on this machine is not interrupted.

    Raises:
        WrongUsageError: there are interrupted runs, and none is of this form; or the named one is at work.
    """
    others = None
    for journal in _unfinished(storage, layout):
        if _is_at_work(journal.writer):
            if layout.run:
                raise WrongUsageError(
                    f"resuming the run {layout.run} under {storage.path('')}",
                    "it is still at work on this machine",
                    "wait for it, or call without --resume under another name",
                )
        elif journal.form == form:
            return journal
        else:
            others = others or journal
    if others is None:
        return None
    doing = f"resuming a run under {storage.path('')}"
    if {**others.form, "inputs": ""} == {**form, "inputs": ""}:
        why = f"the list of inputs is another one than {others.layout.run} was started with"
        raise WrongUsageError(doing, why, "give that one by --inputs, or call without --resume")
    raise WrongUsageError(
        doing,
        f"{others.layout.run} was started as {others.form}, not as {form}",
        "call with the same options, or without --resume",
    )


def _unfinished(storage: Storage, layout: Layout) -> Iterable[Journal]:
    """The runs that have a journal, the latest first. Costs a listing, and a look-up a run."""
    if layout.run:
        layouts = [layout]
    else:
        names = set(storage.names(RUNS))
        done = {name for name in names if run_of_mark(name)}
        layouts = [layout._replace(run=name) for name in names - done if f"{name}~" not in done]
    found = [(entry, each) for each in layouts if (entry := storage.find(each.journal))]
    for entry, each in sorted(found, key=lambda pair: (pair[0].modified, pair[1].run), reverse=True):
        with suppress(*_NOT_OURS):  # nothing to go on with
            record = json.loads(storage.read(each.journal, max(entry.size, 1)))
            yield Journal(each, str(record["run"]), dict(record["form"]), str(record["writer"]))


class Notes:
    """What a run has made of one level, and of what."""

    def __init__(self, storage: Storage, journal: Journal, level: int) -> None:
        self._storage = storage
        self._run = journal.run
        self._level = level
        self._layout = journal.layout
        self._made: dict[str, list[str]] = {}

    def load(self) -> None:
        """Read what an earlier process noted."""
        name = self._layout.notes(self._level)
        entry = self._storage.find(name)
        if entry is None:
            return
        with suppress(*_NOT_OURS):  # then everything is made again
            record = json.loads(self._storage.read(name, max(entry.size, 1)))
            if record["run"] == self._run:
                self._made = dict(record["made"])

    def is_current(self, number: int, made_of: str, target: Entry | None) -> bool:
        """Whether the target is what was made then, and was made of what is there now."""
        return target is not None and self._made.get(str(number)) == [made_of, target.identity]

    def save(self, made: dict[int, str], targets: dict[int, Entry]) -> None:
        """Note targets: `made` says of what each was made, `targets` what they are, looked at afterwards."""
        for number, made_of in made.items():
            if number in targets:
                self._made[str(number)] = [made_of, targets[number].identity]
        record = {"run": self._run, "made": self._made}
        self._storage.write(self._layout.notes(self._level), json.dumps(record).encode())


def made_of(sources: Iterable[Entry]) -> str:
    """What stands for these files in this state and order, in a note."""
    return blake2b("\n".join(source.identity for source in sources).encode(), digest_size=16).hexdigest()


def made_of_groups(groups: Mapping[int, Iterable[int]], below: Mapping[int, Entry]) -> dict[int, str]:
    """The same of each group of a level whose files are all there."""
    return {
        number: made_of(below[source] for source in group)
        for number, group in groups.items()
        if all(source in below for source in group)
    }


def forget(storage: Storage, layout: Layout, levels: int) -> None:
    """Remove the journal and the notes of a run that is done and whose levels stay."""
    storage.remove([layout.journal, *(layout.notes(level) for level in range(2, levels + 2))])


class Mark(NamedTuple):
    """What a run that is done leaves in the mark of its cleaning."""

    form: Form
    made_of: str
    result: str

    def note(self) -> bytes:
        """As the mark holds it."""
        return json.dumps(self._asdict()).encode()


def done_before(storage: Storage, layout: Layout, mark: Mark, output: str) -> Entry | None:
    """The result of a run that was interrupted while it was cleaned, if its mark says the same."""
    entry = storage.find(layout.merged_mark)
    result = storage.find(output)
    if entry is None or result is None or not entry.size:
        return None
    if storage.read(layout.merged_mark, entry.size) != mark._replace(result=result.identity).note():
        return None
    return result


def _writer(pid: int) -> str:
    """A process, as no other one is called on this machine."""
    return f"{host.name_for_pids()} {pid} {_start(pid)}"


def _is_at_work(writer: str) -> bool:
    found = re.fullmatch(r"\S+ ([0-9]{1,10}) .*", writer)
    return found is not None and int(found[1]) != os.getpid() and _writer(int(found[1])) == writer


def _start(pid: int) -> str:
    """When a process began, in ticks since the machine did; empty if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # proc(5): the command's name, in parentheses, may hold anything; the start is field 22.
            state, *rest = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]
