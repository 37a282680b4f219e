"""Patterns of names, as a shell has them. No I/O.

`*` and `?` stand for what is in one part of a name, `[a-c]` and `[!a-c]` for one character; `**`, as a part
of its own, for any folders. A part that begins with a dot is matched only where the pattern's has one there.
"""

import re

_MAGIC = re.compile(r"[*?\[]")
_CLASS = re.compile(r"\[(!?)(\]?[^\]]*)\]")
_VISIBLE = r"(?!\.)"

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
        self._regex = re.compile(_translated(self.parts, absolute=text.startswith("/")), re.DOTALL)

    def matches(self, name: str) -> bool:
        """Whether the whole name matches."""
        return self._regex.fullmatch(name) is not None


def is_literal(part: str) -> bool:
    """Whether a part of a pattern stands for itself only."""
    return _MAGIC.search(part) is None


def escape(text: str) -> str:
    """A pattern that matches the text and nothing else."""
    return _MAGIC.sub(lambda match: f"[{match[0]}]", text)


def matcher(part: str) -> re.Pattern[str]:
    """One part of a pattern, compiled."""
    return re.compile(_part(part), re.DOTALL)


def _translated(parts: list[str], *, absolute: bool) -> str:
    folders = rf"(?:{_VISIBLE}[^/]+/)*"
    whole = "/" if absolute else ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == ANY_FOLDERS:
            whole += folders + (rf"{_VISIBLE}[^/]+" if last else "")
        else:
            whole += _part(part) + ("" if last else "/")
    return whole


def _part(part: str) -> str:
    regex = "" if part.startswith(".") else _VISIBLE
    at = 0
    while at < len(part):
        character = part[at]
        at += 1
        if character == "*":
            regex += "" if regex.endswith("[^/]*") else "[^/]*"
        elif character == "?":
            regex += "[^/]"
        elif character == "[" and (found := _CLASS.match(part, at - 1)):
            regex += _class(found[1], found[2])
            at = found.end()
        else:
            regex += re.escape(character)
    return regex


def _class(negated: str, characters: str) -> str:
    """A set of characters: ranges stay, all else stands for itself. A range that is none matches nothing."""
    pieces = []
    at = 0
    while at < len(characters):
        if characters[at + 1 : at + 2] == "-" and at + 2 < len(characters):
            first, last = characters[at], characters[at + 2]
            at += 3
            if first <= last:
                pieces.append(f"{re.escape(first)}-{re.escape(last)}")
        else:
            pieces.append(re.escape(characters[at]))
            at += 1
    inner = "".join(pieces)
    if not inner:
        return "[^/]" if negated else r"(?!)"
    return f"[^/{inner}]" if negated else f"(?!/)[{inner}]"
