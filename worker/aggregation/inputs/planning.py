"""Making the list of a run's inputs: found by a listing, compared with what is expected, checked, written."""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aggregation import wildcards
from aggregation.errors import AggregationError, ConfigurationError, MissingInputError, printable
from aggregation.layout import ACCOUNT, INPUTS, RUNS, Layout, account_beside
from aggregation.stores.promise import Storage

from . import input_list
from .frames import NamePattern
from .gaps import FAIL, NO_BOUND, SKIP, Bound, Gaps
from .input_list import InputList
from .order import AmbiguousNamesError, in_natural_order

Check = Callable[[Sequence[str]], set[str]]
"""Looks at files, by their names; returns those that it refuses."""

_OURS_BYTES = 4096
"""What of a file is looked at to see whether inputs.py made it."""


class Request(NamedTuple):
    """What the inputs are, in the user's words. One of `glob`, `numbers` and `expected` says it."""

    how: str
    """The same as options, for the list's first line."""
    glob: str = ""
    numbers: Sequence[int] = ()
    pattern: NamePattern | None = None
    expected: str = ""
    """The name of a list of the names."""
    base: str = ""
    """What the names are relative to, under the root; with a `/` at its start, from the store's own."""
    policy: str = FAIL
    """What is done about gaps: FAIL, SKIP, or the name of a file that takes their place."""
    bound: Bound = NO_BOUND

    def named(self, name: str) -> str:
        """A name or a pattern with the base before it."""
        return os.path.join(self.base, name)


class Plan(NamedTuple):
    """What the inputs are."""

    inputs: InputList
    gaps: Gaps | None = None
    """What is missing of them; None if nothing is."""


class _Found(NamedTuple):
    """What is expected, and what of it is there."""

    expected: list[str]
    present: set[str]
    numbers: Sequence[int] = ()


def plan(
    storage: Storage, layout: Layout, request: Request, *, output: str, check: Check | None = None
) -> Plan:
    """Find the inputs. Costs one listing; a listing for each folder where a wildcard stands for folders.

    The result, lists and levels of runs are no inputs of a pattern, nor is the placeholder.

    Raises:
        MissingInputError: nothing is there, or more is missing than is allowed; the message says all gaps.
        CommandFailedError: the check cannot be run.
        AggregationError: something cannot be listed.
    """
    doing = f"listing the inputs under {printable(storage.path(request.base))}"
    found = _find(storage, layout, request, output, doing)
    if not found.present:
        storage.names("")  # where the root itself is absent, that is said
        raise MissingInputError(doing, *_nothing(storage, request))
    there = [name for name in found.expected if name in found.present]
    refused = check(there) if check is not None else set()
    lacking = [index for index, name in enumerate(found.expected) if not _is_good(name, found, refused)]
    if not lacking:
        return Plan(InputList(found.expected, 0, request.how))
    gaps = Gaps(
        len(found.expected),
        [found.expected[index] for index in lacking],
        [found.numbers[index] for index in lacking] if found.numbers else (),
        [found.expected[index] for index in lacking if found.expected[index] in refused],
        request.policy,
    )
    _see_that_it_is_allowed(request, gaps, doing)
    if request.policy == SKIP:
        names = [name for name in found.expected if _is_good(name, found, refused)]
    else:
        _see_that_the_placeholder_is_there(storage, request.policy, doing)
        names = [name if _is_good(name, found, refused) else request.policy for name in found.expected]
    return Plan(InputList(names, len(lacking), request.how), gaps)


def _is_good(name: str, found: _Found, refused: set[str]) -> bool:
    return name in found.present and name not in refused


def _find(storage: Storage, layout: Layout, request: Request, output: str, doing: str) -> _Found:
    try:
        if request.glob:
            return _matching(storage, layout, request, output)
        if request.pattern is not None:
            return _numbered(storage, request, request.pattern)
    except AmbiguousNamesError as error:
        cure = "leave one of them out, by another pattern or --name"
        raise MissingInputError(doing, str(error), cure) from error
    names = list(input_list.read(storage, layout, request.expected).names)
    return _Found([request.named(name) for name in names], _present(storage, request, names))


def _matching(storage: Storage, layout: Layout, request: Request, output: str) -> _Found:
    pattern = os.path.join(wildcards.escape(request.base), request.glob)
    lists = {INPUTS, ACCOUNT}
    results = {name for made in (output, layout.result()) for name in (made, account_beside(made))}
    own = {storage.path(name) for name in {*lists, *results, request.policy}}
    first = pattern.partition("/")[0]
    names = [
        name
        for name in storage.glob(pattern)
        if storage.path(name) not in own
        and (name.partition("/")[0] == first or not _is_a_run_s(layout, name))
    ]
    for name in names:
        if "\n" in name:
            raise ConfigurationError(
                "listing the inputs",
                f"{printable(storage.path(name))} has a line end in its name; the list is one name a line",
                "rename it, or leave it out by another pattern",
            )
    ordered = in_natural_order(names)
    return _Found(ordered, set(ordered))


def _is_a_run_s(layout: Layout, name: str) -> bool:
    """Whether a file is what a run makes, which a wildcard does not mean."""
    first, slash, _ = name.partition("/")
    return bool(slash) and (first == RUNS or (layout.level(first) or 0) > 1)


