"""The options that inputs.py and pipeline.py share: what the inputs are, and how much runs side by side."""

import functools
from collections.abc import Callable
from typing import Any

from aggregation import processors
from aggregation.inputs.frames import NamePattern, parse_frames
from aggregation.inputs.gaps import FAIL, Bound
from aggregation.wildcards import Pattern

from .options import Function, option
from .parameters import COUNT, Converted, file_name
from .planning import Wanted


def _check(text: str) -> tuple[str, ...]:
    """See checking.parse."""
    from aggregation.inputs import checking  # noqa: PLC0415 - for checks only

    return checking.parse(text)


_OPTIONS = (
    option(
        "--glob",
        type=Converted("pattern", Pattern),
        metavar="PATTERN",
        help="The inputs are the files whose names match, 2 before 10: 'shot7_*.exr', '*/*/*.png'.",
    ),
    option(
        "--frames",
        type=Converted("frames", parse_frames),
        metavar="RANGES",
        help="The inputs are those with these numbers: 1-240, 1-240x2, 1-100,150-200.",
    ),
    option(
        "--name",
        type=Converted("name", NamePattern),
        metavar="NAME",
        show_default="l1/{number} and the suffix",
        help="The name of a frame: 'shot7_{number:04}.exr', or {number} without zeros before it.",
    ),
    option(
        "--expected",
        type=Converted("name", file_name),
        metavar="NAME",
        help="The inputs are what this file names, one a line. In the run's folder, or with a '/' a path.",
    ),
    option(
        "--from",
        "base",
        metavar="PLACE",
        show_default="the root",
        help="What the names are relative to: a folder of the root, or from '/' on any of the same store.",
    ),
    option(
        "--missing",
        type=Converted("policy", file_name),
        default=FAIL,
        metavar="POLICY",
        help="What is done about inputs that are not there: fail, skip, or the name of a placeholder.",
    ),
    option(
        "--at-most-missing",
        "bound",
        type=Converted("bound", Bound.parse),
        metavar="N|P%",
        show_default="all but one",
        help="With more gaps than so many, or than this share of the inputs, there is no list.",
    ),
    option(
        "--check",
        type=Converted("command", _check),
        metavar="COMMAND",
        help="Count a file that this program refuses as missing: 'gdalinfo {input}'. Quoted as for a shell, "
        "but run without one.",
    ),
)


def workers_option(help_text: str) -> Callable[[Function], Function]:
    """How much is done side by side."""
    return option(
        "--workers",
        type=COUNT,
        default=processors.available,
        metavar="W",
        show_default="the processors that it may use",
        help=help_text,
    )


def planning_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say what the inputs are, and call the function with what they say as `wanted`."""

    @functools.wraps(function)
    def wrapper(*args: object, **options: Any) -> None:
        wanted = Wanted(**{field: options.pop(field) for field in Wanted._fields})
        function(*args, wanted=wanted, **options)

    for each in reversed(_OPTIONS):
        wrapper = each(wrapper)
    return wrapper
