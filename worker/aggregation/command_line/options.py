"""What the scripts share: their options, and what is done with them."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from aggregation import limits, location
from aggregation.errors import EXIT_CODES, AggregationError, Interrupted, from_os_error
from aggregation.layout import MAX_DIGITS, Layout, is_ours, run_name
from aggregation.location import Location
from aggregation.masking import hide_password
from aggregation.steps import Done
from aggregation.stores.promise import Settings, Storage, open_storage

from .console import TERMINATION_LOG, console

if TYPE_CHECKING:
    from aggregation.commands.command import Command

SUFFIX_MAX = 32
"""Characters of a suffix, so that a temporary's name fits."""

PARALLEL_MAX = 1024
"""Requests at a time: threads and connections for more would not fit into a pod."""

DEFAULT_ROOT = "/mnt/vol/aggregation-demo"


class Number(click.ParamType[Any]):
    """A whole number from `least` on, of at most `digits` digits, and not above `most`."""

    name = "number"

    def __init__(self, least: int = 0, digits: int = MAX_DIGITS, most: int | None = None) -> None:
        self.least = least
        self.digits = digits
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Accept ASCII digits only: int() would take `+1`, `1_000` and other scripts' digits."""
        text = str(value)
        if not (text.isascii() and text.isdigit()):
            self.fail(f"{text!r} is not a whole number from {self.least} on.", param, ctx)
        if len(text) > self.digits:
            self.fail(f"it has {len(text)} digits, and {self.digits} are the most.", param, ctx)
        if int(text) < self.least:
            self.fail(f"{text} is less than {self.least}.", param, ctx)
        if self.most is not None and int(text) > self.most:
            self.fail(f"{text} is more than {self.most}.", param, ctx)
        return int(text)


