"""What was measured, as tables for a terminal and as JSON."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.case import MIB, Quantity
from benchmarks.runner import Outcome, Verdict

_COLUMNS: dict[Quantity, str] = {
    "cpu": "CPU ms",
    "memory": "MiB",
    "requests": "requests",
    "up": "kB up",
    "down": "kB down",
    "made": "KiB made",
    "failed": "failed",
    "used": "% used",
    "refused": "% refused",
}
_UNITS: dict[Quantity, float] = {
    "cpu": 1e-3,
    "memory": MIB,
    "up": 1000,
    "down": 1000,
    "made": 1024,
    "used": 0.01,
    "refused": 0.01,
}


def table(outcome: Outcome) -> list[str]:
    """A row for each command: time, its quartiles and ratio, and whatever else was measured."""
    names = list(outcome.runs)
    measured = [q for q in _COLUMNS if any(outcome.measured(name, q) for name in names)]
    moved = any(run.moved for runs in outcome.runs.values() for run in runs)
    rows = [["", "ms", "quartiles", "ratio", *(_COLUMNS[quantity] for quantity in measured)]]
    for name, runs in outcome.runs.items():
        spread = outcome.spread(name, "seconds")
        low, middle, high = (f"{1000 * value:.{1 if value < 1 else 0}f}" for value in spread)
        row = [name, middle, f"{low} - {high}", f"{outcome.ratio(name, outcome.case.reference):.2f}"]
        medians = {quantity: outcome.spread(name, quantity).median for quantity in measured}
        row += [f"{median / _UNITS.get(quantity, 1):,.1f}" for quantity, median in medians.items()]
        rows.append([*row, *([runs[-1].moved] if moved else [])])
    if moved:
        rows[0].append("moved")
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    rounds = max(map(len, outcome.runs.values()))
    return [f"{outcome.case.name} (median of {rounds}; ratio to: {outcome.case.reference})", *lines, ""]


def verdict_line(verdict: Verdict) -> str:
    """A target, met or missed."""
    unit = _absolute(verdict.target.quantity, verdict.found) or f"{verdict.found:.2f}"
    who = f" ({verdict.target.command})"
    return f"{'met   ' if verdict.met else 'MISSED'}  {unit:>9}  {verdict.target.promise}{who}"


def _absolute(quantity: Quantity, found: float) -> str:
    """A quantity that is shown as it is; empty for one that is shown as a ratio."""
    share = f"{100 * found:.1f} %"
    shown = {
        "memory": f"{found / MIB:.1f} MiB",
        "requests": f"{found:,.0f} requests",
        "failed": f"{found:.0f}",
    }
    return {**shown, "used": share, "refused": share}.get(quantity, "")


def promise_row(target: Mapping[str, Any]) -> str:
    """A target of as_json's as a row of docs/performance.md: the promise, and what was measured."""
    found = target["found"]
    text = _absolute(target["quantity"], found)
    if not text and target["at_least"] is None:
        text = f"{found:.2f} x"
    elif not text:
        text = f"{found:,.0f} times" if found >= 10 else f"{found:.1f} times"
    return f"| {target['promise']} ({target['command']}) | {text}{'' if target['met'] else ', missed'} |"


def shape_rows(figures: Mapping[str, Any]) -> list[str]:
    """The rows of the table of shapes in docs/performance.md, from as_json's figures of that family."""
    volume, oss = (case["commands"] for case in figures["cases"])
    flat = volume["flat"]["made"]
    rows = []
    for name in sorted(volume, key=lambda name: volume[name]["ratio"]):
        shape, _, merges = name.partition(", ")
        cells = [
            shape,
            merges.removesuffix(" merges") or "1",
            f"{volume[name]['ratio']:.1f}",
            f"{volume[name]['made'] / flat:.0f} x",
            f"{oss[name]['ratio']:.1f}",
            f"{oss[name]['requests']:,.0f}",
            _megabytes(oss[name]["up"] + oss[name]["down"]),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _megabytes(count: float) -> str:
    """A count of bytes in two digits or more: 1.7 MB, 540 MB."""
    return f"{count / 1e6:.1f} MB" if count < 10e6 else f"{count / 1e6:,.0f} MB"


def as_json(
    outcomes: Sequence[Outcome], verdicts: Sequence[Verdict], machine: dict[str, Any]
) -> dict[str, Any]:
    """What is kept: each round's seconds, to a microsecond, and the medians of other quantities, in bytes."""
    return {
        "machine": machine,
        "cases": [
            {
                "name": outcome.case.name,
                "reference": outcome.case.reference,
                "drawn": outcome.case.drawn,
                "commands": {name: _kept(outcome, name) for name in outcome.runs},
            }
            for outcome in outcomes
        ],
        "targets": [
            {**verdict.target._asdict(), "found": verdict.found, "met": verdict.met} for verdict in verdicts
        ],
    }


def _kept(outcome: Outcome, name: str) -> dict[str, Any]:
    runs = outcome.runs[name]
    kept: dict[str, Any] = {q: outcome.spread(name, q).median for q in runs[-1].quantities}
    return kept | {
        "seconds": [round(run.quantities["seconds"], 6) for run in runs],
        "moved": runs[-1].moved,
        "ratio": outcome.ratio(name, outcome.case.reference),
    }


def as_text(figures: Mapping[str, Any]) -> str:
    """`as_json`'s figures as a file: a line for each command and for each target."""

    def lines(items: Iterable[str]) -> str:
        return ",\n".join(items)

    cases = []
    for case in figures["cases"]:
        commands = lines(f"{json.dumps(name)}: {json.dumps(kept)}" for name, kept in case["commands"].items())
        rest = json.dumps({name: value for name, value in case.items() if name != "commands"})
        cases.append(f'{rest[:-1]}, "commands": {{\n{commands}}}}}')
    targets = lines(map(json.dumps, figures["targets"]))
    machine = json.dumps(figures["machine"])
    return f'{{"machine": {machine},\n"cases": [\n{lines(cases)}],\n"targets": [\n{targets}]}}\n'


def machine(folder: Path) -> dict[str, Any]:
    """What the figures depend on."""
    listed = subprocess.run(
        ["stat", "--file-system", "--format=%T", folder], capture_output=True, text=True, check=False
    )
    cat = subprocess.run(["cat", "--version"], capture_output=True, text=True, check=False)
    return {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "kernel": platform.release(),
        "processor": platform.machine(),
        "file system": listed.stdout.strip(),
        "python": platform.python_version(),
        "cat": (cat.stdout.splitlines() or [""])[0],
    }
