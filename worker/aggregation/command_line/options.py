"""The options that scripts share, and the commands that they belong to."""

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from aggregation import VERSION, limits
from aggregation.errors import EXIT_CODES, Interrupted
from aggregation.layout import Layout
from aggregation.location import Location
from aggregation.stores.promise import Settings

from .console import TERMINATION_LOG, console
from .job import Job
from .parameters import COMMAND, COUNT, FAN_IN, LIST, OUTPUT, POSITIVE, ROOT, RUN, SECONDS, SUFFIX

PARALLEL_MAX = 1024
"""Requests at a time: threads and connections for more would not fit into a pod."""

DEFAULT_ROOT = "/mnt/vol/aggregation-demo"


argument = click.argument
"""For the scripts, which need nothing else of click's."""

Function = TypeVar("Function", bound=Callable[..., Any])


def option(*names: str, **settings: Any) -> Callable[[Function], Function]:
    """An option with a variable that is named as it is: AGGREGATION_FAN_IN for --fan-in."""
    variable = names[0].partition("/")[0].removeprefix("--").replace("-", "_").upper()
    return click.option(*names, show_envvar=True, **{"envvar": f"AGGREGATION_{variable}", **settings})


_setting = functools.partial(option, is_eager=True, expose_value=False)
"""An option that says how the call itself speaks, not what it does. Console reads some before click does."""

fan_in_option = option(
    "--fan-in",
    type=FAN_IN,
    default=2,
    metavar="K",
    help="How many files of a level are joined into one file of the next.",
)

output_option = option(
    "--output",
    type=OUTPUT,
    metavar="NAME",
    show_default="result and the suffix",
    help="The result's name under the root.",
)

partial_option = option(
    "--partial",
    is_flag=True,
    help="Take the first N files of level 1 though it holds more, instead of failing.",
)

command_option = option(
    "--command",
    type=COMMAND,
    metavar="COMMAND",
    help="Make the target by this program instead of joining bytes. Quote it as for a shell; it runs without "
    "one. {inputs}, {inputs-file} (a list of them), {output}, {level} and {number} are replaced, {{number}} "
    "becomes {number}. Without inputs the joined inputs come on its standard input; without {output} its "
    "standard output is the target.",
)


inputs_option = option(
    "--inputs",
    type=LIST,
    metavar="NAME",
    help="Level 1 is what this list by inputs.py says, in order. In the run's folder, or with a '/' a path.",
)

_allow_empty_option = option(
    "--allow-empty",
    is_flag=True,
    help="Let a command that wrote nothing make an empty target, instead of failing.",
)

scratch_option = option(
    "--scratch",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    show_default="beside the target on a volume, else $TMPDIR",
    help="Where the command's files are kept while it runs.",
)


def command_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that go with a command."""
    return _allow_empty_option(scratch_option(function))


def exit_code_table() -> str:
    """The exit codes as the end of a help page."""
    rows = "\n".join(
        f"  {row.code:>3}  {row.meaning}{' (retry)' if row.retried else ''}" for row in EXIT_CODES
    )
    return f"\b\nExit codes ('retry': running again may help):\n{rows}"


def _show_help(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not context.resilient_parsing:
        console.print([context.get_help()])
        context.exit()


def _show_version(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - as above
    if value and not context.resilient_parsing:
        python = ".".join(map(str, sys.version_info[:3]))
        console.print([f"{console.program}: aggregation worker {VERSION}, Python {python}"])
        context.exit()


def _set_debug(_: click.Context, __: click.Parameter, value: bool) -> None:  # noqa: FBT001 - as above
    console.debug = value


_COMMON = (
    option(
        "--root",
        type=ROOT,
        default=DEFAULT_ROOT,
        help="The directory, or the URL (oss://BUCKET/PREFIX), that holds the levels and the result.",
    ),
    option(
        "--suffix",
        type=SUFFIX,
        default=Layout().suffix,
        metavar="SUFFIX",
        help="How the name of each file ends: .mp4, .osm.pbf, .json.",
    ),
    option(
        "--run",
        type=RUN,
        metavar="NAME",
        help="Keep level 2 and above in runs/NAME, where no other run is: letters, digits, '.', '_', '-'.",
    ),
    option(
        "--checksum",
        is_flag=True,
        help="Compute the CRC64 on a volume too. Without it the kernel can copy faster.",
    ),
    option("--verify", is_flag=True, help="Read the target back and compare it with its sources."),
    option(
        "--parallel",
        type=COUNT,
        metavar="P",
        show_default=f"{Settings().parallel}; {Settings().parallel_small} for small objects on OSS",
        help="How many requests to an object store, looks at files on a mount, or files that prepare.py "
        "writes, are under way at a time.",
    ),
    option(
        "--requests-per-second",
        type=POSITIVE,
        metavar="RATE",
        show_default="as many as OSS takes",
        help="Send OSS at most so many requests in a second: the bucket's limit divided by the pods at work.",
    ),
    option(
        "--timeout",
        type=SECONDS,
        default=Settings().timeout,
        metavar="SECONDS",
        help="How long a request that fails for a passing reason is tried again, in seconds.",
    ),
    _setting(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        help="How the summary line and errors are written.",
    ),
    option("--summary-file", metavar="PATH", help="Write the summary to this file too, as JSON."),
    _setting(
        "--termination-message",
        metavar="PATH",
        show_default=f"{TERMINATION_LOG}, where there is one; empty: none",
        help="Write the error's line, or the summary line, to this file too.",
    ),
    _setting("--debug", is_flag=True, callback=_set_debug, help="Show the traceback of an error."),
    _setting(
        "--version",
        is_flag=True,
        envvar=None,
        callback=_show_version,
        help="Show the version of the worker and of Python, and exit.",
    ),
    _setting(
        "-h", "--help", is_flag=True, envvar=None, callback=_show_help, help="Show this message and exit."
    ),
)
"""The options that all scripts have, in the order of their help."""


def job(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that all scripts have, and call the function with the Job that they make."""

    @functools.wraps(function)
    def wrapper(
        *,
        root: Location,
        suffix: str,
        run: str | None,
        checksum: bool,
        verify: bool,
        parallel: int | None,
        requests_per_second: float | None,
        timeout: float,
        summary_file: str | None,
        **options: object,
    ) -> None:
        joins = 1
        if isinstance(workers := options.get("workers"), int):
            joins = options["workers"] = limits.joins(workers)
        settings = Settings(
            joins=joins, timeout=timeout, verify=verify, requests_per_second=requests_per_second
        )
        if parallel is not None:
            bound = min(parallel, PARALLEL_MAX)
            settings = settings._replace(parallel=bound, parallel_small=bound)
        layout = Layout(suffix, run or "")
        work = Job(root=root, layout=layout, settings=settings, checksum=checksum, summary_file=summary_file)
        try:
            try:
                function(work, **options)
            finally:
                work.storage.close()
        except Interrupted:
            work.storage.close()  # the one signal may have come in the middle of the first call
            raise

    for each in reversed(_COMMON):
        wrapper = each(wrapper)
    return wrapper


def command(help_text: str) -> Callable[[Callable[..., None]], click.Command]:
    """A script's command; its help page ends with the exit codes."""
    return click.command(
        add_help_option=False,  # ours goes where all that is printed goes: a full stdout is no bug
        help=help_text,
        epilog=exit_code_table(),
        context_settings={"show_default": True, "max_content_width": 100},
    )
