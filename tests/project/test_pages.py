"""README.md and docs/: links, blocks and commands hold, and what is made from the code is current."""

import ast
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from aggregation import VERSION
from benchmarks import report
from pages import figures, picture, shell_lines, tables
from pages.markdown import Page, page, pages
from pages.translation import CHINESE, is_chinese
from scripts import REPOSITORY

PAGES = pages()
DOCS = [each for each in PAGES if str(each).startswith("docs/")]
EACH = pytest.mark.parametrize("each", PAGES, ids=str)
LANGUAGES = {"console", "diff", "dockerfile", "json", "python", "sh", "text", "xml", "yaml"}


# Where a page leads


@EACH
def test_links(each: Page) -> None:
    """Every relative link leads to a file, and its fragment to a heading there."""
    for target in each.links():
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, fragment = target.partition("#")
        path = (each.path.parent / name).resolve() if name else each.path
        assert path.exists(), target
        if fragment:
            assert fragment in Page(path, path.read_text(encoding="utf-8")).anchors(), target


def test_every_page_is_found_from_the_readme() -> None:
    """No page of docs/ is an island, in either language."""
    for name in ("README.md", CHINESE["README.md"]):
        readme = page(name)
        linked = {target.partition("#")[0] for target in readme.links()}
        theirs = {str(each) for each in DOCS if is_chinese(each) == is_chinese(readme)}
        assert theirs - linked == set()


@pytest.mark.parametrize("each", DOCS, ids=str)
def test_a_page_begins_with_an_example(each: Page) -> None:
    """A title, then an example, before the first section; lines that fit into a window."""
    assert each.text.startswith("# ")
    assert each.text.count("\n# ") == len(
        re.findall(r"^# ", "".join(b.text for b in each.blocks()), re.MULTILINE)
    )
    head = each.text.split("\n## ")[0]
    assert "```" in head or each.path.name in ("reference.md", "extending.md")
    prose = re.sub(r"<!-- generated.*?<!-- end[^>]*>", "", each.prose, flags=re.DOTALL)
    long = [line for line in prose.splitlines() if len(line) > 140 and not line.startswith(("|", "!"))]
    assert long == [] or is_chinese(each)  # there a line is a paragraph


# What a page shows


@EACH
def test_blocks(each: Page) -> None:
    """Every block says its language, and can be read as that."""
    for block in each.blocks():
        assert block.language in LANGUAGES, f"{each}:{block.line}"
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "xml":
            ET.fromstring(block.text)
        elif block.language == "yaml":
            list(yaml.safe_load_all(block.text))
        elif block.language == "python":
            ast.parse(block.text)
    assert each.text.count("```") % 2 == 0
    shown = re.findall(r"^ +```json\n(.*?)^ +```", each.text, re.DOTALL | re.MULTILINE)
    for text in shown:  # within a list
        json.loads(text)


@EACH
def test_commands(each: Page) -> None:
    """Every command of a shell block is one that could be run: see pages.shell_lines."""
    indented = re.findall(r"^ +```sh\n(.*?)^ +```", each.text, re.DOTALL | re.MULTILINE)
    for text in [*(block.text for block in each.blocks("sh")), *indented]:
        assert shell_lines.mistakes(text) == []
    for block in each.blocks("console"):
        typed = "\n".join(re.findall(r"^\$ (.*)$", block.text, re.MULTILINE))
        known = typed.replace("--no-such-option", "")
        assert [line for line in shell_lines.mistakes(known) if "nothing checks" not in line] == []


# What is made from the code


@EACH
def test_generated_tables(each: Page) -> None:
    """Each is what `make docs` would write."""
    assert each.text == tables.written(each), "run `make docs`"


def test_each_table_is_on_a_page() -> None:
    """None is made for nothing."""
    english = [each for each in PAGES if not is_chinese(each)]
    assert sorted(name for each in english for name in tables.names(each)) == sorted(tables.TABLES)


@pytest.mark.parametrize("path", picture.drawn(), ids=lambda path: path.name)
def test_drawings(path: Path) -> None:
    """Each is what `make docs` would draw, and a page shows it."""
    text = path.read_text(encoding="utf-8")
    assert text == picture.drawn()[path], "run `make docs`"
    assert ET.fromstring(text).tag.endswith("svg")
    assert f"docs/pictures/{path.name}" in page("README.md").text


def test_figures() -> None:
    """performance.md has each aim and shape, and each picture of the benchmarks is there."""
    text = page("docs/performance.md").text.splitlines()
    rows = [
        report.promise_row(target) for family in figures.results().values() for target in family["targets"]
    ]
    assert [row for row in rows + report.shape_rows(figures.results()["shapes"]) if row not in text] == []


def test_one_version() -> None:
    """The package, the image and the changelog agree on the version."""
    assert f"ARG VERSION={VERSION}\n" in (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(VERSION)}$", page("CHANGELOG.md").text, re.MULTILINE)
