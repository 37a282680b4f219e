"""A picture of what was measured: an SVG, the same bytes for the same figures."""

# mypy: disable-error-code="import-not-found"

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.runner import Outcome

_INK = "#808890"
"""Grey that reads on white and on black: the picture has no ground of its own."""
_OURS, _THEIRS = "#2f81f7", "#9da7b1"

mpl.rcParams.update(
    {
        "svg.hashsalt": "aggregation",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
    }
)


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """A group of bars for each case that is drawn, to its own scale; medians and ratios stand beside them."""
    outcomes = [outcome for outcome in outcomes if outcome.case.drawn]
    heights = [len(outcome.runs) + 1 for outcome in outcomes]
    figure = Figure(figsize=(7, 0.24 * sum(heights)), layout="constrained")
    areas = figure.subplots(len(outcomes), squeeze=False, height_ratios=heights)
    for (area,), outcome in zip(areas, outcomes, strict=True):
        names = list(outcome.runs)
        medians = [outcome.spread(name, "seconds").median for name in names]
        colours = [_OURS if name.endswith(".py") or "worker" in name else _THEIRS for name in names]
        bars = area.barh(names, medians, color=colours, height=0.7)
        ratios = [outcome.ratio(name, outcome.case.reference) for name in names]
        labels = [f"{time_text(s)} ({r:.2g} x)" for s, r in zip(medians, ratios, strict=True)]
        area.bar_label(bars, labels, padding=3, color=_INK)
        area.set_title(outcome.case.name.partition(": ")[2], loc="left", fontsize=9)
        area.margins(x=0.25)
        area.invert_yaxis()
        area.xaxis.set_visible(False)
        area.tick_params(length=0)
        area.spines[["top", "right", "bottom"]].set_visible(False)
    figure.savefig(path, transparent=True, metadata={"Date": None})


def time_text(seconds: float) -> str:
    """A duration in two digits: 0.31 ms, 97 ms, 1.5 s."""
    return f"{1000 * seconds:.2g} ms" if seconds < 0.0995 else f"{seconds:.2g} s"
