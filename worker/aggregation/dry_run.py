"""What --dry-run prints: a table of the levels, with what each moves and, on OSS, asks for. No I/O."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from . import units
from .report import table
from .shape import Service, Shape

if TYPE_CHECKING:
    from .cost import Figures

_OSS_HEAD = ("PUT-TYPE", "GET-TYPE", "THROUGH PODS", "REQUESTS/S", "TIME")


class Outlook(NamedTuple):
    """What is known before a run."""

    size: float | None = None
    """Bytes of a file of level 1, all taken to be of one size."""
    service: Service | None = None
    """The bucket; None where there is none, and where a command does what cannot be foreseen."""
    at_a_time: int = 1
    """Merges that run side by side."""
    parallel: int = 128
    """Requests that a merge has under way."""

    def figures(self, shape: Shape) -> "list[Figures]":
        """What each part of the tree will ask of OSS, and then the whole; nothing where that is not known."""
        if self.service is None or self.size is None:
            return []
        from . import cost  # noqa: PLC0415 - with it comes oss2, which only a root on OSS needs

        return cost.foresee(shape, round(self.size), self.parallel).figures(self.service, self.at_a_time)


def line(shape: Shape, outlook: Outlook) -> list[str]:
    """What the merges of level 1 will ask of OSS, in a line; none where that is not known."""
    figures = outlook.figures(shape)
    if not figures or outlook.service is None:
        return []
    puts, gets, moved, rate, seconds = _asked(figures[0])
    asks = f"{puts} PUT-type and {gets} GET-type requests, {moved} through pods"
    limit = f"up to {rate} requests a second, of the bucket's {outlook.service.limit:,.0f}"
    return [f"on OSS: {asks}; {limit}; about {seconds} {_way(outlook, outlook.service)}"]


class _Row(NamedTuple):
    name: str
    files: str
    merges: int
    times: int
    """How often each byte is written."""
    by: str
    asked: "Figures | None"


def lines(shape: Shape, outlook: Outlook, more: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """What a run of this shape will do, and what a flat merge would.

    `more` has further columns: a cell for each level, for the final merge and for the whole.
    """
    rows = _rows(shape, outlook)
    columns = {name: [*cells, *[""] * len(rows)] for name, cells in (more or {}).items()}
    asks = rows[0].asked is not None
    cells = [("LEVEL", "FILES", "MERGES", *columns, "MOVED", *(_OSS_HEAD if asks else ()), "BY")]
    for index, row in enumerate(rows):
        beside = [column[index] for column in columns.values()]
        moved = _moved(row.times, shape, outlook.size)
        asked = _asked(row.asked) if row.asked else ()
        cells.append((row.name, row.files, f"{row.merges:,}", *beside, moved, *asked, row.by))
    found = table(cells, "<" + ">" * (len(cells[0]) - 2))
    if outlook.service is None:
        return found
    if not asks:
        return [*found, "requests and time follow from the size of a file: --size BYTES"]
    return [*found, *_expected(rows, outlook, outlook.service)]


def _rows(shape: Shape, outlook: Outlook) -> list[_Row]:
    widths = shape.widths()
    unknown: list[Figures | None] = [None] * (len(widths) + 1)
    asked = [*outlook.figures(shape)] or unknown
    rows = []
    for level, merges in enumerate(widths[1:], start=1):
        last = f"process.py {merges - 1} {level}"
        by = f"process.py 0 {level} ... {last}" if merges > 1 else last
        rows.append(_Row(f"l{level}", f"{widths[level - 1]:,}", merges, 1, by, asked[level - 1]))
    level = len(widths)
    rows.append(_Row(f"l{level}", f"{widths[-1]:,}", 1, 1, f"merge.py {widths[-1]}", asked[level - 1]))
    rows.append(_Row("total", "", sum(widths[1:]) + 1, level, "", asked[-1]))
    if shape.levels:
        flat = [*outlook.figures(shape._replace(levels=0))] or unknown
        rows.append(_Row("flat", "", 1, 1, f"merge.py {shape.files} --level 1", flat[-1]))
    return rows


def _moved(times: int, shape: Shape, size: float | None) -> str:
    """Each level and the result are written once, whole."""
    return f"{times} x the data" if size is None else units.size(times * shape.files * size)


def _asked(figures: "Figures") -> tuple[str, ...]:
    cost = figures.cost
    moved = units.size(cost.down + cost.up)
    return f"{cost.puts:,}", f"{cost.gets:,}", moved, f"{figures.rate:,.0f}", units.about(figures.seconds)


def _expected(rows: Sequence[_Row], outlook: Outlook, service: Service) -> list[str]:
    """What the times are of, and whether the bucket takes what is sent."""
    most = max((row.asked.rate for row in rows if row.asked and row.name != "flat"), default=0.0)
    found = [f"times are {_way(outlook, service)}, the start of pods left out"]
    if most > service.limit:
        share = service.limit / outlook.at_a_time
        found.append(
            f"warning: up to {most:,.0f} requests a second, and the bucket takes {service.limit:,.0f}: "
            f"run fewer at a time, or give each --requests-per-second {share:.3g}"
        )
    return found


def _way(outlook: Outlook, service: Service) -> str:
    way = f"{service.latency * 1000:g} ms a request and {units.size(service.bandwidth)}/s"
    return f"with {outlook.at_a_time:,} at a time, {way} each"
