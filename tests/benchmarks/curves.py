"""A picture of how seconds grow with inputs, both axes logarithmic: the same bytes for the same figures."""

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

INK = "#808890"
"""Grey that reads on white and on black: a picture has no ground of its own."""
_COLOURS = ("#2f81f7", "#d29922", "#3fb950", "#db61a2")
_LEFT, _TOP, _WIDTH, _HEIGHT, _LABELS = 60, 10, 440, 330, 240
"""Of the plot; and the width of what is written beside it."""
_ROW = 15

Curve = list[tuple[int, float]]
"""Inputs and seconds."""


def drawing(figures: Mapping[str, Any]) -> str:
    """A line for each case of `report.as_json` whose commands are counts of inputs; a tree's is dashed."""
    curves = {
        case["name"].partition(": ")[2]: [
            (int(count.replace(",", "")), statistics.median(command["seconds"]))
            for count, command in case["commands"].items()
        ]
        for case in figures["cases"]
    }
    points = [point for curve in curves.values() for point in curve]
    across = _Axis([inputs for inputs, _ in points], _LEFT, _WIDTH)
    up = _Axis([seconds for _, seconds in points], _TOP + _HEIGHT, -_HEIGHT)
    width, height = _LEFT + _WIDTH + _LABELS, _TOP + _HEIGHT + 45
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" fill="{INK}"'
    head += f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, *_grid(across, up), *_lines(curves, across, up), "</svg>", ""])


class _Axis:
    """A logarithmic axis over whole decades."""

    def __init__(self, values: list[float], start: float, length: float) -> None:
        self._low = math.floor(math.log10(min(values)))
        self._high = max(math.ceil(math.log10(max(values))), self._low + 1)
        self._start = start
        self._length = length

    def place(self, value: float) -> float:
        """Where a value is drawn."""
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return round(self._start + self._length * share, 1)

    def decades(self) -> Iterator[float]:
        """The powers of ten on it."""
        return (10.0**power for power in range(self._low, self._high + 1))


def _grid(across: _Axis, up: _Axis) -> Iterator[str]:
    bottom, right = _TOP + _HEIGHT, _LEFT + _WIDTH
    for inputs in across.decades():
        x = across.place(inputs)
        yield f'<path d="M{x} {_TOP}V{bottom}" stroke="{INK}" stroke-opacity="0.3"/>'
        yield f'<text x="{x}" y="{bottom + 17}" text-anchor="middle">{inputs:,.0f}</text>'
    for seconds in up.decades():
        y = up.place(seconds)
        yield f'<path d="M{_LEFT} {y}H{right}" stroke="{INK}" stroke-opacity="0.3"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{seconds:g} s</text>'
    yield f'<text x="{_LEFT + _WIDTH // 2}" y="{bottom + 36}" text-anchor="middle">inputs</text>'


def _lines(curves: Mapping[str, Curve], across: _Axis, up: _Axis) -> Iterator[str]:
    """The curves, each place in its colour, and their names from the highest end to the lowest."""
    places = list(dict.fromkeys(_place(name) for name in curves))
    ends = sorted(curves, key=lambda name: -curves[name][-1][1])
    for name, curve in curves.items():
        colour = _COLOURS[places.index(_place(name)) % len(_COLOURS)]
        corners = " ".join(f"{across.place(inputs)},{up.place(seconds)}" for inputs, seconds in curve)
        dashes = "" if name.endswith("flat") else ' stroke-dasharray="6 4"'
        yield f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
        for inputs, seconds in curve:
            yield f'<circle cx="{across.place(inputs)}" cy="{up.place(seconds)}" r="3" fill="{colour}"/>'
        y = _TOP + 12 + _ROW * ends.index(name)
        x = _LEFT + _WIDTH + 12
        yield f'<path d="M{x} {y - 4}h24" stroke="{colour}" stroke-width="2"{dashes}/>'
        yield f'<text x="{x + 30}" y="{y}">{escape(name)}</text>'


def _place(name: str) -> str:
    return name.rpartition(", ")[0]
