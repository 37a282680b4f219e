"""Frames as render managers write them, and names that hold their numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.inputs.frames import FRAMES_MAX, NamePattern, describe_frames, parse_frames
from aggregation.wildcards import Pattern


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1-5", [1, 2, 3, 4, 5]),
        ("7", [7]),
        ("1-10x4", [1, 5, 9]),
        ("1-3,10,20-22", [1, 2, 3, 10, 20, 21, 22]),
        ("1-2, 5", [1, 2, 5]),
        ("0007-0009", [7, 8, 9]),
    ],
)
def test_ranges_are_read(text: str, numbers: list[int]) -> None:
    """Single numbers, ranges, ranges with a step, several of them."""
    assert list(parse_frames(text)) == numbers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no range"),
        ("-5--1", "no range"),
        ("-3", "no range"),
        ("1-", "no range"),
        ("1..5", "no range"),
        ("1-5x0", "empty"),
        ("5-1", "lower number first"),
        ("1-5,3", "3 comes after 5"),
        ("1,1", "once"),
        ("5,1", "ascending"),
        ("1-9999999", str(FRAMES_MAX)),
        ("1-" + "9" * 100, str(FRAMES_MAX)),
        ("1-" + "9" * 101, "no range"),
        ("\u0661-\u0663", "no range"),
    ],
)
def test_what_is_no_range_is_refused(text: str, said: str) -> None:
    """Negative, doubled, descending, endless or unreadable: the message says which."""
    with pytest.raises(ValueError, match=said):
        parse_frames(text)


@given(st.sets(st.integers(0, 300), max_size=80))
def test_described_frames_are_read_back(numbers: set[int]) -> None:
    """What an account says can be given to --frames, and to a render manager."""
    ordered = sorted(numbers)
    text = describe_frames(ordered)
    assert list(parse_frames(text) if text else ()) == ordered


def test_described_frames_are_short() -> None:
    """As a person would write them."""
    assert describe_frames([17, 230, 231, 232, 233]) == "17,230-233"
    assert describe_frames([1, 2, 4, 6, 8, 20]) == "1-2,4-8x2,20"
    assert describe_frames([1, 2]) == "1-2"
    assert describe_frames([1, 5]) == "1,5"


@given(number=st.integers(0, 10**6), digits=st.sampled_from(["", ":04", ":4", ":01", ":012"]))
def test_names_hold_their_number(number: int, digits: str) -> None:
    """A name gives its number back, and the pattern of all of them matches it."""
    pattern = NamePattern(f"a[1]/shot*_{{number{digits}}}.exr")
    name = pattern.name(number)
    assert pattern.number(name) == number
    assert Pattern(pattern.glob()).matches(name)
    assert name.startswith("a[1]/shot*_")
    assert len(name) >= len("a[1]/shot*_.exr") + int(digits[1:] or 0)


def test_a_name_s_other_spellings() -> None:
    """Other zeros are the same number, other texts are none; a number may stand twice."""
    pattern = NamePattern("{number:03}/f_{number}.exr")
    assert pattern.name(7) == "007/f_7.exr"
    assert [pattern.number(name) for name in ("7/f_007.exr", "007/f_8.exr", "007/f_.exr")] == [7, None, None]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shot.exr", "holds no number"),
        ("shot_%04d.exr", "instead of %04d"),
        ("shot_####.exr", "instead of"),
        ("shot_{number:x}.exr", "written"),
        ("shot_{number:>4}.exr", "written"),
        ("shot_{number!r}.exr", "written"),
        ("shot_{number.real}.exr", "written"),
        ("../{number}", "no name"),
        ("a//{number}", "no name"),
        ("{number}/", "no name"),
        ("a\n{number}", "no name"),
    ],
)
def test_what_is_no_name_is_refused(text: str, said: str) -> None:
    """One way to write a number, and no other of Python's format strings."""
    with pytest.raises(ValueError, match=said):
        NamePattern(text)
