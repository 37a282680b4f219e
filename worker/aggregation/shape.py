"""A run as its parts: the shape of its tree, the stages that are done, and how far it is. No I/O."""

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
    """How far the stage is that is under way."""

    name: str
    done: int
    """Steps."""
    steps: int
