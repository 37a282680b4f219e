"""What of the expected inputs is not there: how much of that a run goes on with, and the account of it."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from aggregation.errors import printable

from .frames import describe_frames

FAIL = "fail"
SKIP = "skip"

_PERCENT = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,6}))?%", re.ASCII)
_SHOWN_NAMES = 50


class Bound(NamedTuple):
    """How many gaps a run goes on with, at most: a count, or a share of what is expected."""

    text: str
    of: int
    """The denominator of the share; 0 for a count."""
    most: int

    @classmethod
    def parse(cls, text: str) -> "Bound":
        """`5` inputs, or `0.5%` of them.

        Raises:
            ValueError: it is neither.
        """
        if text.isascii() and text.isdigit() and len(text) < 10:  # noqa: PLR2004 - more than any list holds
            return cls(text, 0, int(text))
        match = _PERCENT.fullmatch(text)
        if match is None or float(text[:-1]) > 100:  # noqa: PLR2004 - per cent
            raise ValueError(f"{text!r} is neither a count, such as 5, nor a share, such as 0.5%")
        decimals = match[2] or ""
        return cls(text, 100 * 10 ** len(decimals), int(match[1] + decimals))

    def allowed(self, expected: int) -> int:
        """How many of so many inputs may be missing."""
        return expected * self.most // self.of if self.of else self.most


NO_BOUND = Bound.parse("100%")


class Gaps(NamedTuple):
    """The inputs that are missing, in order."""

    expected: int
    """How many inputs there should be."""
    names: Sequence[str]
    numbers: Sequence[int]
    """Their numbers; none where the names are not made of numbers."""
    refused: Sequence[str]
    """Those of them that are there, and that the check refused."""
    policy: str
    """What stands in their place: `skip` for nothing, or the name of a file."""

    def describe(self) -> str:
        """All of them in a few words: numbers as ranges, else the names."""
        if self.numbers:
            more = " ..." if len(self.names) > 1 else ""
            return f"{describe_frames(self.numbers)} ({printable(self.names[0])}{more})"
        beyond = len(self.names) - _SHOWN_NAMES
        more = f" and {beyond} more" if beyond > 0 else ""
        return ", ".join(map(printable, self.names[:_SHOWN_NAMES])) + more

    def to_json(self, digest: str) -> bytes:
        """The account as a file; `digest` is that of the list which was made of the rest."""
        import json  # noqa: PLC0415 - for gaps only

        record = {
            "made_by": "inputs.py",
            "missing": len(self.names),
            "expected": self.expected,
            "numbers": describe_frames(self.numbers),
            "names": [_text(name) for name in self.names],
            "refused": [_text(name) for name in self.refused],
            "policy": SKIP if self.policy == SKIP else "placeholder",
            "placeholder": None if self.policy == SKIP else _text(self.policy),
            "list": digest,
        }
        return (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")


class Account(NamedTuple):
    """What a file says of a list's gaps."""

    missing: int
    digest: str


def parse_account(data: bytes) -> Account | None:
    """Read an account; None if the file is something else."""
    import json  # noqa: PLC0415 - for gaps only

    try:
        record = json.loads(data)
        if record["made_by"] != "inputs.py":
            return None
        return Account(int(record["missing"]), str(record["list"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _text(name: str) -> str:
    """A name as JSON can have it: bytes that are no UTF-8 are written out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
