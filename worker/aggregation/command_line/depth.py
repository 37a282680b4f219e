"""How deep a tree is: so many levels, or as many as lead to a width."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import click
from click.core import ParameterSource

from aggregation import tree
from aggregation.errors import WrongUsageError

from .options import Function, option
from .parameters import COUNT, Number

LEVELS_MAX = 1000
"""More than any tree needs: 100 digits of files with a fan-in of 2 take 333."""


class Depth(NamedTuple):
    """What the options say."""

    levels: int
    final_width: int | None

    def of(self, files: int, fan_in: int) -> int:
        """How many times that many files are reduced."""
        return self.levels if self.final_width is None else tree.depth(files, fan_in, self.final_width)


_OPTIONS = (
    option(
        "--levels",
        type=Number(most=LEVELS_MAX),
        default=2,
        metavar="L",
        help="How many times to reduce before the final merge; 0 merges level 1 at once.",
    ),
    option(
        "--final-width",
        type=COUNT,
        metavar="W",
        help="Instead of --levels, as the templates have it: reduce until at most W files are left.",
    ),
)


def depth_options(function: Function) -> Callable[..., None]:
    """Add the options, and call the function with what they say as `depth`.

    Raises:
        WrongUsageError: both are given on the command line. One there wins over the other's variable.
    """

    @functools.wraps(function)
    def wrapper(*args: object, levels: int, final_width: int | None, **options: object) -> None:
        source = click.get_current_context().get_parameter_source
        if source("levels") is ParameterSource.COMMANDLINE:
            if source("final_width") is ParameterSource.COMMANDLINE:
                raise WrongUsageError("--final-width", "--levels says the depth too", "give one of them")
            final_width = None
        function(*args, depth=Depth(levels, final_width), **options)

    for each in reversed(_OPTIONS):
        wrapper = each(wrapper)
    return wrapper
