"""How a run of the whole tree looks on a terminal, in the manner of `argo get`."""

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from .runner import Run
from .shape import Shape, Stage

_SHOWN = 32
"""A stage of more steps shows its first and last few only."""
_EDGE = 3

_LINE_SECONDS = 60.0
"""Without a word for so long a log looks dead."""


class _Lines(NamedTuple):
    """The characters of the tree."""

    done: str
    branch: str
    corner: str
    bar: str
    fork: str
    single: str


_UNICODE = _Lines("✔", "├─", "└─", "│ ", "┬─", "──")
_ASCII = _Lines("*", "|-", "`-", "| ", "+-", "--")


class _Row(NamedTuple):
    step: str
    command: str = ""
    duration: str = "DURATION"
    message: str = ""


def table(rows: Sequence[tuple[str, ...]], alignment: str) -> list[str]:
    """The rows in columns as wide as their widest cell, a line each.

    `alignment` has a `<` or `>` for each column; those beyond it are not padded.
    """
    columns = [(index, side, max(len(row[index]) for row in rows)) for index, side in enumerate(alignment)]
    return [
        "  ".join(
            [*(f"{row[index]:{side}{width}}" for index, side, width in columns), *row[len(alignment) :]]
        ).rstrip()
        for row in rows
    ]


def tree_lines(title: str, stages: list[Stage], seconds: float, *, unicode: bool) -> list[str]:
    """The stages and their steps, a line each, with durations; plain ASCII unless `unicode`."""
    lines = _UNICODE if unicode else _ASCII
    rows = [
        _Row("STEP", "COMMAND", "DURATION", "MESSAGE"),
        _Row(f" {lines.done} {title}", "", _duration(seconds)),
    ]
    for stage in stages:
        rows.extend(_stage_rows(stage, lines, final=stage is stages[-1]))
    return table(rows, "<<>")


def _stage_rows(stage: Stage, lines: _Lines, *, final: bool) -> Iterator[_Row]:
    last = len(stage.steps) - 1
    for index, step in enumerate(stage.steps):
        outer = (lines.corner if final else lines.branch) if index == 0 else ("  " if final else lines.bar)
        if len(stage.steps) > _SHOWN and _EDGE <= index <= last - _EDGE:
            if index == _EDGE:
                yield _Row(f" {outer}{lines.bar}... {last + 1 - 2 * _EDGE} more", "", "")
            continue
        if last == 0:
            inner, name = lines.single, stage.name
        else:
            inner = lines.fork if index == 0 else lines.corner if index == last else lines.branch
            name = f"{stage.name}({index})"
        message = "kept" if step.kept else ""
        yield _Row(f" {outer}{inner}{lines.done} {name}", step.command, _duration(step.seconds), message)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.1f}s"


class StageLines:
    """Lines on a run as it goes on, where no terminal shows a bar: one a stage, and one a minute."""

    def __init__(self) -> None:
        self._shown = 0
        self._began = self._last = time.monotonic()

    def due(self, run: Run) -> Iterator[str]:
        """What is to be said now."""
        now = time.monotonic()
        while self._shown < len(run.stages):
            stage = run.stages[self._shown]
            kept = sum(step.kept for step in stage.steps)
            count = f"{len(stage.steps)} {'step' if len(stage.steps) == 1 else 'steps'}"
            done = f"{count}, {kept} of them done before" if kept else count
            yield f"{stage.name}: {done}, {_duration(stage.seconds)}; {_percent(run)}"
            self._shown += 1
            self._last = now
        if now - self._last >= _LINE_SECONDS:
            stand = run.stand
            so_far = f"{_percent(run)} after {now - self._began:.0f}s"
            yield f"{stand.name}: {stand.done} of {stand.steps} steps; {so_far}"
            self._last = now


def _percent(run: Run) -> str:
    return f"{100 * run.done // run.total if run.total else 0}% of the whole"


def plan_lines(shape: Shape, size: int | None) -> list[str]:
    """What a run of this shape will do, and what a flat merge would: merges, and bytes moved.

    `size` is the bytes of level 1, if they are known. Each level and the result are written once, whole.
    """
    widths = shape.widths()
    rows = [("LEVEL", "FILES", "MERGES", "BY")]
    for level, (width, merges) in enumerate(pairwise(widths), start=1):
        last = f"process.py {merges - 1} {level}"
        by = f"process.py 0 {level} ... {last}" if merges > 1 else last
        rows.append((f"l{level}", str(width), str(merges), by))
    rows.append((f"l{len(widths)}", str(widths[-1]), "1", f"merge.py {widths[-1]}"))
    lines = table(rows, "<>>")
    lines.append(f"this tree: {sum(widths[1:]) + 1} merges, {_moved(len(widths), size)}")
    lines.append(f"flat, merge.py {shape.files} --level 1: 1 merge, {_moved(1, size)}")
    return lines


def _moved(times: int, size: int | None) -> str:
    moved = f"the data moved {times} times" if times > 1 else "the data moved once"
    return moved if size is None else f"{moved}: {times * size} bytes"


def first_bytes(data: bytes, size: int) -> str:
    """The start of a result in one line: text where it is text, hexadecimal digits where it is not."""
    text = data.decode("latin-1")
    is_text = text.isascii() and text.replace("\n", "").replace("\t", "").isprintable()
    shown = text.replace("\n", "\\n").replace("\t", "\\t") if is_text else data.hex(" ")
    return f"{shown} ..." if size > len(data) else shown
