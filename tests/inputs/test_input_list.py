"""The list as a file: what is written is read back, and what was cut short, or is no list, is noticed."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aggregation.errors import MissingInputError
from aggregation.inputs.input_list import InputList, Names, account_of, parse, path_of
from aggregation.layout import Layout

PART = st.text(
    st.characters(blacklist_characters="/\n\0", blacklist_categories=["Cs"]), min_size=1, max_size=12
).filter(lambda part: part not in (".", ".."))
NAME = st.tuples(st.sampled_from(["", "/"]), st.lists(PART, min_size=1, max_size=3)).map(
    lambda pair: pair[0] + "/".join(pair[1])
)


@given(names=st.lists(NAME, min_size=1, max_size=30), missing=st.integers(0, 5))
@example(names=["# 3 inputs", " ", "a\r", "%2F", "-n", "\udcff", "\u96ea"], missing=0)
def test_names_are_read_back(names: list[str], missing: int) -> None:
    """Whatever they are made of, bytes that are no UTF-8 among them."""
    written = InputList(names, missing, "--glob '*, 7 missing'")
    read = parse(written.to_bytes())
    assert (list(read.names), read.missing, read.how) == (names, missing, written.how)
    assert read.digest() == written.digest()


@given(names=st.lists(NAME, min_size=2, max_size=8), data=st.data())
def test_a_list_that_is_cut_short_is_noticed(names: list[str], data: st.DataObject) -> None:
    """Wherever it ends, down to the last line end."""
    whole = InputList(names, 0, "--glob '*'").to_bytes()
    first = whole.index(b"\n") + 1
    end = data.draw(st.integers(first, len(whole) - 1))
    with pytest.raises(ValueError, match=r"cut short|its first line says"):
        parse(whole[:end])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no input"),
        (b"# mine\n", "no input"),
        (b"# 0 inputs, made by inputs.py\n", "no input"),
        (b"a\r\nb\r\n", "Windows"),
        (b"# 2 inputs\na\nb\nc\n", "holds 3 names"),
        (b"# 2 inputs\na\nb\nc", "last line is cut short"),
    ],
)
def test_what_is_no_list_is_refused(data: bytes, said: str) -> None:
    """The message says what is wrong."""
    with pytest.raises(ValueError, match=said):
        parse(data)


@pytest.mark.parametrize("name", ["", "..", "../a", "a/./b", "a//b", "a/", "/", "//a", "a/.."])
def test_a_name_that_leaves_its_folder_is_refused(name: str) -> None:
    """When it is asked for: what another step takes is its own affair."""
    names = parse(f"a\n{name}\nb\n".encode()).names
    assert (names[0], names[2]) == ("a", "b")
    with pytest.raises(MissingInputError, match="no file"):
        names[1]
    with pytest.raises(MissingInputError, match="no file"):
        names[0:2]
    with pytest.raises(MissingInputError, match="no file"):
        list(names)


def test_a_list_by_hand() -> None:
    """It may lack the first line, and the last line's end."""
    assert list(parse(b"b\na").names) == ["b", "a"]
    assert list(parse(b"# my own\nb\na\n").names) == ["b", "a"]


def test_any_of_many_thousand() -> None:
    """One, some, all: from any place, near the borders of what is read together too."""
    every = [f"night/shot7_{number:06}.exr" for number in range(20_000)]
    names = Names("".join(f"{name}\n" for name in every).encode())
    assert len(names) == 20_000
    assert [names[number] for number in range(20_000)] == every
    assert [names[number] for number in (19_999, 0, 9_999, -1)] == [every[n] for n in (-1, 0, 9_999, -1)]
    assert names[2_000:4_000] == every[2_000:4_000]
    assert names[19_990:30_000] == every[19_990:]
    assert list(names) == every
    with pytest.raises(IndexError):
        names[20_000]


def test_where_a_list_is() -> None:
    """In the run's folder, unless its name is a path; its account is beside it."""
    assert path_of(Layout(), "inputs.txt") == "inputs.txt"
    assert path_of(Layout(run="r"), "inputs.txt") == "runs/r/inputs.txt"
    assert path_of(Layout(run="r"), "lists/a.txt") == "lists/a.txt"
    assert account_of("runs/r/inputs.txt") == "runs/r/missing.json"
    assert account_of("lists/a.txt") == "lists/a.missing.json"
