"""The options on what a run will cost, and --shape, which may follow from it."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import click
from click.core import ParameterSource

from aggregation import dry_run
from aggregation.choice import Choice, choose
from aggregation.errors import WrongUsageError
from aggregation.shape import Service

from .parameters import NUMBER, POSITIVE, SECONDS

AUTO = "auto"

_OPTIONS = (
    click.option(
        "--shape",
        "form",
        type=click.Choice(["tree", AUTO]),
        default="tree",
        envvar="AGGREGATION_SHAPE",
        show_envvar=True,
        help="The tree that the other options say; or auto: one flat merge as far as a pod's parts, memory "
        "and time allow, else the fan-in that fits.",
    ),
    click.option(
        "--size",
        type=NUMBER,
        metavar="BYTES",
        help="The size of a file, for what is foreseen of a run, where the files are not looked at.",
    ),
    click.option(
        "--latency",
        type=SECONDS,
        default=Service().latency,
        metavar="SECONDS",
        help="How long OSS takes for an answer, for the time that is foreseen.",
    ),
    click.option(
        "--bandwidth",
        type=POSITIVE,
        default=Service().bandwidth,
        metavar="BYTES",
        help="How many bytes a second a pod gets from OSS, for the same.",
    ),
    click.option(
        "--bucket-limit",
        type=POSITIVE,
        default=Service().limit,
        metavar="RATE",
        help="How many requests a second the bucket takes: 2,000 for names that follow one another.",
    ),
)


class Foreseen(NamedTuple):
    """What these options say."""

    form: str
    size: int | None
    service: Service

    @property
    def is_auto(self) -> bool:
        """Whether the shape is to be chosen."""
        return self.form == AUTO

    def outlook(self, size: float | None, *, on_oss: bool, at_a_time: int) -> dry_run.Outlook:
        """What is known, with the size of a file that was seen where none was said."""
        service = self.service if on_oss else None
        return dry_run.Outlook(size if self.size is None else self.size, service, at_a_time)

    def choose(self, files: int, outlook: dry_run.Outlook, *instead: str, by_command: bool) -> Choice:
        """The shape that --shape auto takes, `instead` of that by these options.

        Raises:
            WrongUsageError: one of them is given.
        """
        context = click.get_current_context()
        for name in instead:
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                option = f"--{name.replace('_', '-')}"
                raise WrongUsageError("--shape auto", f"{option} says the shape too", "give one of them")
        return choose(files, outlook.size, outlook.service, by_command=by_command)


def outlook_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options, and call the function with what they say as `foreseen`."""

    @functools.wraps(function)
    def wrapper(
        *args: object,
        form: str,
        size: int | None,
        latency: float,
        bandwidth: float,
        bucket_limit: float,
        **options: object,
    ) -> None:
        service = Service(latency, bandwidth, bucket_limit)
        function(*args, foreseen=Foreseen(form, size, service), **options)

    for each in reversed(_OPTIONS):
        wrapper = each(wrapper)
    return wrapper
