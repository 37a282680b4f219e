"""The Chinese pages say what the English ones say, no more and no less, and are set as Chinese is."""

import re

import pytest
from markdown_it import MarkdownIt

from pages import chinese
from pages.markdown import Page, page, pages
from pages.translation import CHINESE, ENGLISH, differences

PAIRS = pytest.mark.parametrize(("english", "chinese"), CHINESE.items())
TRANSLATED = pytest.mark.parametrize("name", ENGLISH)
HAN = r"[\u4e00-\u9fff]"


# Neither runs ahead


@PAIRS
def test_both_say_the_same(english: str, chinese: str) -> None:
    """Headings, paragraphs, tables, commands, shown output, words in code, numbers and links agree."""
    assert differences(page(english), page(chinese)) == []


def test_each_chinese_page_is_compared() -> None:
    """None stands beside the English ones unseen."""
    assert {str(each) for each in pages() if "zh-CN" in str(each)} == set(ENGLISH)


@PAIRS
def test_each_page_leads_to_the_other(english: str, chinese: str) -> None:
    """The line below the title names both languages."""
    for each, other in [(page(english), page(chinese)), (page(chinese), page(english))]:
        title, _, languages, _ = each.text.split("\n", 3)
        assert title.startswith("# ")
        assert sorted(re.sub(r"\[(.*)\]\(.*\)", r"\1", languages).split(" | ")) == ["English", "简体中文"]
        (target,) = re.findall(r"\]\((.*)\)", languages)
        assert (each.path.parent / target).resolve() == other.path


@TRANSLATED
def test_who_reads_chinese_stays_there(name: str) -> None:
    """A link leads to the Chinese page where there is one."""
    each = page(name)
    _, *links = each.links()
    led = [(each.path.parent / target.partition("#")[0]).resolve() for target in links if ":" not in target]
    assert [path for path in led if path in {page(english).path for english in CHINESE}] == []


ENGLISH_TEXT = """# A

Two `x` files, 3 of them: [b](b.md).

## B

```sh
run --all  # everything
```

- one
- two

| a | b |
|---|---|
| 1 | 2 |
"""
CHANGES = [
    ("# everything", "# 全部", None),
    ("Two", "两个", None),
    ("3 of them", "4 of them", "numbers"),
    ("`x`", "`y`", "code"),
    ("b.md", "c.md", "links"),
    ("--all", "--most", "blocks"),
    ("- two\n", "", "shape"),
    ("| 1 | 2 |\n", "", "shape"),
    ("| 1 | 2 |", "| 12 |", "shape"),
    ("- one", "More.\n\n- one", "shape"),
    ("## B", "### B", "headings"),
    ("## B\n", "", "headings"),
]


@pytest.mark.parametrize(("old", "new", "what"), CHANGES)
def test_each_difference_is_found(old: str, new: str, what: str | None) -> None:
    """The comparison itself."""
    one = Page(page("README.md").path, ENGLISH_TEXT)
    other = one._replace(text=ENGLISH_TEXT.replace(old, new))
    found = differences(one, other)
    assert (what in found[0]) if what else found == []


def test_a_table_s_words_are_chinese() -> None:
    """Words that the code makes are put into Chinese, numbers and code stay, an unknown word is told."""
    assert chinese.table("| What | 16 times faster |") == "| 场景 | 速度为对照的 16 倍 |"
    assert chinese.table("| `a b` | 2 GetObject, 1 Put |") == "| `a b` | 2 GetObject\u30011 Put |"
    with pytest.raises(KeyError):
        chinese.table("| Something new |")


# How they are set


@TRANSLATED
def test_setting(name: str) -> None:
    """Spaces between Chinese and Latin words, Chinese marks after Chinese words, a line a paragraph."""
    prose = re.sub(r"<[^>]*>|(?<=\])\([^)]*\)", "", page(name).prose)
    for pattern in (
        rf"{HAN}[A-Za-z0-9`]",
        rf"[A-Za-z0-9`]{HAN}",
        rf"{HAN}[,;:!?()]",
        rf"[,;:!?(]{HAN}",
        rf"{HAN} +{HAN}",
        rf"{HAN}.*\n(?![-|#\n]|\d+\. ).*{HAN}",
    ):
        assert [match[0] for match in re.finditer(pattern, prose)] == [], pattern


@pytest.mark.parametrize("each", [each for each in pages() if not each.path.match(".github/*")], ids=str)
def test_no_mark_is_left(each: Page) -> None:
    """Rendered, a page shows no mark of emphasis: next to Chinese punctuation one is easily left."""
    html = MarkdownIt("commonmark").enable("table").render(each.text)
    shown = re.sub(r"<(pre|code)\b.*?</\1>", "", html, flags=re.DOTALL)
    assert "**" not in shown
    assert not re.search(r"\]\(", shown)
