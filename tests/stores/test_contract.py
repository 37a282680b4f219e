"""The contract, over every store alike: what a run gives, and what stays when it cannot."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation import cleaning, levels, steps, tree
from aggregation.errors import ConfigurationError, MissingInputError
from aggregation.layout import Layout
from aggregation.runner import Run
from aggregation.shape import Shape
from places import PLACES, Place

LAYOUT = Layout()
CONTENT = st.one_of(
    st.binary(max_size=64),
    # The borders of what is gathered, streamed, and left to the kernel or the service.
    st.tuples(st.sampled_from([65_535, 65_536, 102_399, 102_400, 262_145]), st.integers(0, 255)).map(
        lambda pair: bytes([pair[1]]) * pair[0]
    ),
)


@pytest.fixture(params=sorted(PLACES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty root in each store."""
    with PLACES[request.param](tmp_path) as opened:
        yield opened


def put_level(place: Place, level: int, contents: list[bytes]) -> None:
    """Write a level past the store."""
    for number, content in enumerate(contents):
        place.put(LAYOUT.file(level, number), content)


def test_result_is_the_plain_concatenation(place: Place) -> None:
    """Whatever the number of files, their bytes, the fan-in and the depth: result.txt is level 1 in order."""

    @settings(max_examples=5 if place.costly else 25)
    @given(
        contents=st.lists(CONTENT, min_size=1, max_size=40),
        fan_in=st.integers(2, 5),
        levels=st.integers(0, 4),
        checksum=st.booleans(),
    )
    def check(contents: list[bytes], fan_in: int, levels: int, checksum: bool) -> None:
        place.storage.remove_tree("l1")  # of the example before
        put_level(place, 1, contents)
        widths = tree.widths(len(contents), fan_in, levels)
        for level, width in enumerate(widths[:-1], start=1):
            for number in range(tree.group_count(width, fan_in)):
                steps.process(
                    place.storage, LAYOUT, number, level, fan_in=fan_in, files=width, checksum=checksum
                )
        done = steps.merge(
            place.storage, LAYOUT, widths[-1], level=len(widths), output="result.txt", checksum=checksum
        )
        assert place.get("result.txt") == b"".join(contents)
        assert done.written.size == len(b"".join(contents))
        assert not [name for name in place.names() if not name.endswith(".txt") or name.startswith(".")]

    check()


def test_again_gives_the_same(place: Place) -> None:
    """A repeated run replaces the target by the same bytes; changed inputs replace it by the new ones."""
    for contents in ([b"a", b"b"], [b"a", b"b"], [b"longer", b""]):
        put_level(place, 1, contents)
        steps.process(place.storage, LAYOUT, 0, 1, fan_in=2)
        assert place.get("l2/0.txt") == b"".join(contents)


def test_a_pattern_finds_files(place: Place) -> None:
    """Files at any depth, by their whole names; no temporaries, nothing hidden, nothing where nothing is."""
    for name in ("a/1.bin", "a/10.bin", "a/b/2.bin", "a/.3.bin", "4.bin", "a/5.txt"):
        place.put(name, name.encode())
    for pattern, found in (
        ("a/*.bin", ["a/1.bin", "a/10.bin"]),
        ("a/1*", ["a/1.bin", "a/10.bin"]),
        ("**/*.bin", ["4.bin", "a/1.bin", "a/10.bin", "a/b/2.bin"]),
        ("*/*/*", ["a/b/2.bin"]),
        ("a/**", ["a/1.bin", "a/10.bin", "a/5.txt", "a/b/2.bin"]),
        ("a/.*", ["a/.3.bin"]),
        ("a/b", []),
        ("a/5.txt", ["a/5.txt"]),
        ("nowhere/*", []),
    ):
        assert sorted(place.storage.glob(pattern)) == found, pattern


def test_missing_input_leaves_the_target(place: Place) -> None:
    """A group with a file missing fails, names it, and leaves the old target whole."""
    for content in (b"a", b"x" * 3_000_000):  # which may be copied before the second is missed
        put_level(place, 1, [content])
        place.put("l2/0.txt", b"old")
        before = place.names()
        with pytest.raises(MissingInputError, match=r"l1/1\.txt"):
            steps.process(place.storage, LAYOUT, 0, 1, fan_in=2)
        assert place.get("l2/0.txt") == b"old"
        assert place.names() == before


