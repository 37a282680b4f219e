"""What a join will cost on OSS, by the plan that the join itself follows. Arithmetic only."""

from collections.abc import Sequence
from typing import NamedTuple

from aggregation.shape import Service

from . import parts
from .parts import Copy, Join, Part, Relay

WORK_SECONDS = 0.0003
"""Of a process for a request, besides the time that it waits: threads do that work in turns."""


class Cost(NamedTuple):
    """Requests by the classes in which OSS charges them, and bytes through the pod."""

    gets: int = 0
    """GET-type: GetObject, HeadObject."""
    puts: int = 0
    """PUT-type: all others, listings too."""
    down: int = 0
    up: int = 0
    rounds: int = 0
    """How many answers are waited for one after the other."""

    @property
    def requests(self) -> int:
        """All of them."""
        return self.gets + self.puts

    def plus(self, other: "Cost", times: int = 1) -> "Cost":
        """This and the other, so many times, one after the other."""
        return Cost(*(mine + times * its for mine, its in zip(self, other, strict=True)))

    def seconds(self, service: Service, pods: int = 1) -> float:
        """How long a pod needs, if this is what so many pods ask for, and `rounds` of one."""
        alone = (self.requests * WORK_SECONDS + (self.down + self.up) / service.bandwidth) / pods
        return service.start + self.rounds * service.latency + alone


def head(count: int = 1) -> Cost:
    """Look-ups, one after the other."""
    return Cost(gets=count, rounds=count)


def listing(names: int) -> Cost:
    """A listing of so many names."""
    pages = max(1, -(-names // parts.PAGE))
    return Cost(puts=pages, rounds=pages)


def written(size: int) -> Cost:
    """One PUT."""
    return Cost(puts=1, up=size, rounds=1)


def join(sizes: Sequence[int], parallel: int, listed: int | None = None) -> Cost:
    """A join of objects of these sizes, so many requests at a time.

    `listed` is how many names of their folder a listing of them reads; None: those of them alone.
    """
    cost, unknown = _look_up(sizes, parallel, len(sizes) if listed is None else listed)
    plan = parts.strategy(sizes, [True] * len(sizes))
    if plan is None:
        total = sum(sizes)
        fetched = sum(1 for size in sizes if size)
        return cost.plus(Cost(fetched, 1, total, total, -(-fetched // parallel) + 1))
    made = _made(plan, parallel)
    cut = _cut_short(plan, sizes, unknown)
    return cost.plus(made).plus(Cost(gets=cut, rounds=1 if cut else 0))


def _look_up(sizes: Sequence[int], parallel: int, listed: int) -> tuple[Cost, bool]:
    """The cost of the sizes; whether those of short sources came by a listing, without their states."""
    if len(sizes) < parts.LIST_FROM:
        return Cost(gets=len(sizes), rounds=-(-len(sizes) // parallel)), False
    heads = sum(1 for size in sizes if not 0 < size < parts.PART_MIN)
    most = parts.PAGE + 2 * len(sizes)
    return listing(min(listed, most)).plus(Cost(gets=heads, rounds=-(-heads // parallel))), True


def _made(plan: Join, parallel: int) -> Cost:
    """An object by multipart upload: begun, its parts, completed."""
    cost = Cost(puts=2, rounds=2 + 2 * -(-len(plan.parts) // parallel))
    for part in plan.parts:
        cost = cost.plus(_part(part, parallel))
    return cost


def _part(part: Part, parallel: int) -> Cost:
    if isinstance(part, Copy):
        return Cost(puts=1)
    if isinstance(part, Relay):
        size = sum(piece.size for piece in part.ranges)
        return Cost(len(part.ranges), 1, size, size)
    # An intermediate object: looked up when it is made, copied, and deleted.
    return _made(part, parallel).plus(Cost(gets=1, puts=2, rounds=2))


def _cut_short(plan: Join, sizes: Sequence[int], unknown: bool) -> int:  # noqa: FBT001 - arithmetic
    """Sources without a state of which a part takes a piece: they are looked up, for their ETag."""
    if not unknown:
        return 0
    cut: set[int] = set()
    waiting: list[Part] = list(plan.parts)
    while waiting:
        part = waiting.pop()
        if isinstance(part, Join):
            waiting.extend(part.parts)
        elif isinstance(part, Relay):
            cut |= {piece.source for piece in part.ranges if piece.size != sizes[piece.source]}
        else:
            cut.add(part.range.source)
    return sum(1 for number in cut if 0 < sizes[number] < parts.PART_MIN)
