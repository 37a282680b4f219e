"""What a tree will cost on OSS before it is run: requests, bytes through pods, time. Pure arithmetic.

It follows the code that plans the parts of each join. All files of level 1 are taken to be of one size, so a
level has one kind of group, and perhaps a shorter last one.
"""

from typing import NamedTuple

from . import levels, tree
from .shape import Service, Shape
from .stores.oss import forecast
from .stores.oss.forecast import Cost
from .stores.oss.parts import LIST_FROM


class Part(NamedTuple):
    """A level, or the final merge: pods that run side by side."""

    name: str
    pods: int
    cost: Cost
    """Of all its pods; `rounds` of one."""


class Figures(NamedTuple):
    """What a part, or the whole, asks for."""

    cost: Cost
    seconds: float
    rate: float
    """Requests a second where most are sent, if the bucket took them all."""


class Forecast(NamedTuple):
    """What a tree costs."""

    parts: list[Part]

    @property
    def total(self) -> Cost:
        """Of all parts."""
        total = Cost()
        for part in self.parts:
            total = total.plus(part.cost)
        return total

    def figures(self, service: Service, at_a_time: int) -> list[Figures]:
        """Of each part, then of the whole: from the first step to the last one's end, without pods' start."""
        free = service._replace(limit=float("inf"))
        found = [
            Figures(
                part.cost,
                _seconds(part, service, at_a_time),
                part.cost.requests / _seconds(part, free, at_a_time),
            )
            for part in self.parts
        ]
        most = max(each.rate for each in found)
        return [*found, Figures(self.total, sum(each.seconds for each in found), most)]


def foresee(shape: Shape, size: int, parallel: int = 128) -> Forecast:
    """The cost of a tree whose files of level 1 have this size, by process.py and merge.py of a named run.

    `parallel` is how many requests a pod has under way at a time. merge.py is told its level.
    """
    widths = shape.widths()
    total = shape.files * size
    parts = []
    for level, width in enumerate(widths[:-1], start=1):
        each = size * shape.fan_in ** (level - 1)
        parts.append(_level(level, width, shape.fan_in, each, total, parallel))
    last = len(widths)
    each = size * shape.fan_in ** (last - 1)
    cost = forecast.join(_sizes(range(widths[-1]), each, total), parallel)
    cost = cost.plus(_checks(last, widths[-1])).plus(forecast.listing(0), 2)  # what dead pods left
    parts.append(Part("merge", 1, cost))
    return Forecast(parts)


def _level(level: int, width: int, fan_in: int, each: int, total: int, parallel: int) -> Part:
    groups = tree.group_count(width, fan_in)
    known: dict[tuple[int, int, int], Cost] = {}
    cost = Cost()
    for number in range(groups):
        group = tree.group(number, fan_in, width)
        sizes_end = min(each * group.stop, total) - each * group.start
        read = _names_read(group, width) if len(group) >= LIST_FROM else 0
        kind = (len(group), sizes_end, read)
        if kind not in known:
            known[kind] = forecast.join(_sizes(group, each, total), parallel, read)
        cost = cost.plus(known[kind])
    last = tree.group(groups - 1, fan_in, width)
    cost = cost.plus(_checks(level, len(last)))
    rounds = max((one.rounds for one in known.values()), default=0)
    return Part(f"l{level}", groups, cost._replace(rounds=rounds))


def _checks(level: int, count: int) -> Cost:
    """What looks before a join whether the level holds what it should."""
    cost = forecast.head() if level == 1 else Cost()
    return cost.plus(forecast.listing(count)) if count > levels.MANY else cost


def _sizes(group: range, each: int, total: int) -> list[int]:
    return [max(0, min(each, total - each * number)) for number in group]


def _names_read(group: range, width: int) -> int:
    """How many names of a level's listing are read from the group's first to its last: numbers as text."""
    ends = [group.start, group.stop - 1]
    borders = [10**digits for digits in range(1, len(str(width)))]
    names = [str(n) for n in (*ends, *borders, *(border - 1 for border in borders)) if n in group]
    low, high = min(names), max(names)
    found = 0
    for digits in range(1, len(str(width - 1)) + 1):
        least = 10 ** (digits - 1) if digits > 1 else 0
        # A name comes before those that it begins.
        first = max(int(low[:digits].ljust(digits, "0")) + (digits < len(low)), least)
        last = min(int(high[:digits].ljust(digits, "0")) - (digits > len(high)), width - 1)
        found += max(0, last - first + 1)
    last_of_all = max(str(width - 1), *(str(border - 1) for border in borders), "0")
    return found + (high != last_of_all)  # the one by which the end is known


def _seconds(part: Part, service: Service, at_a_time: int) -> float:
    """Of one part: its pods in turns, or as long as the bucket takes for its requests."""
    turns = -(-part.pods // at_a_time)
    return max(turns * part.cost.seconds(service, part.pods), part.cost.requests / service.limit)
