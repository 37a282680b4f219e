"""What joins of many files on OSS ask for, computed: `python tests/support/pages scale` prints it."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from aggregation import tree
from aggregation.stores.oss import parts
from aggregation.stores.oss.bucket import PUT_MAX
from aggregation.stores.oss.joining import WORTH
from aggregation.stores.oss.listing import PAGE
from aggregation.stores.oss.sources import LIST_FROM
from manifests.shapes.plan import NODES_MAX, PODS_PER_WORKFLOW

KIB, MIB = 2**10, 2**20
REQUESTS_A_SECOND = 2_000
"""What OSS allows an account for names that follow one another."""

_SIZES = (4 * KIB, MIB)
_COUNTS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
_FLAT_MAX = 100_000
_FAN_INS = (64, 1_000)


class Cost(NamedTuple):
    """Requests by their billing class, and bytes down and up through a pod."""

    put: int = 0
    """Writes, copies and listings."""
    get: int = 0
    moved: int = 0

    def plus(self, other: "Cost", times: int = 1) -> "Cost":
        """This, and the other so many times."""
        return Cost(*(mine + times * theirs for mine, theirs in zip(self, other, strict=True)))


def join_cost(sizes: Sequence[int]) -> Cost:
    """What one join on OSS costs."""
    plan = parts.plan(sizes, [True] * len(sizes))
    short = sum(size < parts.PART_MIN for size in sizes) if len(sizes) >= LIST_FROM else 0
    looks = Cost(put=-(-len(sizes) // PAGE) if len(sizes) >= LIST_FROM else 0, get=len(sizes) - short)
    total = sum(sizes)
    if total <= PUT_MAX and parts.copied_size(plan) < WORTH:
        return looks.plus(Cost(put=1, get=len(sizes), moved=2 * total))
    return looks.plus(_upload_cost(plan))


def _upload_cost(join: parts.Join) -> Cost:
    cost = Cost(put=2)  # begun and completed
    for part in join.parts:
        if isinstance(part, parts.Copy):
            cost = cost.plus(Cost(put=1))
        elif isinstance(part, parts.Relay):
            size = sum(piece.size for piece in part.ranges)
            cost = cost.plus(Cost(put=1, get=len(part.ranges), moved=2 * size))
        else:  # an object in between: made, looked at, copied, removed
            cost = cost.plus(_upload_cost(part)).plus(Cost(put=1, get=1))
    return cost


LOOKS_OF_A_MERGE = Cost(put=4, get=1)
"""What merge.py asks for besides: whether there is a file more, and leftovers, by listings."""


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
        seconds = (self.cost.put + self.cost.get) / REQUESTS_A_SECOND
        found.append(f"a bucket's {REQUESTS_A_SECOND:,} requests a second: {_duration(seconds)} at least")
        return "; ".join(found)


def rows() -> Iterator[Row]:
    """Each size, each count, each shape that makes sense for it."""
    for size in _SIZES:
        for files in _COUNTS:
            shapes = [0, *_FAN_INS] if files <= _FLAT_MAX else _FAN_INS
            yield from (_row(files, size, fan_in) for fan_in in shapes if fan_in < files)


def _row(files: int, size: int, fan_in: int) -> Row:
    widths = [files]
    while fan_in and widths[-1] > fan_in:
        widths = tree.widths(files, fan_in, len(widths))
    cost, full, last = Cost(), size, size  # bytes of a level's files, and of its last
    for width, groups in pairwise(widths):
        short = width - (groups - 1) * fan_in
        cost = cost.plus(join_cost([full] * fan_in), groups - 1).plus(
            join_cost([full] * (short - 1) + [last])
        )
        last = (short - 1) * full + last
        full *= fan_in
    merge = join_cost([full] * (widths[-1] - 1) + [last])
    cost = cost.plus(merge).plus(LOOKS_OF_A_MERGE)
    return Row(files, size, fan_in, sum(widths[1:]) + 1, cost)


@cache
def table() -> str:
    """The table of docs/scale.md."""
    head = ["Files", "Shape", "Pods", "Workflows", "PUT-type requests", "GET-type requests"]
    head += ["Bytes through pods", "Limits"]
    lines = [head, ["---"] * len(head)]
    for row in rows():
        cells = [f"{row.files:,} x {_bytes(row.size)}", f"fan-in {row.fan_in:,}" if row.fan_in else "flat"]
        cells += [f"{count:,}" for count in (row.pods, row.workflows, row.cost.put, row.cost.get)]
        lines.append([*cells, _bytes(row.cost.moved), row.limits])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < KIB:
            return f"{count:.3g} {unit}"
        count /= KIB
    return f"{count:.3g} TiB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
