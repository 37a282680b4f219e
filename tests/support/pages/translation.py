"""The Chinese pages beside the English ones: which there are, and what of the two must be the same.

The sections of two pages are compared in their order: level, paragraphs, lists and tables, blocks of code,
words in code, numbers, and where the links lead.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from pages.markdown import Page, page
from scripts import REPOSITORY

CHINESE = {
    "README.md": "README.zh-CN.md",
    "docs/argo.md": "docs/zh-CN/argo.md",
    "docs/oss.md": "docs/zh-CN/oss.md",
    "docs/troubleshooting.md": "docs/zh-CN/troubleshooting.md",
}
"""The pages that are there in Chinese too, by the English one."""
ENGLISH = {chinese: english for english, chinese in CHINESE.items()}

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^(#+) ", re.MULTILINE)
_COMMENT = re.compile(r"(^|(?<=\s))#(?= ).*$", re.MULTILINE)
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_TARGET = re.compile(r"\]\([^)\s]*\)|<[^>]*>")
_CELL = re.compile(r"(?<!\\)\|")
_NUMBER = re.compile(r"(?<![A-Za-z0-9_])v?\d+(?:[.,]\d+)*")


class Section(NamedTuple):
    """What a heading's own text has that is the same in each language."""

    heading: str
    """As the page has it; it is not compared."""
    rank: int
    shape: tuple[str, ...]
    """Its paragraphs, points, tables with their rows and cells, and blocks of code, in their order."""
    blocks: tuple[str, ...]
    """Its blocks of code; those for a shell without their comments."""
    code: Counter[str]
    """Its words in backquotes."""
    numbers: Counter[str]
    links: Counter[str]
    """Where they lead, by the English page and the place of the heading there."""


def is_chinese(each: Page) -> bool:
    """Whether a page is one of the Chinese ones."""
    return str(each) in ENGLISH


def sections(each: Page) -> list[Section]:
    """A page, heading by heading."""
    blocks: list[str] = []

    def put_away(match: re.Match[str]) -> str:
        blocks.append(_plain(match["language"], match["text"]))
        return f"{match['indent']}```{len(blocks) - 1}"

    text = _BLOCK.sub(put_away, each.text)
    starts = [match.start() for match in _HEADING.finditer(text)]
    return [
        _section(each, text[start:end], blocks)
        for start, end in zip(starts, [*starts[1:], len(text)], strict=True)
    ]


def _section(each: Page, text: str, blocks: list[str]) -> Section:
    heading, _, body = text.partition("\n")
    own = tuple(blocks[int(number)] for number in re.findall(r"^ *```(\d+)$", text, re.MULTILINE))
    text = re.sub(r"^ *```\d+$", "", text, flags=re.MULTILINE)
    words = _CODE.sub(" ", _TARGET.sub("]", re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)))
    return Section(
        heading.lstrip("# "),
        len(heading) - len(heading.lstrip("#")),
        tuple(_shape(body)),
        own,
        Counter(" ".join(code.split()) for code in _CODE.findall(text)),
        Counter(_NUMBER.findall(words)),
        Counter(_place(each, target) for target in Page(each.path, text).links()),
    )


def _plain(language: str, text: str) -> str:
    """A block of code, without what a translation may say in its own words."""
    if language == "sh":
        text = _COMMENT.sub("", text)
    return "\n".join([language, *(line.rstrip() for line in text.splitlines())])


def _shape(body: str) -> Iterator[str]:
    """What a reader sees, piece by piece."""
    for piece in re.split(r"\n\s*\n", re.sub(r"<!--.*?-->", "\n", body, flags=re.DOTALL)):
        lines = piece.strip().splitlines()
        points = [line for line in lines if re.match(r" *(- |\d+\. )", line)]
        if not lines:
            continue
        if lines[0].startswith("|"):
            yield f"table of {[len(_CELL.findall(line)) for line in lines]}"
        elif lines[0].startswith("```"):
            yield "code"
        elif lines[0].startswith("<"):
            yield "picture"
        elif points and lines[0] == points[0]:
            yield from ("point" for _ in points)
        else:
            yield "paragraph"
        if not lines[0].startswith("```") and any(line.strip().startswith("```") for line in lines):
            yield "code"


def _place(each: Page, target: str) -> str:
    """Where a link leads, said in the same way for each language."""
    if re.match(r"[a-z]+:", target):
        return target
    name, _, fragment = target.partition("#")
    path = (each.path.parent / name).resolve() if name else each.path
    place = str(path.relative_to(REPOSITORY))
    if fragment:
        anchors = page(place).anchors()
        fragment = f"#{anchors.index(fragment)}" if fragment in anchors else f"#{fragment}"
    return ENGLISH.get(place, place) + fragment


def differences(english: Page, chinese: Page) -> list[str]:
    """What one page has and the other has not, a line each."""
    ours, theirs = sections(english), sections(chinese)
    if [each.rank for each in ours] != [each.rank for each in theirs]:
        left, right = ([f"{'#' * each.rank} {each.heading}" for each in side] for side in (ours, theirs))
        return [f"the headings: {english} has {left}, {chinese} has {right}"]
    return [
        f"{one.heading} / {other.heading}: {what}: {english} has {left}, {chinese} has {right}"
        for one, other in zip(ours, theirs, strict=True)
        for what, left, right in _differing(one, other)
    ]


def _differing(one: Section, other: Section) -> Iterator[tuple[str, object, object]]:
    for name in ("shape", "blocks"):
        left, right = getattr(one, name), getattr(other, name)
        if left != right:
            yield name, left, right
    for name in ("code", "numbers", "links"):
        left, right = getattr(one, name), getattr(other, name)
        if left != right:
            yield name, dict(left - right), dict(right - left)