class Root(click.ParamType[Any]):
    """A root, parsed once."""

    name = "root"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Location:
        """See location.parse."""
        try:
            return value if isinstance(value, Location) else location.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Suffix(click.ParamType[Any]):
    """The end of each file's name."""

    name = "suffix"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what would make a number ambiguous or leave the folder."""
        text = str(value)
        if not text.startswith(".") or "/" in text or "\0" in text or len(text) > SUFFIX_MAX:
            self.fail(f"{text!r} does not begin with '.', has a '/', or is too long.", param, ctx)
        return text


class RunName(click.ParamType[Any]):
    """The name of a run."""

    name = "run"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See layout.run_name."""
        try:
            return run_name(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class MergeCommand(click.ParamType[Any]):
    """A merge command, parsed once."""

    name = "command"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """See command.parse."""
        from aggregation.commands.command import parse  # noqa: PLC0415 - for commands only

        try:
            return value if isinstance(value, tuple) else parse(str(value))
        except ValueError as error:
            self.fail(f"{error}: {value}", param, ctx)


class OutputName(click.ParamType[Any]):
    """A file name under the root, which is not one of the worker's own."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what leaves the root, and what could replace an input or a journal."""
        text = str(value)
        parts = text.split("/")
        if "\0" in text or any(part in ("", ".", "..") for part in parts):
            self.fail(
                f"{text!r} is not a name under the root: leave out '/' at its ends, '.' and '..'.", param, ctx
            )
        if len(parts) > 1 and Layout().level(parts[0]) is not None:
            self.fail(f"{text!r} is in a level's folder, where inputs are.", param, ctx)
        if is_ours(text):
            self.fail(f"{text!r} is a name that the worker itself uses: take another.", param, ctx)
        return text


NUMBER = Number()
COUNT = Number(least=1)
FAN_IN = Number(least=2)
"""A group of one would never end: each level would hold as many files as the one before."""

option = functools.partial(click.option, show_envvar=True)

fan_in_option = option(
    "--fan-in",
    type=FAN_IN,
    default=2,
    envvar="AGGREGATION_FAN_IN",
    metavar="K",
    help="How many files of a level are joined into one file of the next.",
)

output_option = option(
    "--output",
    type=OutputName(),
    envvar="AGGREGATION_OUTPUT",
    metavar="NAME",
    show_default="result and the suffix",
    help="The result's name under the root.",
)

partial_option = option(
    "--partial",
    is_flag=True,
    envvar="AGGREGATION_PARTIAL",
    help="Take the first N files of level 1 though it holds more, instead of failing.",
)

command_option = option(
    "--command",
    type=MergeCommand(),
    envvar="AGGREGATION_COMMAND",
    metavar="COMMAND",
    help="Make the target by this program instead of joining bytes. Quoted as for a shell, but run without "
    "one; {inputs}, {output}, {level} and {number} are replaced, {{number}} "
    "becomes {number}. Without {inputs} the joined inputs come on "
    "its standard input, without {output} its standard output is the target.",
)


_allow_empty_option = option(
    "--allow-empty",
    is_flag=True,
    envvar="AGGREGATION_ALLOW_EMPTY",
    help="Let a command that wrote nothing make an empty target, instead of failing.",
)

_scratch_option = option(
    "--scratch",
    envvar="AGGREGATION_SCRATCH",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    show_default="beside the target on a volume, else $TMPDIR",
    help="Where the command's files are kept while it runs.",
)


def command_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that go with a command."""
    return _allow_empty_option(_scratch_option(function))


def exit_code_table() -> str:
    """The exit codes as the end of a help page."""
    rows = "\n".join(
        f"  {row.code:>3}  {row.meaning}{' (retry)' if row.retried else ''}" for row in EXIT_CODES
    )
    return f"\b\nExit codes ('retry': running again may help):\n{rows}"


class Job:
    """What one call of a script works with: the store, the names, and where the summary goes.

    Raises:
        ConfigurationError: the root cannot be opened.
    """

    def __init__(
        self,
        *,
        root: Location,
        layout: Layout,
        settings: Settings,
        checksum: bool,
        summary_file: str | None,
    ) -> None:
        self.layout = layout
        self.checksum = checksum
        self._summary_file = summary_file
        hide_password(root.password)
        self.storage: Storage = open_storage(root, settings)

    def command(
        self, arguments: tuple[str, ...] | None, *, allow_empty: bool, scratch: str | None
    ) -> "Command | None":
        """The user's command, if there is one."""
        if arguments is None:
            return None
        from aggregation.commands.command import Command  # noqa: PLC0415 - for commands only

        return Command(arguments, allow_empty, scratch, console.notice)

    def show(self, lines: list[str]) -> None:
        """Lines for a person: left out where lines are for a machine."""
        if not console.as_json:
            console.print(lines)

    def report(self, done: Done) -> None:
        """Write the summary: one line on stdout, and the summary file if one is asked for.

        Raises:
            AggregationError: the summary cannot be written; the target is complete all the same.
        """
        fields = summary_fields(done)
        console.say(summary_line(done), fields)
        self.summarise(fields)

    def clean(self, layout: Layout, note: bytes = b"") -> None:
        """Remove the run's folder, as `cleaning.clean`."""
        from aggregation import cleaning  # noqa: PLC0415 - for runs that clean up only

        self.tidy(layout, lambda: cleaning.clean(self.storage, layout, note))

    def tidy(self, layout: Layout, remove: Callable[[], None]) -> None:
        """Remove what a run needs no more. The result is there: what stays is said, and is no failure."""
        try:
            remove()
        except AggregationError as error:
            where = self.storage.path(layout.run_folder)
            console.notice(f"the result is complete, but {where} is not tidied up: {error}")

    def merged_before(self, output: str) -> Done | None:
        """What this run merged before its cleaning was interrupted, if it was."""
        from aggregation import cleaning  # noqa: PLC0415 - for runs that clean up only

        return cleaning.merged_before(self.storage, self.layout, output)

    def summarise(self, fields: dict[str, object]) -> None:
        """Write the summary file, if one is asked for.

        Raises:
            AggregationError: it cannot be written; the target is complete all the same.
        """
        if self._summary_file is not None:
            import json  # noqa: PLC0415 - 5 ms of start-up that only a summary file needs

            try:
                with open(self._summary_file, "w", encoding="utf-8") as file:
                    file.write(json.dumps(fields) + "\n")
            except OSError as error:
                raise from_os_error(
                    error, "writing the summary (the target is complete)", self._summary_file, writing=True
                ) from error


def summary_fields(done: Done) -> dict[str, object]:
    """The summary as data, for JSON lines and the summary file."""
    written = done.written
    return {
        "step": done.step,
        "source": done.source,
        "target": done.target,
        "files": done.files,
        "bytes": written.size,
        "crc64": None if written.crc64 is None else str(written.crc64),
        "moved": written.moved,
        "requests": written.requests,
        "verified": written.verified,
        "seconds": round(written.seconds, 6),
    }


def summary_line(done: Done) -> str:
    """The summary for a person."""
    written = done.written
    crc64 = "CRC64 not computed" if written.crc64 is None else f"CRC64 {written.crc64}"
    arrow = f"{done.source} -> {done.target}" if done.source else done.target
    requests = f", {written.requests} requests" if written.requests else ""
    verified = {None: "", True: " verified", False: " unverified"}[written.verified]
    return (
        f"{arrow}: {done.files} {'file' if done.files == 1 else 'files'}, {written.size} bytes, "
        f"{crc64}{verified}, "
        f"{written.moved}{requests}, {written.seconds:.3f} s"
    )


def _set_json(_: click.Context, __: click.Parameter, value: str) -> None:
    console.as_json = value == "json"


def _set_termination(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value is not None:  # an empty one asks for none, which the environment's says by itself
        console.termination = value


def _show_help(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - as above
    if value and not context.resilient_parsing:
        console.print([context.get_help()])
        context.exit()


def _set_debug(_: click.Context, __: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    console.debug = value


def job(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that all scripts have, and call the function with the Job that they make."""

    @option(
        "--root",
        type=Root(),
        default=DEFAULT_ROOT,
        envvar="AGGREGATION_ROOT",
        help="The directory, or the URL (oss://BUCKET/PREFIX), that holds the levels and the result.",
    )
    @option(
        "--suffix",
        type=Suffix(),
        default=Layout().suffix,
        envvar="AGGREGATION_SUFFIX",
        metavar="SUFFIX",
        help="How the name of each file ends: .mp4, .osm.pbf, .json.",
    )
    @option(
        "--run",
        type=RunName(),
        envvar="AGGREGATION_RUN",
        metavar="NAME",
        help="Keep level 2 and above in runs/NAME, where no other run comes: letters, digits, '.', '_', '-'.",
    )
    @option(
        "--checksum",
        is_flag=True,
        envvar="AGGREGATION_CHECKSUM",
        help="Compute the CRC64 on a volume too, where the kernel could copy faster without.",
    )
    @option(
        "--verify",
        is_flag=True,
        envvar="AGGREGATION_VERIFY",
        help="Read the target back and compare it with its sources.",
    )
    @option(
        "--parallel",
        type=COUNT,
        default=Settings().parallel,
        envvar="AGGREGATION_PARALLEL",
        metavar="P",
        help="How many requests to an object store, or looks at files on a mount, are under way at a time.",
    )
    @option(
        "--timeout",
        type=click.FloatRange(min=0),
        default=Settings().timeout,
        envvar="AGGREGATION_TIMEOUT",
        metavar="SECONDS",
        help="How long a request that fails for a passing reason is tried again.",
    )
    @option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        envvar="AGGREGATION_LOG_FORMAT",
        is_eager=True,
        expose_value=False,
        callback=_set_json,
        help="How the summary line and errors are written.",
    )
    @option(
        "--summary-file",
        envvar="AGGREGATION_SUMMARY_FILE",
        metavar="PATH",
        help="Write the summary to this file too, as JSON.",
    )
    @option(
        "--termination-message",
        envvar="AGGREGATION_TERMINATION_MESSAGE",
        metavar="PATH",
        is_eager=True,
        expose_value=False,
        callback=_set_termination,
        show_default=f"{TERMINATION_LOG}, where there is one; empty: none",
        help="Write the error's line, or the summary line, to this file too.",
    )
    @option(
        "--debug",
        is_flag=True,
        envvar="AGGREGATION_DEBUG",
        is_eager=True,
        expose_value=False,
        callback=_set_debug,
        help="Show the traceback of an error.",
    )
    @functools.wraps(function)
    def wrapper(
        *,
        root: Location,
        suffix: str,
        run: str | None,
        checksum: bool,
        verify: bool,
        parallel: int,
        timeout: float,
        summary_file: str | None,
        **options: object,
    ) -> None:
        joins = 1
        if isinstance(workers := options.get("workers"), int):
            joins = options["workers"] = limits.joins(workers)
        settings = Settings(min(parallel, PARALLEL_MAX), joins, timeout, verify=verify)
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

    return wrapper


class _Script(click.Command):
    """A command whose help page goes where all that is printed goes: a full stdout is no bug."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """The option, with our own way to print."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show_help
        return option


def command(help_text: str) -> Callable[[Callable[..., None]], click.Command]:
    """A script's command; its help page ends with the exit codes."""
    return click.command(
        cls=_Script,
        help=help_text,
        epilog=exit_code_table(),
        context_settings={
            "show_default": True,
            "max_content_width": 100,
            "help_option_names": ["-h", "--help"],
        },
    )
