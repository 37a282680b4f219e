"""What an option's or an argument's text may be: each kind of value is checked and converted once, here."""

from typing import Any

import click

from aggregation import location
from aggregation.layout import MAX_DIGITS, Layout, is_ours, run_name
from aggregation.location import Location

SUFFIX_MAX = 32
"""Characters of a suffix, so that a temporary's name fits."""


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


class ListName(click.ParamType[Any]):
    """The name of a list of inputs, which may be a path from `/` on."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what names no file."""
        text = str(value)
        parts = text.removeprefix("/").split("/")
        if "\0" in text or any(part in ("", ".", "..") for part in parts):
            self.fail(f"{text!r} names no file: leave out '/' at its end, '.' and '..'.", param, ctx)
        return text


NUMBER = Number()
COUNT = Number(least=1)
FAN_IN = Number(least=2)
"""A group of one would never end: each level would hold as many files as the one before."""
