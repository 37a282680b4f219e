"""How a run of the whole tree looks on a terminal, in the manner of `argo get`."""

from collections.abc import Iterator
from typing import NamedTuple

from .runner import Stage

_SHOWN = 32
"""A stage of more steps shows its first and last few only."""
_EDGE = 3


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


def tree_lines(title: str, stages: list[Stage], seconds: float, *, unicode: bool) -> list[str]:
    """The stages and their steps, a line each, with durations; plain ASCII unless `unicode`."""
    lines = _UNICODE if unicode else _ASCII
    rows = [
        _Row("STEP", "COMMAND", "DURATION", "MESSAGE"),
        _Row(f" {lines.done} {title}", "", _duration(seconds)),
    ]
    for stage in stages:
        rows.extend(_stage_rows(stage, lines, final=stage is stages[-1]))
    wide = max(len(row.step) for row in rows)
    long = max(len(row.command) for row in rows)
    return [
        f"{row.step:<{wide}}  {row.command:<{long}}  {row.duration:>8}  {row.message}".rstrip()
        for row in rows
    ]


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


def first_bytes(data: bytes, size: int) -> str:
    """The start of a result for a person, in one line: text where it is text, hexadecimal digits elsewhere."""
    text = data.decode("latin-1")
    is_text = text.isascii() and text.replace("\n", "").replace("\t", "").isprintable()
    shown = text.replace("\n", "\\n").replace("\t", "\\t") if is_text else data.hex(" ")
    return f"{shown} ..." if size > len(data) else shown
