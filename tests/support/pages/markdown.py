"""A page as its readers see it: headings, blocks of code, links, tables, words in code."""

import re
from pathlib import Path
from typing import NamedTuple

from scripts import REPOSITORY

FOLDERS = ("docs", ".github", "tests/support/oss_server")
"""Where pages are, beside the repository's own folder."""

_FENCE = re.compile(r"^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[(?:[^]\[]|\[[^]]*\])*\]\((?P<target>[^)\s]+)\)")
_ATTRIBUTE = re.compile(r"\b(?:src|srcset|href)=\"([^\"]+)\"")


class Block(NamedTuple):
    """A block of code."""

    language: str
    text: str
    line: int
    """The line of its first mark, from 1 on."""


class Page(NamedTuple):
    """A page: its path, and its text."""

    path: Path
    text: str

    def __str__(self) -> str:
        return str(self.path.relative_to(REPOSITORY))

    def blocks(self, *languages: str) -> list[Block]:
        """Its blocks of code in some languages; of all without."""
        found = [
            Block(match["language"], match["text"], self.text.count("\n", 0, match.start()) + 1)
            for match in _FENCE.finditer(self.text)
        ]
        return [block for block in found if not languages or block.language in languages]

    @property
    def prose(self) -> str:
        """The text without its blocks of code."""
        return _FENCE.sub("", self.text)

    def section(self, heading: str) -> str:
        """What stands below a heading, up to the next one of its rank or above."""
        match = re.search(rf"^(#+) {re.escape(heading)}$", self.text, re.MULTILINE)
        assert match, f"{self} has no heading {heading!r}"
        rest = self.text[match.end() :]
        return re.split(rf"^#{{1,{len(match[1])}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]

    def headings(self) -> list[str]:
        """Its headings, without their marks."""
        return re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)

    def anchors(self) -> list[str]:
        """What a link's fragment may be: the headings as GitHub writes them, in their order."""
        anchors: list[str] = []
        for heading in self.headings():
            text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
            slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            again = sum(1 for each in anchors if re.fullmatch(rf"{re.escape(slug)}(-\d+)?", each))
            anchors.append(f"{slug}-{again}" if again else slug)
        return anchors

    def links(self) -> list[str]:
        """Where its links and pictures lead."""
        return [
            *(match["target"] for match in _LINK.finditer(self.prose)),
            *_ATTRIBUTE.findall(self.prose),
        ]

    def code(self) -> list[str]:
        """What stands in backquotes in its prose."""
        return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", self.prose)

    def rows(self) -> list[list[str]]:
        """The cells of all its tables' rows."""
        lines = [line for line in self.prose.splitlines() if line.startswith("| ")]
        return [
            [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
            for line in lines
        ]


def page(name: str) -> Page:
    """A page by its path in the repository."""
    path = REPOSITORY / name
    return Page(path, path.read_text(encoding="utf-8"))


def pages() -> list[Page]:
    """All pages, in a fixed order: the repository's own folder first."""
    paths = [*REPOSITORY.glob("*.md")]
    for folder in FOLDERS:
        paths += (REPOSITORY / folder).rglob("*.md")
    return [Page(path, path.read_text(encoding="utf-8")) for path in sorted(set(paths))]