def _numbered(storage: Storage, request: Request, pattern: NamePattern) -> _Found:
    expected = {number: request.named(pattern.name(number)) for number in request.numbers}
    base = request.named("")
    present = set(storage.glob(wildcards.escape(base) + pattern.glob()))
    spelt: dict[int, str] = {}
    for name in sorted(present):
        number = pattern.number(name[len(base) :])
        if number is not None and number in expected:
            other = spelt.setdefault(number, name)
            if other != name:
                raise AmbiguousNamesError(f"{other} and {name} stand for the same number")
    return _Found(list(expected.values()), present & set(expected.values()), request.numbers)


def _present(storage: Storage, request: Request, names: Sequence[str]) -> set[str]:
    """Which of these names are there, by one listing of what holds them all."""
    folders = {os.path.dirname(name) for name in names}
    common = os.path.commonpath(folders) if not any(name.startswith("/") for name in names) else ""
    depths = {name.count("/") for name in names}
    below = "/".join("*" * (depths.pop() - common.count("/") - bool(common) + 1))
    if depths:  # there are several
        below = wildcards.ANY_FOLDERS
    listed = set(storage.glob(os.path.join(wildcards.escape(request.named(common)), below)))
    return {
        name
        for name in map(request.named, names)
        # A pattern shows no hidden names, nor those outside the base.
        if name in listed
        or ((name.startswith(("/", ".")) or "/." in name) and storage.find(name) is not None)
    }


def _see_that_the_placeholder_is_there(storage: Storage, name: str, doing: str) -> None:
    if storage.find(name) is None:
        why = f"the placeholder {printable(storage.path(name))} is not there"
        raise MissingInputError(doing, why, "write it, or name another file with --missing")


def _nothing(storage: Storage, request: Request) -> tuple[str, str]:
    """Why nothing is there, as far as a listing of the folder can say, and what to do."""
    wanted = request.glob or (request.pattern.text if request.pattern else request.expected)
    folder = os.path.dirname(wildcards.Pattern(request.named(request.glob)).literal) if request.glob else ""
    if request.pattern is not None:
        folder = os.path.dirname(request.named(request.pattern.name(0)))
    try:
        held = sorted(name for name in storage.names(folder) if not name.startswith("."))
    except AggregationError:
        held = []
    end = os.path.splitext(wanted)[1]
    alike = [name for name in held if end and name.lower().endswith(end.lower())]
    count = f"{len(held)} {'name' if len(held) == 1 else 'names'}"
    where = printable(storage.path(folder))
    such = (
        f"{where} holds {count}, such as {printable((alike or held)[0])}"
        if held
        else f"{where} holds nothing"
    )
    what = f"none of the {len(request.numbers)} files {wanted} is there" if request.numbers else ""
    return f"{what or f'nothing matches {wanted}'}: {such}", "check the pattern, --from and --root"


def _see_that_it_is_allowed(request: Request, gaps: Gaps, doing: str) -> None:
    count = len(gaps.names)
    said = f"{count} of {gaps.expected} {'is' if count == 1 else 'are'} missing: {gaps.describe()}"
    if gaps.refused:
        said += f" ({len(gaps.refused)} of them refused by --check)"
    if request.policy == FAIL:
        cure = "make them, or go on without them: --missing skip, or --missing and a file to take their place"
        raise MissingInputError(doing, said, cure)
    if count > (most := request.bound.allowed(gaps.expected)):
        why = f"{said}, more than the {most} of --at-most-missing {request.bound.text}"
        raise MissingInputError(doing, why, "make them, or raise --at-most-missing")
    if count == gaps.expected:
        raise MissingInputError(doing, said, "make them: a result of nothing but gaps is none")


def write(storage: Storage, path: str, plan: Plan) -> None:
    """Write the list to `path`, and the account of its gaps beside it.

    The list is what counts and names its gaps in its first line: the account comes before a list with gaps,
    and an earlier one goes after a list without.

    Raises:
        ConfigurationError: a file that inputs.py did not make has one of the names.
        AggregationError: as Storage.write.
    """
    account = input_list.account_of(path)
    started_as = _start_of(storage, path)
    if started_as is not None and input_list.MADE_BY.encode() not in started_as.partition(b"\n")[0]:
        raise _foreign(storage, path)
    if plan.gaps is not None:
        if (start := _start_of(storage, account)) is not None and not looks_like_an_account(start):
            raise _foreign(storage, account)
        storage.write(account, plan.gaps.to_json(plan.inputs.digest()))
    storage.write(path, plan.inputs.to_bytes())
    if plan.gaps is None and started_as is not None:
        start = _start_of(storage, account)
        if start is not None and looks_like_an_account(start):
            storage.remove([account])


def looks_like_an_account(start: bytes) -> bool:
    """Whether a file that begins so was written by `write`."""
    return start.replace(b" ", b"").replace(b"\n", b"").startswith(b'{"made_by":"inputs.py"')


def _start_of(storage: Storage, path: str) -> bytes | None:
    try:
        return storage.read(path, _OURS_BYTES)
    except MissingInputError:
        return None


def _foreign(storage: Storage, path: str) -> ConfigurationError:
    return ConfigurationError(
        "writing the list of inputs",
        f"{printable(storage.path(path))} exists and was not made by inputs.py",
        "name another list with --inputs, or move the file away",
    )
