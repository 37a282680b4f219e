"""Numbers as render managers write them, `1-240`, `1-240x2`, `1-100,150-200`; and names with a number."""

import re
from collections.abc import Iterator, Sequence

from aggregation.wildcards import escape

FRAMES_MAX = 1_000_000
"""Numbers in one list at most: more is a typing error."""

_RANGE = re.compile(r"([0-9]{1,100})(?:-([0-9]{1,100})(?:x([0-9]{1,100}))?)?", re.ASCII)
_FIELD = re.compile(r"\{number(?::0?([0-9]{1,2}))?\}", re.ASCII)
_OTHER_FIELD = re.compile(r"%[0-9]*d|#|\$F|@")
_LONG = 3
"""Numbers from which on a range with a step is shorter than its numbers."""


def parse_frames(text: str) -> tuple[int, ...]:
    """The numbers, in their order, which is ascending.

    Raises:
        ValueError: they are not written so; the message says where.
    """
    numbers: list[int] = []
    for item in text.split(","):
        match = _RANGE.fullmatch(item.strip())
        if match is None:
            raise ValueError(
                f"{item.strip()!r} is no range of numbers from 0 on: write 1-240, 1-240x2 or 1-100,150-200"
            )
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if last < first or not step:
            raise ValueError(f"{item.strip()!r} is an empty range: write the lower number first")
        if numbers and first <= numbers[-1]:
            raise ValueError(f"{first} comes after {numbers[-1]}: write each number once, in ascending order")
        if (last - first) // step + 1 + len(numbers) > FRAMES_MAX:
            raise ValueError(f"{text!r} has more than {FRAMES_MAX} numbers")
        numbers.extend(range(first, last + 1, step))
    return tuple(numbers)


def describe_frames(numbers: Sequence[int]) -> str:
    """Ascending numbers as ranges, so that `parse_frames` gives them back; empty for none."""
    return ",".join(_ranges(numbers))


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    at = 0
    while at < len(numbers):
        end = at + 1
        step = numbers[end] - numbers[at] if end < len(numbers) else 1
        while end < len(numbers) and numbers[end] - numbers[end - 1] == step:
            end += 1
        if step == 1 and end - at > 1:
            yield f"{numbers[at]}-{numbers[end - 1]}"
        elif end - at >= _LONG:
            yield f"{numbers[at]}-{numbers[end - 1]}x{step}"
        else:
            end = at + 1
            yield str(numbers[at])
        at = end


class NamePattern:
    """A name with its number in it: `shot7_{number:04}.exr`, four digits at least, or `{number}`.

    Raises:
        ValueError: it has none, or is no name; the message says why.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        pieces = _FIELD.split(text)
        self._literals = pieces[::2]
        self._widths = [int(width or 0) for width in pieces[1::2]]
        if any("{number" in literal for literal in self._literals):
            raise ValueError(f"{text!r}: a number is written {{number}}, or {{number:04}} for four digits")
        if not self._widths:
            instead = " instead of %04d, #### or $F4" if _OTHER_FIELD.search(text) else ""
            raise ValueError(f"{text!r} holds no number: write {{number:04}}{instead}, or {{number}}")
        if "\n" in text or "\0" in text or any(part in ("", ".", "..") for part in self.name(0).split("/")):
            raise ValueError(f"{text!r} is no name: leave out '/' at its ends, '.', '..' and line ends")
        self._regex = re.compile("([0-9]+)".join(map(re.escape, self._literals)))

    def name(self, number: int) -> str:
        """The name of a number."""
        name = self._literals[0]
        for width, literal in zip(self._widths, self._literals[1:], strict=True):
            name += f"{number:0{width}}{literal}"
        return name

    def number(self, name: str) -> int | None:
        """The number of a name, in however many digits; None if it has none, or two."""
        match = self._regex.fullmatch(name)
        numbers = {int(digits) for digits in match.groups()} if match else set()
        return numbers.pop() if len(numbers) == 1 else None

    def glob(self) -> str:
        """A pattern that all its names match, and some others."""
        return "*".join(map(escape, self._literals))
