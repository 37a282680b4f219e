"""What `make bench` measured, as tables: aims, shapes, and the three figures of the README."""

import json
import statistics
from functools import cache
from typing import Any, NamedTuple

from benchmarks import report
from scripts import REPOSITORY

RESULTS = REPOSITORY / "tests" / "benchmarks" / "results"


class Comparison(NamedTuple):
    """A bar of ours beside a bar of what else people use."""

    title: str
    what: str
    """What was done, as a case of the benchmarks."""
    ours: str
    theirs: str
    ratio: float
    """Their time in units of ours: the median of the rounds."""
    words: str
    """How it compares, in a few words."""


@cache
def results() -> dict[str, Any]:
    """The figures of each family, by its name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))
    }


def targets() -> str:
    """A row for each aim."""
    rows = [report.promise_row(target) for family in results().values() for target in family["targets"]]
    return "\n".join(["| Aim | Measured |", "|---|---|", *rows])


def shapes() -> str:
    """A row for each shape of a tree."""
    head = ["Shape", "Merges", "Volume: time", "Volume: data written"]
    head += ["OSS: time", "OSS: requests", "OSS: bytes through the worker"]
    line = "|".join(["---"] * len(head))
    return "\n".join([f"| {' | '.join(head)} |", f"|{line}|", *report.shape_rows(results()["shapes"])])


def growth() -> str:
    """A row for each place, shape and count of inputs."""
    head = ["Where", "Inputs", "Seconds", "CPU seconds", "Memory", "Requests"]
    lines = [head, ["---"] * len(head)]
    for case in results()["growth"]["cases"]:
        where = case["name"].partition(": ")[2]
        for count, found in case["commands"].items():
            cells = [where, count, f"{statistics.median(found['seconds']):.2f}", f"{found['cpu']:.2f}"]
            requests = f"{found['requests']:,.0f}" if "requests" in found else ""
            lines.append([*cells, f"{found['memory'] / 2**20:.0f} MiB", requests])
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def comparisons() -> list[Comparison]:
    """The three figures that the README shows."""
    return [
        _compare("Two objects on OSS", "oss: 2 x 64 MiB, 20 ms, 50 MB/s", "process.py", "GET and PUT, oss2"),
        _compare(
            "A tree of small files", "tree: 4,096 x 1 KiB, fan-in 2", "pipeline.py", "one process a merge"
        ),
        _compare("Two files on a disk", "concat: 2 x 1 GiB, to the disk", "process.py", "cat, sync"),
    ]


def _compare(title: str, name: str, ours: str, theirs: str) -> Comparison:
    cases = [each for family in results().values() for each in family["cases"]]
    (case,) = [each for each in cases if each["name"] == name]
    assert case["reference"] == theirs, name
    ratio = 1 / case["commands"][ours]["ratio"]
    words = f"{ratio:,.0f} times faster" if ratio >= 2 else f"{1 / ratio:.2f} times the time"
    return Comparison(title, name.partition(": ")[2], ours, theirs, ratio, words)


def three() -> str:
    """The README's table of figures."""
    rows = [
        f"| {each.title}: {each.what} | `{each.ours}` | {each.theirs} | {each.words} |"
        for each in comparisons()
    ]
    return "\n".join(["| What | Here | Beside | Measured |", "|---|---|---|---|", *rows])
