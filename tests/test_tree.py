"""The arithmetic: every file in exactly one group, in order, whatever the numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation import tree

FILES = st.integers(1, 10_000)
FAN_IN = st.integers(2, 64)


@given(files=FILES, fan_in=FAN_IN)
def test_groups_cover_a_level_once_and_in_order(files: int, fan_in: int) -> None:
    """The groups of a level, one after the other, are its files."""
    groups = [tree.group(number, fan_in, files) for number in range(tree.group_count(files, fan_in))]
    assert [number for group in groups for number in group] == list(range(files))
    assert all(len(group) == fan_in for group in groups[:-1])


@given(files=FILES, fan_in=FAN_IN)
def test_no_group_is_empty(files: int, fan_in: int) -> None:
    """The group after the last is refused rather than empty."""
    with pytest.raises(ValueError, match=f"a level of {files} files has groups 0 to"):
        tree.group(tree.group_count(files, fan_in), fan_in, files)


@pytest.mark.parametrize(
    ("files", "fan_in", "levels", "widths"),
    [
        (32, 2, 2, [32, 16, 8]),  # the tutorial
        (512, 2, 5, [512, 256, 128, 64, 32, 16]),  # its larger sister
        (15, 2, 2, [15, 8, 4]),
        (4097, 16, 3, [4097, 257, 17, 2]),
        (1, 2, 3, [1, 1, 1, 1]),
        (5, 2, 0, [5]),
    ],
)
def test_widths(files: int, fan_in: int, levels: int, widths: list[int]) -> None:
    """The known shapes have the known widths."""
    assert tree.widths(files, fan_in, levels) == widths


def test_without_files_a_group_is_full() -> None:
    """A short group is computed from the level's size only, so without it none is short."""
    assert list(tree.group(7, 3)) == [21, 22, 23]
