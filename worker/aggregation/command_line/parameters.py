"""What an option's or an argument's text may be: each kind of value is checked and converted once, here."""

import math
from collections.abc import Callable
from typing import Any

import click

from aggregation import location
from aggregation.layout import MAX_DIGITS, Layout, is_ours, run_name

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


class Amount(click.FloatRange):
    """A number of 0 or more; without `zero` of more than 0."""

    def __init__(self, *, zero: bool) -> None:
        super().__init__(min=0, min_open=not zero)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Refuse what is no number, which is neither below nor above any."""
        amount: float = super().convert(value, param, ctx)
        if math.isnan(amount):
            self.fail(f"{value!r} is no number.", param, ctx)
        return amount


class Converted(click.ParamType[Any]):
    """A text that a function checks and converts; its ValueError says what is wrong, and `end` ends that."""

    def __init__(self, name: str, convert: Callable[[str], object], end: str = ".") -> None:
        self.name = name
        self._convert = convert
        self._end = end

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check once, at the border."""
        if not isinstance(value, str):
            return value
        try:
            return self._convert(value)
        except ValueError as error:
            self.fail(f"{error}{self._end}", param, ctx)


def _suffix(text: str) -> str:
    """Refuse what would make a number ambiguous or leave the folder."""
    if not text.startswith(".") or "/" in text or "\0" in text or len(text) > SUFFIX_MAX:
        raise ValueError(f"{text!r} does not begin with '.', has a '/', or is too long")
    return text


def _command(text: str) -> tuple[str, ...]:
    """See command.parse."""
    from aggregation.commands.command import parse  # noqa: PLC0415 - for commands only

    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{error}: {text}") from error


def file_name(text: str, never: str = "\n\0") -> str:
    """Refuse what leaves the root, or could not stand in a list of inputs."""
    if set(never) & set(text) or any(part in ("", ".", "..") for part in text.split("/")):
        raise ValueError(f"{text!r} is not a name under the root: leave out '/' at its ends, '.' and '..'")
    return text


def _output_name(text: str) -> str:
    """Refuse what could replace an input or a journal too."""
    parts = file_name(text, never="\0").split("/")
    if len(parts) > 1 and Layout().level(parts[0]) is not None:
        raise ValueError(f"{text!r} is in a level's folder, where inputs are")
    if is_ours(text):
        raise ValueError(f"{text!r} is a name that the worker itself uses: take another")
    return text


def _list_name(text: str) -> str:
    """Refuse what names no file; the name may be a path from `/` on."""
    parts = text.removeprefix("/").split("/")
    if "\0" in text or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{text!r} names no file: leave out '/' at its end, '.' and '..'")
    return text


ROOT = Converted("root", location.parse, end="")
SUFFIX = Converted("suffix", _suffix)
RUN = Converted("run", run_name)
COMMAND = Converted("command", _command, end="")
OUTPUT = Converted("name", _output_name)
LIST = Converted("name", _list_name)
NUMBER = Number()
COUNT = Number(least=1)
SECONDS = Amount(zero=True)
POSITIVE = Amount(zero=False)
FAN_IN = Number(least=2)
"""A group of one would never end: each level would hold as many files as the one before."""
