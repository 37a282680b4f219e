"""What pipeline.py says in plain lines: how far a run is, how its result begins."""

import time
from collections.abc import Iterator, Sequence

from . import units
from .runner import Run

_LINE_SECONDS = 60.0
"""Without a word for so long a log looks dead."""


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
            yield f"{stage.name}: {done}, {units.duration(stage.seconds)}; {_percent(run)}"
            self._shown += 1
            self._last = now
        if now - self._last >= _LINE_SECONDS:
            stand = run.stand
            so_far = f"{_percent(run)} after {now - self._began:.0f}s"
            yield f"{stand.name}: {stand.done} of {stand.steps} steps; {so_far}"
            self._last = now


def _percent(run: Run) -> str:
    return f"{100 * run.done // run.total if run.total else 0}% of the whole"


def first_bytes(data: bytes, size: int) -> str:
    """The start of a result in one line: text where it is text, hexadecimal digits where it is not."""
    text = data.decode("latin-1")
    is_text = text.isascii() and text.replace("\n", "").replace("\t", "").isprintable()
    shown = text.replace("\n", "\\n").replace("\t", "\\t") if is_text else data.hex(" ")
    return f"{shown} ..." if size > len(data) else shown
