"""Inputs under names of their own: the options that say which, and the pod that lists them first."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import click  # noqa: TID251 - options, as those of generate.py are
from hera.workflows import Parameter
from hera.workflows.models import EnvVar, Template, ValueFrom

from aggregation.command_line.parameters import Converted
from aggregation.inputs.frames import NamePattern, parse_frames
from aggregation.inputs.gaps import FAIL, Bound
from aggregation.layout import INPUTS
from aggregation.wildcards import Pattern

STEP = "plan-inputs"
USED = EnvVar(name="AGGREGATION_INPUTS", value=INPUTS)
"""What tells a pod of the list."""
COUNTED = "steps['plan-inputs'].outputs.result"
"""How many inputs the pod has found, in an expression."""
_SHARE_MAX = 1 << 62
_SUMMARY = "sprig.fromJson(steps['merge-data'].outputs.parameters.summary).missing"


class Inputs(NamedTuple):
    """What the options say of the inputs, as texts: the pod reads them again."""

    glob: str | None
    frames: str | None
    frame_name: str | None
    missing: str | None
    at_most_missing: str | None

    @property
    def is_asked_for(self) -> bool:
        """Whether anything says what the inputs are."""
        return self.glob is not None or self.frames is not None

    def known(self) -> int | None:
        """How many there are if none is left out, where that is known before somebody looks."""
        return len(parse_frames(self.frames)) if self.frames is not None else None

    def check(self) -> None:
        """Raise click.UsageError for options that do not go together."""
        if self.glob is not None and self.frames is not None:
            raise click.UsageError("--glob and --frames say the same thing: give one of them.")
        if self.frame_name is not None and self.frames is None:
            raise click.UsageError("--frame-name is the name of a frame: give --frames too.")
        if self.missing is not None and not self.is_asked_for:
            raise click.UsageError(
                "--missing: nothing says what the inputs are: give --glob or --frames too."
            )
        if self.at_most_missing is not None and self.missing in (None, FAIL):
            raise click.UsageError("--at-most-missing: without --missing each gap is an error: give it too.")

    def environment(self) -> list[EnvVar]:
        """The same for inputs.py."""
        names = ("GLOB", "FRAMES", "NAME", "MISSING", "AT_MOST_MISSING")
        texts = zip(names, self, strict=True)
        return [EnvVar(name=f"AGGREGATION_{name}", value=text) for name, text in texts if text is not None]

    def template(self, like: Template) -> Template:
        """The template of the pod that lists them.

        Args:
            like: the template of another of the worker's pods, whose retries and limits are this one's too.
        """
        if like.container is None:
            raise TypeError(f"{like.name} is no container")
        container = like.container.model_copy(update={"args": ["inputs.py"], "env": self.environment()})
        own = {"name": STEP, "inputs": None, "pod_spec_patch": None, "container": container}
        return like.model_copy(update=own)


def found(fan_in: int, level: int) -> str:
    """How many files a level has, as an expression over what the pod has found."""
    if level == 1:
        return "{{steps.plan-inputs.outputs.result}}"
    share = min(fan_in ** (level - 1), _SHARE_MAX)
    return f"{{{{=sprig.div(asInt({COUNTED}) + {share - 1}, {share})}}}}"


def gaps() -> Parameter:
    """The workflow's output that says how many inputs are missing."""
    said = f"{_SUMMARY} == nil ? '0' : string(asInt({_SUMMARY}))"
    return Parameter(name="missing", global_name="missing", value_from=ValueFrom(expression=said))


def _kept(convert: Callable[[str], object]) -> Callable[[str], str]:
    """A check that leaves the text as it is."""

    def check(text: str) -> str:
        convert(text)
        if not text or "{{" in text or "}}" in text:
            raise ValueError(f"{text!r} is empty or has a tag of Argo's")
        return text

    return check


_OPTIONS = (
    click.option(
        "--glob",
        type=Converted("pattern", _kept(Pattern)),
        metavar="PATTERN",
        help="The inputs are the files whose names match, 2 before 10. A pod lists them first, and the "
        "levels are as wide as it finds; --files says about how many there are.",
    ),
    click.option(
        "--frames",
        type=Converted("frames", _kept(parse_frames)),
        metavar="RANGES",
        help="The inputs are those with these numbers: 1-240, 1-240x2. It takes the place of --files.",
    ),
    click.option(
        "--frame-name",
        type=Converted("name", _kept(NamePattern)),
        metavar="NAME",
        show_default="the names of level 1",
        help="The name of a frame: 'shot7_{number:04}.exr'.",
    ),
    click.option(
        "--missing",
        type=Converted("policy", _kept(str)),
        metavar="POLICY",
        show_default=FAIL,
        help="What is done about inputs that are not there: fail, skip, or the name of a placeholder.",
    ),
    click.option(
        "--at-most-missing",
        type=Converted("bound", _kept(Bound.parse)),
        metavar="N|P%",
        help="How many inputs may be missing, or which share.",
    ),
)


def input_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options, and call the function with what they say as `inputs`."""

    @functools.wraps(function)
    def wrapper(**given: Any) -> None:
        texts = [given.pop(name) for name in Inputs._fields]
        function(inputs=Inputs(*texts), **given)

    for each in reversed(_OPTIONS):
        wrapper = each(wrapper)
    return wrapper
