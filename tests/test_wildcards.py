"""Patterns: what a shell takes them for, and what none can be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.wildcards import Pattern, escape, is_literal, matcher

NAMES = st.lists(st.text("ab01.-[]*?!^\\ \u00e9", min_size=1, max_size=6), min_size=1, max_size=3).filter(
    lambda parts: not {".", ".."} & set(parts)
)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("shot7_*.exr", ["shot7_1.exr", "shot7_.exr"], ["shot7_1.EXR", "a/shot7_1.exr", "shot7_1.exr.bak"]),
        ("*/*/*.png", ["3/1/2.png"], ["1/2.png", "0/3/1/2.png"]),
        ("**/*.png", ["2.png", "3/1/2.png"], ["3/1/2.jpg", ".git/2.png"]),
        ("tiles/**", ["tiles/a", "tiles/3/1/2.png"], ["tiles", "tiles/.a", "other/a"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["a/b/zz", "az"]),
        ("*", ["a", "a b", "%", "-n", "\u96ea"], [".hidden", "a/b"]),
        (".*", [".hidden"], ["hidden"]),
        ("?.txt", ["1.txt"], ["10.txt", "..txt"]),
        ("[0-9][!0-9]", ["1a", "1-"], ["11", "1/"]),
        ("[]a]", ["]", "a"], ["b"]),
        ("[z-a]", [], ["z", "a", "m"]),
        ("[^a]", ["^", "a"], ["b"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("[a", ["[a"], ["a"]),
        ("a**b", ["ab", "axxb"], ["a/b"]),
        ("/other/*.bin", ["/other/1.bin"], ["other/1.bin"]),
    ],
)
def test_patterns_match_as_a_shell_s(pattern: str, matching: list[str], others: list[str]) -> None:
    """Each part for itself, case and all; hidden names only where the pattern's part begins with a dot."""
    compiled = Pattern(pattern)
    assert [name for name in matching if not compiled.matches(name)] == []
    assert [name for name in others if compiled.matches(name)] == []
    assert all(name.startswith(compiled.literal) for name in matching)


@pytest.mark.parametrize("text", ["", "a//b", "a/", "../a", "a/./b", "a\nb", "a\0b"])
def test_what_is_no_pattern(text: str) -> None:
    """What could match no name, or leave the root, is refused before anything is listed."""
    with pytest.raises(ValueError, match=r"pattern|part"):
        Pattern(text)


@given(parts=NAMES, other=NAMES)
def test_escaped_is_itself(parts: list[str], other: list[str]) -> None:
    """An escaped name matches itself and nothing else."""
    name = "/".join(parts)
    compiled = Pattern(escape(name))
    assert compiled.matches(name)
    assert compiled.matches("/".join(other)) == (other == parts)


@given(part=st.text("ab*?[]!-.", min_size=1, max_size=6), name=st.text("ab[]!-.", min_size=1, max_size=6))
def test_a_part_alone_is_the_same(part: str, name: str) -> None:
    """What walks folder by folder and what looks at whole names agree."""
    if part in (".", "..", "**"):
        return
    assert (matcher(part).fullmatch(name) is not None) == Pattern(part).matches(name)
    if is_literal(part):
        assert Pattern(part).matches(part)
