"""What one call of a script works with, and what it says of it when it is done."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from aggregation import units
from aggregation.errors import AggregationError, from_os_error
from aggregation.layout import Layout
from aggregation.location import Location
from aggregation.masking import hide_password
from aggregation.steps import Done
from aggregation.stores.opening import open_storage
from aggregation.stores.promise import Settings, Storage

from .console import console

if TYPE_CHECKING:
    from aggregation.commands.command import Command
    from aggregation.inputs.given import GivenInputs


class Job:
    """What one call of a script works with: the store, the names, and where the summary goes.

    Raises:
        ConfigurationError: the root cannot be opened.
    """

    def __init__(
        self, *, root: Location, layout: Layout, settings: Settings, checksum: bool, summary_file: str | None
    ) -> None:
        self.root = root
        self.layout = layout
        self.checksum = checksum
        self.parallel = settings.parallel
        self.share = settings.share_small
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

    def inputs(self, name: str | None) -> "GivenInputs | None":
        """The list of inputs with this name, if there is one; level 1 is what it says from then on.

        Raises:
            MissingInputError: it is not there, or not whole.
        """
        if name is None:
            return None
        from aggregation.inputs.given import GivenInputs  # noqa: PLC0415 - for lists only

        given = GivenInputs.read(self.storage, self.layout, name)
        self.layout = self.layout._replace(inputs=given.inputs.names)
        return given

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

    def merged_before(self, output: str, *, has_list: bool) -> Done | None:
        """What this run merged before its cleaning was interrupted, if it was; of a list of inputs if so."""
        from aggregation import cleaning  # noqa: PLC0415 - for runs that clean up only

        done = cleaning.merged_before(self.storage, self.layout, output)
        if done is None or not has_list:
            return done
        from aggregation.inputs import account  # noqa: PLC0415 - for lists only

        return done._replace(missing=account.missing_beside(self.storage, output))

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
    fields: dict[str, object] = {
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
    return fields if done.missing is None else {**fields, "missing": done.missing}


def summary_line(done: Done) -> str:
    """The summary for a person: what is not known is left out."""
    written = done.written
    verified = {None: "", True: "verified", False: "unverified"}[written.verified]
    crc64 = "" if written.crc64 is None else f"CRC64 {written.crc64}"
    parts = [
        f"{done.files} {'file' if done.files == 1 else 'files'}",
        f"{done.missing} {'input' if done.missing == 1 else 'inputs'} missing" if done.missing else "",
        units.size(written.size),
        units.rate(written.size, written.seconds),
        f"{crc64} {verified}".strip(),
        written.moved,
        f"{written.requests} requests" if written.requests else "",
        f"{written.seconds:.3f} s",
    ]
    arrow = f"{done.source} -> {done.target}" if done.source else done.target
    return f"{arrow}: {', '.join(filter(None, parts))}"
