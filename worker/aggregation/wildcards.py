"""Patterns of names, as a shell has them. No I/O.

`*` and `?` stand for what is in one part of a name, `[a-c]` and `[!a-c]` for one character; `**`, as a part
of its own, for any folders. A part that begins with a dot is matched only where the pattern's has one there.
"""

import fnmatch
import re
from collections.abc import Sequence

_MAGIC = re.compile(r"[*?\[]")

ANY_FOLDERS = "**"


class Pattern:
    """One pattern, compiled.

    Raises:
        ValueError: it cannot match any name; the message says why.
    """

    def __init__(self, text: str) -> None:
        if not text or "\n" in text or "\0" in text:
            raise ValueError(f"{text!r} is no pattern of names")
        self.text = text
        self.parts = text.removeprefix("/").split("/")
        if any(part in ("", ".", "..") for part in self.parts):
            raise ValueError(f"{text!r} has a part that is empty, '.' or '..'")
        found = _MAGIC.search(text)
        self.literal = text[: found.start()] if found else text
        """What every name begins with that matches."""
        self.is_deep = "/" in text[len(self.literal) :] or ANY_FOLDERS in self.parts
        """Whether a wildcard stands for folders too."""
        self._matchers = [None if part == ANY_FOLDERS else matcher(part) for part in self.parts]

    def matches(self, name: str) -> bool:
        """Whether the whole name matches."""
        is_absolute = name.startswith("/")
        return is_absolute == self.text.startswith("/") and _match(
            self._matchers, name.removeprefix("/").split("/")
        )


def is_literal(part: str) -> bool:
    """Whether a part of a pattern stands for itself only."""
    return _MAGIC.search(part) is None


def escape(text: str) -> str:
    """A pattern that matches the text and nothing else."""
    return _MAGIC.sub(lambda match: f"[{match[0]}]", text)


def matcher(part: str) -> re.Pattern[str]:
    """One part of a pattern, compiled."""
    visible = "" if part.startswith(".") else r"(?!\.)"
    return re.compile(visible + fnmatch.translate(part))


def _match(matchers: Sequence[re.Pattern[str] | None], parts: Sequence[str]) -> bool:
    """Whether the parts of a name match; None stands for any folders, at the end for what is in them too."""
    for at, (one, part) in enumerate(zip(matchers, parts, strict=False)):
        if one is None:
            rest = matchers[at + 1 :]
            visible = next((n for n, part in enumerate(parts) if n >= at and part[:1] == "."), len(parts))
            if not rest:
                return visible == len(parts)
            return any(_match(rest, parts[n:]) for n in range(at, visible + 1))
        if one.fullmatch(part) is None:
            return False
    return len(matchers) == len(parts)
