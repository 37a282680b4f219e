"""The drawings of the pages, for a light ground and for a dark one: always the same bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from pages import figures
from scripts import REPOSITORY

FOLDER = REPOSITORY / "docs" / "pictures"


class Palette(NamedTuple):
    """The colours of a drawing, which has no ground of its own."""

    ink: str
    faint: str
    line: str
    file: str
    result: str
    theirs: str


PALETTES = {
    "light": Palette("#1f2328", "#59636e", "#8c959f", "#0969da", "#1a7f37", "#afb8c1"),
    "dark": Palette("#f0f6fc", "#9198a1", "#656c76", "#4493f8", "#3fb950", "#59636e"),
}
_WIDTH = 800
_FONT = 'font-family="-apple-system, Segoe UI, Helvetica, Arial, sans-serif"'


class _Drawing:
    """Shapes and words, one under the other."""

    def __init__(self, title: str, about: str, height: int) -> None:
        self._head = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" {_FONT}>',
            f"  <title>{escape(title)}</title>",
            f"  <desc>{escape(about)}</desc>",
        ]
        self._body: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A filled box with round corners."""
        self._body.append(
            f'  <rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3" fill="{colour}"/>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str) -> None:
        """A thin line."""
        self._body.append(
            f'  <path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" stroke="{colour}" stroke-width="1.5" fill="none"/>'
        )

    def word(
        self, x: float, y: float, text: str, colour: str, *, size: int, bold: bool = False, end: bool = False
    ) -> None:
        """A line of words, from its start on or up to its end."""
        more = (' font-weight="600"' if bold else "") + (' text-anchor="end"' if end else "")
        self._body.append(
            f'  <text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}"{more}>{escape(text)}</text>'
        )

    def text(self) -> str:
        """The whole drawing."""
        return "\n".join([*self._head, *self._body, "</svg>", ""])


def pipeline(colours: Palette) -> str:
    """The tutorial's pipeline: 32 files, 16, 8, one result, and the command of each step."""
    drawing = _Drawing(
        "The pipeline",
        "32 files of level 1 are joined in pairs into 16 files of level 2, these into 8 of level 3, "
        "and merge.py joins those 8, in numeric order, into result.txt.",
        386,
    )
    left, width, size, step = 140.0, 440.0, 28.0, 108.0
    levels = [("level 1", 32), ("level 2", 16), ("level 3", 8), ("result.txt", 1)]
    steps = ["process.py x 16", "process.py x 8", "merge.py x 1"]
    places: list[list[float]] = []
    for row, (name, count) in enumerate(levels):
        y = 16 + row * step
        pitch = width / count
        box = min(pitch * 0.72, 60.0) if count > 1 else 200.0
        places.append([left + (number + 0.5) * pitch for number in range(count)])
        if row:
            _lines(drawing, colours, places[row - 1], places[row], y - step + size, y)
        for x in places[row]:
            drawing.box(x - box / 2, y, box, size, colours.result if count == 1 else colours.file)
        drawing.word(0, y + 14, name, colours.ink, size=26, bold=True)
        drawing.word(0, y + 42, f"{count} file{'s' if count > 1 else ''}", colours.faint, size=24)
        if row < len(steps):
            drawing.word(_WIDTH, y + size + step * 0.42, steps[row], colours.ink, size=26, end=True)
    return drawing.text()


def _lines(
    drawing: _Drawing, colours: Palette, above: list[float], below: list[float], y1: float, y2: float
) -> None:
    each = len(above) // len(below)
    for number, x in enumerate(above):
        drawing.line(x, y1 + 2, below[number // each], y2 - 2, colours.line)


def bars(colours: Palette) -> str:
    """The README's three figures: our time beside another's, each pair to its own scale."""
    found = figures.comparisons()
    drawing = _Drawing(
        "Three measurements",
        "; ".join(f"{each.what}: {each.ours} beside {each.theirs}: {each.words}" for each in found),
        len(found) * 120,
    )
    left, width = 250.0, 300.0
    for row, each in enumerate(found):
        y = row * 120.0
        longest = max(1.0, each.ratio)
        drawing.word(0, y + 26, f"{each.title}: {each.what}", colours.ink, size=26, bold=True)
        for place, (name, share, colour) in enumerate(
            [(each.ours, 1 / longest, colours.file), (each.theirs, each.ratio / longest, colours.theirs)]
        ):
            top = y + 42 + place * 32
            drawing.word(left - 14, top + 19, name, colours.faint, size=24, end=True)
            drawing.box(left, top, max(2.0, width * share), 24, colour)
        drawing.word(_WIDTH, y + 61, each.words, colours.ink, size=24, end=True)
    return drawing.text()


DRAWINGS: dict[str, Callable[[Palette], str]] = {"pipeline": pipeline, "figures": bars}


def drawn() -> dict[Path, str]:
    """Every drawing on every ground, by its file."""
    return {
        FOLDER / f"{name}-{ground}.svg": draw(colours)
        for name, draw in DRAWINGS.items()
        for ground, colours in PALETTES.items()
    }