def test_the_last_level_is_found(place: Place) -> None:
    """Exactly one level may hold files 0 to n-1 and no file n."""
    for level, width in [(1, 8), (2, 4), (3, 2)]:
        put_level(place, level, [b"%d" % level] * width)
    place.put("l2/notes.md", b"")
    assert [levels.last_level(place.storage, LAYOUT, n) for n in (8, 4, 2)] == [1, 2, 3]
    put_level(place, 4, [b"x"] * 2)
    with pytest.raises(MissingInputError, match=r"several levels.*l3 holds 2 files \(0 to 1\).*--level"):
        levels.last_level(place.storage, LAYOUT, 2)
    with pytest.raises(MissingInputError, match=r"no level.*l1 holds 8 files \(0 to 7\).*--level"):
        levels.last_level(place.storage, LAYOUT, 3)


def test_entries_and_find(place: Place) -> None:
    """A listing gives names, with sizes and times when asked; an absent folder holds nothing."""
    put_level(place, 1, [b"a", b"bcd"])
    assert sorted(place.storage.names("l1")) == ["0.txt", "1.txt"]
    details = {entry.name: entry for entry in place.storage.entries("l1")}
    assert details["1.txt"].size == 3
    assert details["1.txt"].modified > 0
    assert place.storage.names("l9") == []
    assert place.storage.entries("l9") == []
    assert place.storage.names("") == ["l1"]
    found = place.storage.find("l1/1.txt")
    assert found
    assert (found.name, found.size) == ("1.txt", 3)
    assert found.modified == details["1.txt"].modified
    assert place.storage.find("l1/2.txt") is None


def test_an_identity_stays_as_long_as_the_content_does(place: Place) -> None:
    """Two looks at a file give the same identity; another content another one, by listing and by look-up."""
    put_level(place, 1, [b"a", b"b"])

    def listed() -> dict[str, str]:
        return {entry.name: entry.identity for entry in place.storage.entries("l1")}

    first = listed()
    assert first == listed()
    place.put("l1/0.txt", b"c")
    second = listed()
    assert second["1.txt"] == first["1.txt"]
    assert second["0.txt"] != first["0.txt"]
    found = place.storage.find("l1/0.txt")
    assert found
    assert found.identity == second["0.txt"]


def test_remove_tree(place: Place) -> None:
    """A folder goes with all below it, and its like stay; what is absent is no error."""
    for name in ("runs/a/l2/0.txt", "runs/a/l2/.x", "runs/a/.pipeline.json", "runs/ab/l2/0.txt", "l1/0.txt"):
        place.put(name, b"x")
    for _ in range(2):
        place.storage.remove_tree("runs/a")
        assert place.names() == {"runs/ab/l2/0.txt", "l1/0.txt"}
    place.storage.remove_tree("runs/ab")
    assert place.storage.names("") == ["l1"]
    place.storage.remove_tree("runs/none")


def test_a_run_of_its_own(place: Place) -> None:
    """With a run the levels from 2 on are in its folder, and all of that goes when it is cleaned."""
    put_level(place, 1, [b"a", b"b", b"c"])
    layout = Layout(run="x.y")
    for number in range(2):
        steps.process(place.storage, layout, number, 1, fan_in=2, files=3)
    assert place.get("runs/x.y/l2/1.txt") == b"c"
    steps.merge(place.storage, layout, 2, output="result.txt")
    cleaning.clean(place.storage, layout)
    assert place.get("result.txt") == b"abc"
    assert place.names() == {*(LAYOUT.file(1, number) for number in range(3)), "result.txt"}


