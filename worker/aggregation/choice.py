"""The shape that --shape auto takes: flat as far as one pod goes, else the fan-in that fits into one."""

from collections.abc import Callable
from typing import NamedTuple

from .shape import Service, Shape

COMMAND_FAN_IN = 16
"""Files that a command gets at a time: more gain little, and each merge by a command does real work."""

_KIB, _MIB = 2**10, 2**20

_MEMORY = {True: (128 * _MIB, 52 * _MIB, 5 * _KIB), False: (64 * _MIB, 15 * _MIB, 160)}
"""On OSS or not: bytes of memory that the manifests set aside for a pod, what the worker needs for no file,
and for each one more, as `make bench BENCH=growth` measures them."""

_SECONDS = 3600.0
"""What a pod may take, so that one that is lost on the way costs no more."""

_UNKNOWN_SIZE = 2**20
"""Bytes of a file where they are not known: enough that each is a part of its own."""


class Choice(NamedTuple):
    """A shape, and why it is that one, in a line."""

    shape: Shape
    why: str


class _Room(NamedTuple):
    files: int
    """How many one pod takes."""
    limit: str
    """What allows no more."""


def choose(files: int, size: float | None, service: Service | None, *, by_command: bool) -> Choice:
    """The shape for so many files of this size, on OSS (a service) or on a volume.

    A plain join moves each byte once if it is flat. On a volume no time is looked at: the last merge writes
    all bytes in each shape.
    """
    if by_command:
        room = _Room(COMMAND_FAN_IN, "a command's fan-in")
        at_a_time = f"a command gets {COMMAND_FAN_IN} files at a time"
    else:
        room = _room(size, service)
        at_a_time = f"a pod takes up to {room.files:,} such files ({room.limit})"
    if files <= room.files:
        return Choice(Shape(files, max(2, files), 0), f"flat, one merge of {files:,} files; {at_a_time}")
    levels = 1
    while (fan_in := _root(files, levels + 1)) > room.files:
        levels += 1
    count = f"{levels} {'level' if levels == 1 else 'levels'}"
    return Choice(Shape(files, fan_in, levels), f"fan-in {fan_in:,} and {count}; {at_a_time}")


def _room(size: float | None, service: Service | None) -> _Room:
    """How many files one pod joins, at least 2."""
    given, needed, each = _MEMORY[service is not None]
    room = _Room((given - needed) // each, f"{given // _MIB} MiB of memory")
    if service is None:
        return room
    from .stores.oss import forecast, parts  # noqa: PLC0415 - with it comes oss2, for a root on OSS only

    bytes_each = round(_UNKNOWN_SIZE if size is None else size)
    ceiling = parts.PARTS_MAX if bytes_each >= parts.PART_MIN else room.files  # then each is a part at least

    def is_one_upload(count: int) -> bool:
        """Whether no object in between is needed."""
        plan = parts.strategy([bytes_each] * count, [True] * count)
        return plan is None or not any(isinstance(part, parts.Join) for part in plan.parts)

    def is_quick(count: int) -> bool:
        return forecast.join([bytes_each] * count, parallel=128).seconds(service) <= _SECONDS

    for holds, limit in (
        (is_one_upload, f"{parts.PARTS_MAX:,} parts of an object"),
        (is_quick, f"{_SECONDS / 60:.0f} minutes"),
    ):
        if (most := _most(holds, min(ceiling, room.files))) < room.files:
            room = _Room(most, limit)
    return room


def _most(holds: Callable[[int], bool], limit: int) -> int:
    """The largest count up to `limit` for which it holds, at least 2; it holds for all smaller ones too."""
    if holds(limit):
        return limit
    low, high = 2, limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _root(files: int, steps: int) -> int:
    """The least fan-in that so many steps, the final merge among them, reduce to one file."""
    low, high = 1, max(2, files)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if middle**steps >= files else (middle, high)
    return high
