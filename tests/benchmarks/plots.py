"""A picture of what was measured: an SVG, the same bytes for the same figures."""

import statistics
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from benchmarks import curves

_OURS, _THEIRS = "#2f81f7", "#9da7b1"
_NAMES, _BARS, _LABELS = 260, 300, 110
"""Widths of the columns."""
_ROW, _BAR, _GAP = 17, 12, 10
"""Heights: a row, its bar, and the space between two cases."""


def drawing(figures: Mapping[str, Any]) -> str:
    """Bars for each case of `report.as_json` that is drawn, to its own scale; medians and ratios beside.

    The family `growth` is drawn as curves.
    """
    if all(case["name"].startswith("growth: ") for case in figures["cases"]):
        return curves.drawing(figures)
    rows: list[str] = []
    bottom = 0
    for case in figures["cases"]:
        if case["drawn"]:
            rows += _case(case, bottom)
            bottom += _ROW * (len(case["commands"]) + 1) + _GAP
    width = _NAMES + _BARS + _LABELS
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{bottom}" fill="{curves.INK}"'
    head += f' viewBox="0 0 {width} {bottom}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, *rows, "</svg>", ""])


def _case(case: Mapping[str, Any], top: int) -> list[str]:
    medians = {name: statistics.median(command["seconds"]) for name, command in case["commands"].items()}
    longest = max(medians.values())
    rows = [f'<text x="{_NAMES}" y="{top + _BAR}">{escape(case["name"].partition(": ")[2])}</text>']
    for number, (name, seconds) in enumerate(medians.items(), start=1):
        y = top + number * _ROW
        long = max(1, round(_BARS * seconds / longest))
        colour = _OURS if name.endswith(".py") or "worker" in name else _THEIRS
        label = f"{time_text(seconds)} ({case['commands'][name]['ratio']:.2g} x)"
        row = f'<text x="{_NAMES - 5}" y="{y + _BAR - 2}" text-anchor="end">{escape(name)}</text>'
        row += f'<rect x="{_NAMES}" y="{y}" width="{long}" height="{_BAR}" fill="{colour}"/>'
        rows.append(row + f'<text x="{_NAMES + long + 5}" y="{y + _BAR - 2}">{label}</text>')
    return rows


def time_text(seconds: float) -> str:
    """A duration in two digits: 0.31 ms, 97 ms, 1.5 s."""
    return f"{1000 * seconds:.2g} ms" if seconds < 0.0995 else f"{seconds:.2g} s"