def test_a_count_that_would_leave_files_out(place: Place) -> None:
    """Fewer files than level 1 holds are an error that names both counts, unless they are meant."""
    put_level(place, 1, [b"a", b"b", b"c", b"d"])
    with pytest.raises(MissingInputError, match=r"joining 3 files.*4 files \(0 to 3\).*--partial"):
        steps.process(place.storage, LAYOUT, 1, 1, fan_in=2, files=3)
    with pytest.raises(MissingInputError, match=r"joining 3 files.*4 files \(0 to 3\).*--partial"):
        steps.merge(place.storage, LAYOUT, 3, level=1, output="result.txt")
    assert place.names() == {LAYOUT.file(1, number) for number in range(4)}
    steps.process(place.storage, LAYOUT, 0, 1, fan_in=2, files=3)  # the last group looks, for all
    steps.process(place.storage, LAYOUT, 1, 1, fan_in=2, files=3, partial=True)
    steps.merge(place.storage, LAYOUT, 3, level=1, output="result.txt", partial=True)
    assert (place.get("l2/1.txt"), place.get("result.txt")) == (b"c", b"abc")


def test_write_read_remove(place: Place) -> None:
    """What is written is read back; removing is idempotent."""
    place.storage.write("l1/0.txt", b"hello")
    place.storage.write("l1/0.txt", b"world!")
    assert place.storage.read("l1/0.txt", 3) == b"wor"
    assert place.storage.read("l1/0.txt", 100) == place.storage.read("l1/0.txt", None) == b"world!"
    place.storage.write("l1/0.txt", b"")
    assert place.storage.read("l1/0.txt", 100) == b""
    place.storage.remove(["l1/0.txt", "l1/1.txt"])
    place.storage.remove(["l1/0.txt"])
    assert place.names() == set()
    for limit in (1, None):
        with pytest.raises(MissingInputError):
            place.storage.read("l1/0.txt", limit)


def test_prepare(place: Place) -> None:
    """Letters are made once and kept; anything else is never replaced."""
    steps.prepare(place.storage, LAYOUT, 5, parallel=4)
    letters = [place.get(LAYOUT.file(1, n)) for n in range(5)]
    assert all(letter and letter.isalpha() and letter.isupper() and len(letter) == 1 for letter in letters)
    steps.prepare(place.storage, LAYOUT, 5, parallel=4)
    assert [place.get(LAYOUT.file(1, n)) for n in range(5)] == letters
    place.put("l1/3.txt", b"data")
    with pytest.raises(ConfigurationError, match=r"l1/3\.txt"):
        steps.prepare(place.storage, LAYOUT, 5, parallel=4)
    assert place.get("l1/3.txt") == b"data"


def test_checksum(place: Place) -> None:
    """The CRC64 of the target is OSS's: CRC-64/XZ."""
    put_level(place, 1, [b"1234", b"56789"])
    done = steps.process(place.storage, LAYOUT, 0, 1, fan_in=2, checksum=True)
    assert done.written.crc64 == 0x995DC9BBDF1939FA


def test_an_interrupted_join_leaves_the_target(place: Place) -> None:
    """What a watcher raises in the middle of a join ends it, and nothing is left."""
    put_level(place, 1, [b"x" * 300_000, b"y" * 300_000])
    place.put("l2/0.txt", b"old")
    before = place.names()

    class WatcherError(Exception):
        pass

    def advance(_: int) -> None:
        raise WatcherError

    with pytest.raises(WatcherError):
        steps.process(place.storage, LAYOUT, 0, 1, fan_in=2, advance=advance)
    assert place.get("l2/0.txt") == b"old"
    assert place.names() == before


def test_a_whole_tree(place: Place) -> None:
    """The runner's tree: 37 files, odd widths, the levels between cleaned away."""
    contents = [b"%d," % n for n in range(37)]
    put_level(place, 1, contents)
    run = Run(place.storage, LAYOUT, Shape(37, 3, 2), workers=4, output="result.txt")
    run.execute(prepare=False, resume=False)
    cleaning.clean(place.storage, run.layout, run.mark.note())
    assert place.get("result.txt") == b"".join(contents)
    assert [len(stage.steps) for stage in run.stages] == [13, 5, 1]
    assert place.names() == {LAYOUT.file(1, n) for n in range(37)} | {"result.txt"}
