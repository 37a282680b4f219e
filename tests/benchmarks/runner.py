"""Runs a case's commands in turns and keeps what each run cost."""

import statistics
import subprocess
from collections.abc import Callable, Sequence
from typing import NamedTuple, get_args

from aggregation.stores.promise import Way
from benchmarks.case import Case, Command, Quantity, Target
from scripts import environment


class Run(NamedTuple):
    """What one run cost; memory in bytes."""

    quantities: dict[Quantity, float]
    moved: str
    """How the worker says that most bytes moved; "" for others."""


class Spread(NamedTuple):
    """The middle of several runs and the quarters around it."""

    low: float
    median: float
    high: float


class Outcome(NamedTuple):
    """What came of a case."""

    case: Case
    runs: dict[str, list[Run]]

    def measured(self, command: str, quantity: Quantity) -> bool:
        """Whether the quantity was measured for this command."""
        return bool(self._values(command, quantity))

    def spread(self, command: str, quantity: Quantity) -> Spread:
        """The quartiles of what was measured."""
        values = self._values(command, quantity)
        if len(values) == 1:
            return Spread(*values * 3)
        return Spread(*statistics.quantiles(values, n=4, method="inclusive"))

    def ratio(self, command: str, reference: str, quantity: Quantity = "seconds") -> float:
        """How many times the reference's cost: the median of the rounds' own ratios."""
        return statistics.median(self.ratios(command, reference, quantity))

    def ratios(self, command: str, reference: str, quantity: Quantity) -> list[float]:
        """The same of each round; a reference that ran once stands beside each."""
        ours, theirs = self._values(command, quantity), self._values(reference, quantity)
        if len(theirs) == 1:
            theirs *= len(ours)
        return [one / other for one, other in zip(ours, theirs, strict=False)]

    def _values(self, command: str, quantity: Quantity) -> list[float]:
        return [run.quantities[quantity] for run in self.runs[command] if quantity in run.quantities]


class Verdict(NamedTuple):
    """A target and what was found."""

    target: Target
    found: float
    met: bool


def run(case: Case, rounds: int, tell: Callable[[str], None]) -> Outcome:
    """Run all commands once to warm up, then `rounds` times in turns.

    Each round begins with another command, so that none always has the same one before it.

    Raises:
        RuntimeError: a command failed, or did not do its work.
    """
    runs: dict[str, list[Run]] = {command.name: [] for command in case.commands}
    for number in range(rounds + 1):
        tell(f"{case.name}: {f'round {number} of {rounds}' if number else 'warming up'}")
        shift = number % len(case.commands)
        for command in [*case.commands[shift:], *case.commands[:shift]]:
            if command.once and number != 1:
                continue
            found = _run(case, command)
            if number:
                runs[command.name].append(found)
    return Outcome(case, runs)


def judge(outcome: Outcome) -> list[Verdict]:
    """The case's targets, met or missed."""
    verdicts = []
    for target in outcome.case.targets:
        if target.reference:
            ratios = outcome.ratios(target.command, target.reference, target.quantity)
            ratio = max(ratios) if target.each else statistics.median(ratios)
            found = ratio if target.at_least is None else 1 / ratio
        else:
            found = outcome.spread(target.command, target.quantity).high
        met = found <= target.at_most if target.at_most is not None else found >= (target.at_least or 0)
        verdicts.append(Verdict(target, found, met))
    return verdicts


def _run(case: Case, command: Command) -> Run:
    case.reset()
    if case.gauge:
        case.gauge.reset()
    finished = subprocess.run(
        [*command.launcher, *map(str, command.argv)],
        env=_variables(command),
        capture_output=True,
        text=True,
        check=False,
    )
    *output, line = finished.stdout.splitlines() or [""]
    figures = line.split()
    if finished.returncode or len(figures) != 5 or figures[-1] != "0":
        raise RuntimeError(f"{case.name}: {command.name}: {line}\n{finished.stderr[-2000:]}")
    seconds, user, system, memory = map(float, figures[:4])
    if command.inside:
        seconds = float(output[-1])
    quantities: dict[Quantity, float] = {"seconds": seconds, "cpu": user + system, "memory": memory * 1024}
    if case.gauge:
        quantities.update(case.gauge.read())
    case.check()
    return Run(quantities, _moved(output))


def _variables(command: Command) -> dict[str, str]:
    variables = environment(**command.variables)
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # the warm-up compiles, as a first run would
    return variables


def _moved(output: Sequence[str]) -> str:
    return next((way for way in get_args(Way) if output and f", {way}" in output[-1]), "")
