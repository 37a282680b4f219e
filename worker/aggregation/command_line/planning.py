"""From what inputs.py and pipeline.py were told of the inputs to a list of them."""

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from aggregation import location
from aggregation.errors import WrongUsageError
from aggregation.inputs.frames import NamePattern, describe_frames
from aggregation.inputs.gaps import FAIL, NO_BOUND, SKIP, Bound
from aggregation.inputs.planning import Plan, Request, plan
from aggregation.location import Location
from aggregation.progress import ArgoProgress
from aggregation.wildcards import Pattern

from .console import console, draws
from .job import Job
from .parameters import file_name

if TYPE_CHECKING:
    from aggregation.inputs.given import GivenInputs

_LINE_SECONDS = 10.0
"""Between two lines on how many files are checked, where no terminal shows a bar."""


class Wanted(NamedTuple):
    """What the options say of the inputs, as they were given."""

    glob: Pattern | None
    frames: tuple[int, ...] | None
    name: NamePattern | None
    expected: str | None
    base: str | None
    missing: str
    bound: Bound | None
    check: tuple[str, ...] | None

    @property
    def is_asked_for(self) -> bool:
        """Whether any of the options says what the inputs are."""
        return any(each is not None for each in (self.glob, self.frames, self.expected))

    def request(self, job: Job, root: Location) -> Request:
        """The same as a request.

        Raises:
            WrongUsageError: the options do not go together.
        """
        ways = [name for name in self._given() if name in ("--glob", "--frames", "--expected")]
        if len(ways) != 1:
            why = f"{' and '.join(ways)} say it twice" if ways else "nothing says what they are"
            raise WrongUsageError("listing the inputs", why, "give one of --glob, --frames and --expected")
        if self.name is not None and self.frames is None:
            raise WrongUsageError("--name", "it is the name of a frame", "give --frames too")
        if self.bound is not None and self.missing == FAIL:
            cure = "say with --missing what is done about gaps: skip, or a file that takes their place"
            raise WrongUsageError("--at-most-missing", "without --missing each gap is an error", cure)
        pattern = (self.name or _named_by(job.layout.suffix)) if self.frames else None
        return Request(
            how=self._how(),
            glob=self.glob.text if self.glob else "",
            numbers=self.frames or (),
            pattern=pattern,
            expected=self.expected or "",
            base=_base(self.base, root) if self.base else "",
            policy=self.missing,
            bound=self.bound or NO_BOUND,
        )

    def see_that_none_is_given(self, name: str | None) -> None:
        """Refuse options that say what the inputs are beside --prepare, which makes them.

        Raises:
            WrongUsageError: there is something.
        """
        if name is not None or self.is_asked_for:
            raise WrongUsageError("--prepare", "the inputs are there", "leave it out, or what says of them")

    def see_that_it_is_used(self) -> None:
        """Refuse options of a list where none is to be made.

        Raises:
            WrongUsageError: one is given, and nothing says what the inputs are.
        """
        for name in [*self._given(), *(["--check"] if self.check else [])]:
            cure = "give one of --glob, --frames and --expected too"
            raise WrongUsageError(name, "nothing says what the inputs are", cure)

    def _given(self) -> dict[str, str]:
        """The options that are given, and their values as text, but for the check's."""
        words = {
            "--glob": self.glob.text if self.glob else None,
            "--frames": describe_frames(self.frames) if self.frames else None,
            "--name": self.name.text if self.name else None,
            "--expected": self.expected,
            "--from": self.base,
            "--missing": None if self.missing == FAIL else self.missing,
            "--at-most-missing": self.bound.text if self.bound else None,
        }
        return {name: word for name, word in words.items() if word is not None}

    def _how(self) -> str:
        how = " ".join(f"{name} {shlex.quote(word)}" for name, word in self._given().items())
        return f"{how} --check …" if self.check else how  # which may hold what is not for each reader

    def plan(self, job: Job, *, output: str, workers: int, scratch: str | None) -> Plan:
        """Make the list. Raises as planning.plan."""
        request = self.request(job, job.root)
        if self.check is None:
            return plan(job.storage, job.layout, request, output=output)
        from aggregation.inputs.checking import Checker  # noqa: PLC0415 - for checks only

        with click.progressbar(
            length=1, label="checking", file=sys.stderr, hidden=not draws(sys.stderr)
        ) as bar:
            checker = Checker(job.storage, self.check, workers, scratch, _watch(bar))
            return plan(job.storage, job.layout, request, output=output, check=checker.refused)


def _named_by(suffix: str) -> NamePattern:
    """The names of level 1, for frames that have no other ones."""
    try:
        return NamePattern(f"l1/{{number}}{suffix}")
    except ValueError as error:
        raise WrongUsageError("listing the inputs", str(error), "name the frames by --name") from error


def _base(text: str, root: Location) -> str:
    """What the names are relative to, from a name, a path or an URL of the root's own store."""
    doing = f"--from {text}"
    base = text
    if root.protocol == "oss" and "://" in text:
        with suppress(ValueError):
            place = location.parse(text)
            bucket, _, prefix = place.path.partition("/")
            if place.protocol == "oss" and bucket == root.path.partition("/")[0]:
                base = f"/{prefix}"
    if "://" in base:
        why = "it is no place of the root's own store"
        raise WrongUsageError(doing, why, f"name a prefix or folder of {root}, from / on")
    base = base.rstrip("/")
    if base:
        try:
            file_name(base.removeprefix("/"))
        except ValueError as error:
            why = "it has a part that is empty, '.' or '..', or a line end"
            raise WrongUsageError(doing, why, "write it from / on") from error
    return base or "/"


def _watch(bar: Any) -> Callable[[int, int], None]:
    argo = ArgoProgress.for_this_pod()
    due = time.monotonic() + _LINE_SECONDS

    def watch(done: int, total: int) -> None:
        nonlocal due
        bar.length = total
        bar.update(done - bar.pos)
        if argo:
            argo.show(done, total)
        if bar.hidden and time.monotonic() > due:
            due = time.monotonic() + _LINE_SECONDS
            console.aside(f"checked {done} of {total} files")

    return watch


def given_inputs(
    job: Job, wanted: Wanted, name: str | None, *, output: str, workers: int, scratch: str | None
) -> "GivenInputs | None":
    """The list of inputs that the options name or describe; None where level 1 has numbers.

    Raises:
        WrongUsageError: the options do not go together.
        AggregationError: as input_list.read and planning.plan.
    """
    if not wanted.is_asked_for:
        wanted.see_that_it_is_used()
        return job.inputs(name)
    if name is not None:
        why = "it names a list, and one is to be made"
        raise WrongUsageError("--inputs", why, "leave it out, or --glob, --frames and --expected")
    from aggregation.inputs.given import GivenInputs  # noqa: PLC0415 - for lists only

    found = wanted.plan(job, output=output, workers=workers, scratch=scratch)
    for line in said(found):
        console.notice(line)
    job.layout = job.layout._replace(inputs=found.inputs.names)
    return GivenInputs(found.inputs, "", found)


def said(found: Plan) -> Sequence[str]:
    """What a person should know of a list with gaps."""
    if found.gaps is None:
        return []
    count = len(found.gaps.names)
    instead = "left out" if found.gaps.policy == SKIP else f"replaced by {found.gaps.policy}"
    return [f"{count} of {found.gaps.expected} inputs missing, {instead}: {found.gaps.describe()}"]
