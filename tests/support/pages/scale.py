"""What joins of many files on OSS ask for, computed: `python tests/support/pages scale` prints it."""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from aggregation import cost, tree, units
from aggregation.shape import Service, Shape
from aggregation.stores.oss import parts
from aggregation.stores.oss.forecast import Cost
from manifests.shapes.plan import NODES_MAX, PODS_PER_WORKFLOW

KIB, MIB = 2**10, 2**20
REQUESTS_A_SECOND = round(Service().limit)
"""What OSS allows an account for names that follow one another."""

_SIZES = (4 * KIB, MIB)
_COUNTS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
_FLAT_MAX = 100_000
_FAN_INS = (64, 1_000)


class Row(NamedTuple):
    """A line of the table."""

    files: int
    size: int
    fan_in: int
    """0: flat."""
    pods: int
    cost: Cost

    @property
    def workflows(self) -> int:
        """How many it takes, children included."""
        return 1 if self.pods <= PODS_PER_WORKFLOW else 1 + -(-self.pods // PODS_PER_WORKFLOW)

    @property
    def limits(self) -> str:
        """What stands in the way, or sets the pace."""
        found = []
        if self.files * self.size > parts.PARTS_MAX * parts.PART_MAX:
            found.append("48.8 TB an object")
        if not self.fan_in and self.size >= parts.PART_MIN and self.files > parts.PARTS_MAX:
            found.append("10,000 parts: objects in between")
        if self.workflows > 1:
            found.append(f"{PODS_PER_WORKFLOW:,} pods a workflow: children")
        if 2 * self.workflows > NODES_MAX:
            found.append("a workflow's size")
        seconds = self.cost.requests / REQUESTS_A_SECOND
        found.append(f"a bucket's {REQUESTS_A_SECOND:,} requests a second: {units.about(seconds)} at least")
        return "; ".join(found)


def rows() -> Iterator[Row]:
    """Each size, each count, each shape that makes sense for it."""
    for size in _SIZES:
        for files in _COUNTS:
            shapes = [0, *_FAN_INS] if files <= _FLAT_MAX else _FAN_INS
            yield from (_row(files, size, fan_in) for fan_in in shapes if fan_in < files)


def _row(files: int, size: int, fan_in: int) -> Row:
    levels = 0
    while fan_in and tree.widths(files, fan_in, levels)[-1] > fan_in:
        levels += 1
    found = cost.foresee(Shape(files, fan_in or 2, levels), size)
    return Row(files, size, fan_in, sum(part.pods for part in found.parts), found.total)


@cache
def table() -> str:
    """The table of docs/scale.md."""
    head = ["Files", "Shape", "Pods", "Workflows", "PUT-type requests", "GET-type requests"]
    head += ["Bytes through pods", "Limits"]
    lines = [head, ["---"] * len(head)]
    for row in rows():
        cells = [f"{row.files:,} x {_bytes(row.size)}", f"fan-in {row.fan_in:,}" if row.fan_in else "flat"]
        cells += [f"{count:,}" for count in (row.pods, row.workflows, row.cost.puts, row.cost.gets)]
        lines.append([*cells, _bytes(row.cost.down + row.cost.up), row.limits])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < KIB:
            return f"{count:.3g} {unit}"
        count /= KIB
    return f"{count:.3g} TiB"
