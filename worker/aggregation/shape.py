"""A run as its parts: its tree, where it runs, what is done of it. No I/O."""

from typing import NamedTuple

from . import tree


class Shape(NamedTuple):
    """What a tree looks like."""

    files: int
    """Files of level 1."""
    fan_in: int
    levels: int
    """Reductions before the final merge."""

    def widths(self) -> list[int]:
        """Files of each level, level 1 first."""
        return tree.widths(self.files, self.fan_in, self.levels)

    def inputs(self, level: int, number: int) -> tuple[int, int]:
        """The first file of level 1 that group `number` of a level is made of, and the one after its last."""
        span: int = self.fan_in**level
        return number * span, min((number + 1) * span, self.files)


class Service(NamedTuple):
    """What is known of a bucket and the way to it."""

    latency: float = 0.02
    """Seconds until an answer."""
    bandwidth: float = 50e6
    """Bytes a second of one merge."""
    limit: float = 2000.0
    """Requests a second that the bucket takes: 2,000 for names that follow one another."""
    start: float = 0.35
    """Seconds of a worker's process until its first request; the start of its pod comes before."""


class Step(NamedTuple):
    """One command of the pipeline, as a pod would run it."""

    command: str
    seconds: float
    kept: bool = False
    """An earlier run had done it."""


class Stage(NamedTuple):
    """Steps that run side by side."""

    name: str
    steps: list[Step]
    seconds: float


class Stand(NamedTuple):
    """How far the stage that is under way has come."""

    name: str
    done: int
    """Steps."""
    steps: int
