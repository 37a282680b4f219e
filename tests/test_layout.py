"""Names: what is written is read back, and nothing else is taken for it."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.layout import Layout, Temporary, new_temporary, parse_temporary, run_of_mark
from aggregation.location import Location, parse

NUMBERS = st.integers(0, 10**30)


@given(level=NUMBERS, number=NUMBERS, suffix=st.sampled_from([".txt", ".osm.pbf", ""]))
def test_names_are_read_back(level: int, number: int, suffix: str) -> None:
    """A level's file gives its level and number back."""
    layout = Layout(suffix)
    folder, name = layout.file(level, number).split("/")
    assert (layout.level(folder), layout.number(name)) == (level, number)


def test_a_run_s_own_names() -> None:
    """Level 1 and the result are everybody's, what is above is the run's; its mark is no run's name."""
    layout = Layout(run="a.b")
    assert list(layout.files(1, [0, 1])) == ["l1/0.txt", "l1/1.txt"]
    assert list(layout.files(2, [0])) == ["runs/a.b/l2/0.txt"]
    assert layout.run_folder == "runs/a.b"
    assert Layout().run_folder == ""
    assert layout.levels(["l1", "l2", "runs"], ["l1", "l3", "x"]) == [1, 3]
    assert Layout().levels(["l1", "l2", "runs"], []) == [1, 2]
    assert run_of_mark(layout.merged_mark.partition("/")[2]) == layout.run
    assert [run_of_mark(name) for name in ("a.b", "~", "a/b~", "..~")] == [None] * 4


@pytest.mark.parametrize(
    "name",
    ["01.txt", "1.TXT", "1.txt.bak", "-1.txt", "+1.txt", "\u0661.txt", ".txt", "1", "1 .txt", "1_0.txt"],
)
def test_other_names_are_no_files_of_a_level(name: str) -> None:
    """Only the one spelling that the worker writes counts as a number."""
    assert Layout().number(name) is None


@pytest.mark.parametrize("name", ["l01", "L1", "l", "1", "l-1", "l1 ", "level1"])
def test_other_folders_are_no_levels(name: str) -> None:
    """Only the one spelling that the worker writes counts as a level."""
    assert Layout().level(name) is None


@given(
    target=st.sampled_from(["0.txt", "result.txt", "12.osm.pbf", "3", "a.1.b.tmp"]),
    host=st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True),
    pid=st.integers(1, 2**22),
    token=st.from_regex(r"aggregation[0-9a-f]{8}[0-9]{1,4}", fullmatch=True),
)
def test_temporaries_are_read_back(target: str, host: str, pid: int, token: str) -> None:
    """A temporary's name gives its target and its writer back, whatever dots the target has."""
    temporary = Temporary(target, host, pid, token)
    assert parse_temporary(temporary.name()) == temporary
    assert Layout().number(temporary.name()) is None


@pytest.mark.parametrize(
    "name",
    [
        *(".DS_Store", ".0.txt.swp", "0.txt", ".tmp", ".0.txt.host.x.ab.tmp", ".backup.2024.12.31.tmp"),
        *(".cache.v1.2.3.tmp", ".syncthing.frame.7.bin.tmp", ".0.txt.host.12.0a1b2c3d7.tmp"),
        *(".0.txt.host.12.aggregation.tmp", ".0.txt.host.12.aggregation0a1b2c3d.tmp"),
    ],
)
def test_a_stranger_is_no_temporary(name: str) -> None:
    """What other programs leave in a folder is never taken for ours."""
    assert parse_temporary(name) is None


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("/mnt/vol", Location("", "/mnt/vol")),
        ("/mnt/vol/", Location("", "/mnt/vol")),
        ("/", Location("", "/")),
        ("data", Location("", "data")),
        ("oss://bucket/a/b/", Location("oss", "bucket/a/b")),
        ("oss://bucket", Location("oss", "bucket")),
        ("memory://x", Location("memory", "x")),
        ("C:/data", Location("", "C:/data")),
        ("file:///mnt/vol/", Location("file", "/mnt/vol")),
        ("simplecache::s3://bucket/a", Location("simplecache::s3", "bucket/a")),
        ("simplecache::/mnt/vol", Location("simplecache::", "mnt/vol")),
    ],
)
def test_roots(text: str, location: Location) -> None:
    """A root is a directory, or a URL with a protocol."""
    assert parse(text) == location


@pytest.mark.parametrize("text", ["", "oss://", "oss:///", "a\0b"])
def test_no_roots(text: str) -> None:
    """A root that names no place is refused with a reason."""
    with pytest.raises(ValueError, match=r"root|bucket"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ftp://user:marked-secret@host:2121/a", "ftp://user:***@host:2121/a"),
        ("ftp://user:marked%2Fsecret@host/a", "ftp://user:***@host/a"),
        ("ftp://user:marked/secret@host/a", "ftp://user:***@host/a"),
        ("ftp://user:ab@host/a", "ftp://user:***@host/a"),
        ("filecache::ftp://user:marked-secret@host/a", "filecache::ftp://user:***@host/a"),
        ("ftp://user@host/a", "ftp://user@host/a"),
        ("ftp://host:2121/a:b@c", "ftp://host:2121/a:b@c"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
        ("/mnt/a:b@c", "/mnt/a:b@c"),
    ],
)
def test_a_password_is_never_shown(text: str, shown: str) -> None:
    """A root as a text has no password, nor has what others say about it; the store gets it all the same."""
    location = parse(text)
    assert str(location) == shown
    assert location.url == text
    assert location.masked(f"cannot log in to {text}") == f"cannot log in to {shown}"


@pytest.mark.parametrize("target", ["0" * 255, "é" * 127 + "x", "a" * 200 + ".txt", "\udcff" * 255, "x"])
@pytest.mark.parametrize("room", [140, 255])
def test_a_temporary_fits_where_its_target_does(target: str, room: int) -> None:
    """A name is never longer than a file system's, is still read back, and is good UTF-8 if it was cut."""
    temporary = new_temporary(target, "h" * 64 + "-4026531836", room)
    name = temporary.name()
    assert len(os.fsencode(name)) <= max(room, 131)  # which the longest host name and process number need
    assert parse_temporary(name) == temporary
    assert temporary.target == target or name.encode()
