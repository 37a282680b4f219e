"""A run as it looks on a terminal: the tree of its steps in the manner of `argo get`, and a bar on the way.

rich draws both. It takes 30 ms to import: only pipeline.py loads this module, when it has something to draw.
"""

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Column
from rich.text import Text
from rich.theme import Theme
from rich.tree import Tree

from . import units
from .report import table
from .runner import Run
from .shape import Stage

_SHOWN = 20
"""A stage of more steps is folded: this many are shown, the first half of them and the last."""

_WIDE = 10_000
"""Columns of a drawn tree at most. A terminal breaks lines that are too long for it; rich would cut them."""

_DIM = "dim"

_BAR_STYLES = {
    "bar.complete": "green",
    "bar.finished": "green",
    "bar.pulse": "green",
    "progress.percentage": "none",
    "progress.remaining": "none",
    "progress.elapsed": "none",
}
"""The tree's colours for rich's bar, which has five of its own."""


class _ArgoTree(Tree):
    """A tree with guides of two columns, as `argo get` draws them; rich's have four."""

    ASCII_GUIDES = ("  ", "| ", "|-", "`-")
    TREE_GUIDES = [("  ", "│ ", "├─", "└─")]  # noqa: RUF012 - a list, as rich declares it


class _Marks(NamedTuple):
    """What rich does not draw of `argo get`'s tree: how a step looks, and how the first of a stage begins."""

    done: str
    fork: str
    single: str
    dots: str


_UNICODE = _Marks("✔", "┬─", "──", "…")
_ASCII = _Marks("*", "+-", "--", "...")


class _Row(NamedTuple):
    label: Text
    command: str = ""
    duration: str = ""
    message: str = ""


def tree_lines(title: str, stages: list[Stage], seconds: float, *, unfold: bool) -> list[str]:
    """The stages and their steps, a line each, with durations; long stages are folded unless `unfold`.

    The lines are what stdout can show: in colours on a terminal that has them, where NO_COLOR does not forbid
    them; in ASCII unless its encoding is UTF-8.
    """
    out = Console(file=sys.stdout, width=_WIDE, highlight=False, markup=False, emoji=False)
    marks = _ASCII if out.options.ascii_only else _UNICODE
    root = _Row(_label(marks, title), "", units.duration(seconds))
    rows = [root]
    tree = _ArgoTree(root.label, guide_style=_DIM)
    for stage in stages:
        first, *others = _stage_rows(stage, marks, unfold=unfold)
        rows += [first, *others]
        node = tree.add(first.label)
        for row in others:
            node.add(row.label)
    drawn = [[Segment(" "), *line] for line in out.render_lines(tree, pad=False)]
    names = ["".join(segment.text for segment in line) for line in drawn]
    cells = [(name, *row[1:]) for name, row in zip(names, rows, strict=True)]
    head, *lines = table([("STEP", "COMMAND", "DURATION", "MESSAGE"), *cells], "<<>")
    segments = [Segment(head, Style(bold=True)), Segment.line()]
    for line, name, styled in zip(lines, names, drawn, strict=True):
        segments += [*styled, Segment(line.removeprefix(name)), Segment.line()]
    out.file = drawn_as_text = io.StringIO()  # rich's own capture writes to stdout too, which may be full
    out.print(Segments(segments), soft_wrap=True, end="")
    return drawn_as_text.getvalue().splitlines()


def _label(marks: _Marks, name: str, lead: str = "") -> Text:
    return Text.assemble((lead, _DIM), (marks.done, "green"), f" {name}")


def _stage_rows(stage: Stage, marks: _Marks, *, unfold: bool) -> Iterator[_Row]:
    count = len(stage.steps)
    folded = range(0) if unfold or count <= _SHOWN else range(_SHOWN // 2, count - _SHOWN // 2)
    for index, step in enumerate(stage.steps):
        if index in folded:
            if index == folded.start:
                hidden = stage.steps[folded.start : folded.stop]
                spent = units.duration(sum(each.seconds for each in hidden), " ")
                kept = sum(each.kept for each in hidden)
                text = f"{marks.dots} {len(hidden)} more, {spent}"
                yield _Row(Text.assemble((text, _DIM)), message=f"{kept} kept" if kept else "")
            continue
        lead = "" if index else marks.fork if count > 1 else marks.single
        name = f"{stage.name}({index})" if count > 1 else stage.name
        message = "kept" if step.kept else ""
        yield _Row(_label(marks, name, lead), step.command, units.duration(step.seconds), message)


class _MovedColumn(ProgressColumn):
    """How much has gone through the steps, and how fast: of late, and in the end on the whole."""

    def render(self, task: Task) -> Text:
        """`1.2 GiB, 480 MiB/s`."""
        moved: int = task.fields["moved"]
        if task.finished_time is not None:
            rate = units.rate(moved, task.finished_time)
        else:
            rate = units.rate(moved, moved / task.speed) if task.speed else None
        return Text(", ".join(filter(None, [units.size(moved), rate])))


@contextmanager
def bar() -> Iterator[Callable[[Run], None]]:
    """A bar on stderr. What it gives is called with the run, again and again, and draws how far that is."""
    with Progress(
        TextColumn("{task.description}"),
        # The one that a narrow terminal shortens.
        BarColumn(bar_width=None, table_column=Column(max_width=40)),
        TaskProgressColumn(),
        _MovedColumn(Column(no_wrap=True)),
        TimeRemainingColumn(elapsed_when_finished=True, table_column=Column(no_wrap=True)),
        console=Console(stderr=True, theme=Theme(_BAR_STYLES)),
        auto_refresh=False,  # a thread of its own would draw on while a signal ends the run
        redirect_stdout=False,  # a command prints past Python: nothing to redirect
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task("pipeline", total=None, moved=0)

        def show(run: Run) -> None:
            progress.update(
                task,
                description=run.stand.name,
                total=run.total or None,
                completed=run.done,
                moved=run.done,
                refresh=True,
            )

        yield show
        if progress.tasks[0].total is None:  # all files are empty
            progress.update(task, total=1, completed=1)
        progress.update(task, description="pipeline")
