"""Natural order: 2 before 10, folder by folder; what two names leave open is an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.inputs.order import AmbiguousNamesError, in_natural_order


@pytest.mark.parametrize(
    "ordered",
    [
        ["shot7_1.exr", "shot7_2.exr", "shot7_10.exr"],
        ["0001.png", "0002.png", "0010.png", "1000.png", "10000.png"],
        ["2/0/0.png", "2/0/10.png", "2/10/3.png", "10/0/0.png"],
        ["2026-11-24T03.las", "2026-11-24T21.las", "2026-12-01T00.las"],
        ["a/1", "a/10", "a-b/1"],
        ["a", "a b", "b"],
        ["\u00e9 1", "\u00e9 2", "\u96ea 1"],
        ["-1", "-2", "-10"],
        ["a05b1", "a5b01"],
    ],
)
def test_natural_order(ordered: list[str]) -> None:
    """Numbers by their value, text by its characters, folders before what begins like them."""
    assert in_natural_order(reversed(ordered)) == ordered


@pytest.mark.parametrize(
    ("one", "other"), [("1", "01"), ("a/1.png", "a/001.png"), ("v1_2", "v01_2"), ("1/2", "01/2")]
)
def test_the_same_number_twice_is_an_error(one: str, other: str) -> None:
    """It names both, since nothing says which comes first."""
    with pytest.raises(AmbiguousNamesError) as caught:
        in_natural_order(["0", one, other, "7"])
    assert one in str(caught.value).split()
    assert other in str(caught.value).split()


@given(st.lists(st.integers(0, 10**9), unique=True), st.integers(1, 9))
def test_numbers_of_any_width_are_in_order(numbers: list[int], width: int) -> None:
    """Whatever the zeros before them."""
    names = [f"x{number:0{width}}.y" for number in numbers]
    assert in_natural_order(names) == [f"x{number:0{width}}.y" for number in sorted(numbers)]
