"""Making a list, over every store alike: what it finds, in which order, what it leaves out, what it costs."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

import machine
import slow_mount
from aggregation import steps
from aggregation.commands.command import Command, parse
from aggregation.errors import ConfigurationError, MissingInputError, WrongUsageError
from aggregation.inputs import input_list, planning
from aggregation.inputs.frames import NamePattern, parse_frames
from aggregation.inputs.gaps import SKIP, Bound, parse_account
from aggregation.inputs.given import GivenInputs
from aggregation.inputs.planning import Plan, Request
from aggregation.layout import INPUTS, Layout, account_beside
from places import PLACES, Place, local, oss_place

LAYOUT = Layout(run="r")
OUTPUT = "result.txt"

NAMES = {
    "blender": ("*.png", [f"{n:04}.png" for n in range(1, 13)]),
    "from 101": ("shot/name.*.exr", [f"shot/name.{n:04}.exr" for n in range(101, 112)]),
    "unpadded": ("shot7_*.exr", [f"shot7_{n}.exr" for n in (1, 2, 9, 10, 11, 100)]),
    "tiles": (
        "tiles/*/*/*.png",
        [f"tiles/{z}/{x}/{y}.png" for z in (2, 10) for x in (0, 3) for y in (1, 12)],
    ),
    "any depth": ("**/*.las", ["1.las", "2/1.las", "2/10/1.las", "10/1.las"]),
    "dates": ("*.las", ["2026-11-24T03.las", "2026-11-24T21.las", "2026-12-01T00.las"]),
    "spaces and %": ("in put/*", ["in put/a %20 1.bin", "in put/a %20 2.bin", "in put/a %20 10.bin"]),
    "unicode": ("\u96ea/*", ["\u96ea/\u00e9 1", "\u96ea/\u00e9 2", "\u96ea/\u96ea"]),
    "dashes": ("-*", ["-1.exr", "-2.exr", "--help"]),
    "shell": ("a[[]1]/*", ["a[1]/$(reboot)", "a[1]/;x", "a[1]/`y`"]),
}
"""A pattern, and the names of the files that it matches, in their order."""


@pytest.fixture(params=sorted(PLACES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty root in each store."""
    with PLACES[request.param](tmp_path) as opened:
        yield opened


def put(place: Place, names: list[str]) -> bytes:
    """Write files, each with bytes of its own, in any order; returns them joined in that of the names."""
    contents = {name: f"<{name}>".encode("utf-8", "surrogateescape") for name in names}
    for name in Random(1).sample(names, len(names)):
        place.put(name, contents[name])
    return b"".join(contents.values())


def planned(place: Place, request: Request, layout: Layout = LAYOUT) -> Plan:
    """The list, written into the run's folder."""
    plan = planning.plan(place.storage, layout, request, output=OUTPUT)
    planning.write(place.storage, input_list.path_of(layout, INPUTS), plan)
    return plan


def joined(place: Place, layout: Layout = LAYOUT) -> bytes | None:
    """The result of the list that was written, by pairs and a merge."""
    given = GivenInputs.read(place.storage, layout, INPUTS)
    tree = layout._replace(inputs=given.inputs.names)
    width = -(-len(given.inputs.names) // 2)
    for number in range(width):
        steps.process(place.storage, tree, number, 1, fan_in=2)
    with given.accounted(place.storage, OUTPUT):
        steps.merge(place.storage, tree, width, level=2, output=OUTPUT)
    return place.get(OUTPUT)


@pytest.mark.parametrize("kind", sorted(NAMES))
def test_any_names_are_joined_in_their_order(place: Place, kind: str) -> None:
    """Whatever the names are, the result is what `cat` gives in natural order."""
    pattern, names = NAMES[kind]
    try:
        whole = put(place, names)
    except (OSError, ValueError) as error:
        pytest.skip(f"the store itself takes no such names: {error}")
    put(place, ["other.jpg", "frames/.hidden.png", "runs/old/l2/0.png", "runs/old/1.las", "l2/1.las"])
    assert list(planned(place, Request("", glob=pattern)).inputs.names) == names
    assert joined(place) == whole
    assert place.get(account_beside(OUTPUT)) is None


def test_frames_and_their_gaps(place: Place) -> None:
    """What is expected and not there is left out, named by its numbers, and told beside the result."""
    there = [n for n in range(1, 41) if n not in (3, 17, 18, 19)]
    whole = put(place, [f"f/shot_{n:04}.exr" for n in there])
    request = Request(
        "", numbers=parse_frames("1-40"), pattern=NamePattern("shot_{number:04}.exr"), base="f", policy=SKIP
    )
    with pytest.raises(MissingInputError, match=r"4 of 40 are missing: 3,17-19 \(f/shot_0003.exr"):
        planned(place, request._replace(policy="fail"))
    with pytest.raises(MissingInputError, match="more than the 3 of --at-most-missing 3"):
        planned(place, request._replace(bound=Bound.parse("3")))
    with pytest.raises(MissingInputError, match="more than the 3 of --at-most-missing 9%"):
        planned(place, request._replace(bound=Bound.parse("9%")))
    assert not any("inputs.txt" in name or "missing.json" in name for name in place.names())
    plan = planned(place, request._replace(bound=Bound.parse("10%")))
    assert plan.gaps is not None
    assert list(plan.gaps.numbers) == [3, 17, 18, 19]
    assert joined(place) == whole
    beside = place.get(account_beside(OUTPUT))
    assert beside is not None
    assert beside == place.get("runs/r/missing.json")
    assert parse_account(beside) == (4, plan.inputs.digest())
    put(place, [f"f/shot_{n:04}.exr" for n in (3, 17, 18, 19)])
    assert planned(place, request).gaps is None
    assert joined(place) == b"".join(f"<f/shot_{n:04}.exr>".encode() for n in range(1, 41))
    assert not any("missing.json" in name for name in place.names())


def test_a_placeholder_takes_their_place(place: Place) -> None:
    """It must be there; it is no input of a pattern, and may stand for several."""
    put(place, ["t/1.png", "t/4.png"])
    request = Request(
        "", numbers=parse_frames("1-4"), pattern=NamePattern("{number}.png"), base="t", policy="t/empty.png"
    )
    with pytest.raises(MissingInputError, match=r"placeholder .*t/empty.png is not there"):
        planned(place, request)
    put(place, ["t/empty.png"])
    names = ["t/1.png", "t/empty.png", "t/empty.png", "t/4.png"]
    assert list(planned(place, request).inputs.names) == names
    assert joined(place) == b"".join(f"<{name}>".encode() for name in names)
    by_glob = planned(place, Request("", glob="t/*.png", policy="t/empty.png"))
    assert list(by_glob.inputs.names) == ["t/1.png", "t/4.png"]


def test_names_that_a_list_expects(place: Place) -> None:
    """Any names in any order, hidden ones too, from a list."""
    whole = put(place, ["t/3/1.png", "t/.2/1.png", "t/3/10.png"])
    place.put("runs/r/expected.txt", b"3/1.png\n.2/1.png\n3/2.png\n3/10.png\n")
    request = Request("", expected="expected.txt", base="t", policy=SKIP)
    plan = planned(place, request)
    assert plan.gaps is not None
    assert list(plan.gaps.names) == ["t/3/2.png"]
    assert joined(place) == whole


def test_from_elsewhere_in_the_store(place: Place) -> None:
    """Names that begin with `/` count from where the store begins, and are read there."""
    whole = put(place, [f"deep/er/{n}.bin" for n in (1, 2, 10)])
    here = place.storage.path("").partition("://")[2] or place.storage.path("")
    # What a person calls the same folder, from the bucket or the file system's root on.
    has_host = place.storage.path("").startswith(("oss", "s3", "ftp"))
    base = f"/{here.partition('/')[2] if has_host else here.strip('/')}/deep"
    plan = planned(place, Request("", glob="**", base=base))
    assert list(plan.inputs.names) == [f"{base}/er/{n}.bin" for n in (1, 2, 10)]
    assert joined(place) == whole


@pytest.mark.parametrize("second", ["01.png", "001.png"])
def test_one_number_twice_is_an_error_that_names_both(place: Place, second: str) -> None:
    """By a pattern and by frames, whichever spelling is expected."""
    put(place, ["1.png", second, "2.png"])
    for request in (
        Request("", glob="*.png"),
        Request("", numbers=(1, 2), pattern=NamePattern("{number}.png")),
        Request("", numbers=(1, 2), pattern=NamePattern("{number:02}.png"), policy=SKIP),
    ):
        with pytest.raises(MissingInputError) as caught:
            planned(place, request)
        assert f"{second} and 1.png" in str(caught.value) or f"1.png and {second}" in str(caught.value)


def test_nothing_matches(place: Place) -> None:
    """The error says what is there instead; nothing is written."""
    put(place, ["shots/0001.EXR", "shots/0002.EXR"])
    before = place.names()
    for request, said in (
        (Request("", glob="shots/*.exr"), r"nothing matches shots/\*.exr: .* 2 names, such as 0001.EXR"),
        (Request("", glob="nowhere/*.exr"), "holds nothing"),
        (
            Request("", numbers=(1, 2), pattern=NamePattern("shots/{number}.EXR"), policy=SKIP),
            r"none of the 2 files .* such as 0001.EXR",
        ),
    ):
        with pytest.raises(MissingInputError, match=said):
            planned(place, request)
    assert place.names() == before


def test_a_result_is_no_input(place: Place) -> None:
    """The second run's list is the first one's: results, lists and accounts are left out by their names."""
    names = ["1.txt", "2.txt"]
    whole = put(place, names)
    layout = Layout()
    for _ in range(2):
        assert list(planned(place, Request("", glob="*"), layout).inputs.names) == names
        given = GivenInputs.read(place.storage, layout, INPUTS)
        tree = layout._replace(inputs=given.inputs.names)
        steps.merge(place.storage, tree, 2, level=1, output=OUTPUT)
        assert place.get(OUTPUT) == whole
        with pytest.raises(WrongUsageError, match="one of them"):
            steps.merge(place.storage, tree, 2, level=1, output="1.txt")


def test_a_result_does_not_replace_its_list(place: Place) -> None:
    """A step that runs again needs it."""
    put(place, ["1.txt", "2.txt"])
    planned(place, Request("", glob="*"), Layout())
    before = place.get(INPUTS)
    given = GivenInputs.read(place.storage, Layout(), INPUTS)
    with (
        pytest.raises(WrongUsageError, match="would replace their list"),
        given.accounted(place.storage, INPUTS),
    ):
        place.put(INPUTS, b"the result")
    assert place.get(INPUTS) == before


def test_other_files_are_not_overwritten(place: Place) -> None:
    """What has the name of a list or of an account, and is neither, stays."""
    put(place, ["f/1.exr", "f/3.exr"])
    request = Request("", numbers=(1, 2, 3), pattern=NamePattern("f/{number}.exr"), policy=SKIP)
    for name in ("inputs.txt", "missing.json"):
        place.put(f"runs/r/{name}", b"mine")
        with pytest.raises(ConfigurationError, match=r"was not made by inputs\.py"):
            planned(place, request)
        assert place.get(f"runs/r/{name}") == b"mine"
        place.storage.remove([f"runs/r/{name}"])
    planned(place, request)
    place.put(account_beside(OUTPUT), b"mine")
    with pytest.raises(ConfigurationError, match="no account"):
        joined(place)
    assert (place.get(account_beside(OUTPUT)), place.get(OUTPUT)) == (b"mine", None)


def test_a_merge_that_fails_leaves_result_and_account_as_they_were(place: Place) -> None:
    """Neither an account without its result, nor a result without its account."""
    put(place, ["f/1.exr", "f/3.exr"])
    request = Request("", numbers=(1, 2, 3), pattern=NamePattern("f/{number}.exr"), policy=SKIP)
    planned(place, request)
    given = GivenInputs.read(place.storage, LAYOUT, INPUTS)
    tree = LAYOUT._replace(inputs=given.inputs.names)
    place.storage.remove(["f/3.exr"])
    place.put(OUTPUT, b"old")
    with pytest.raises(MissingInputError), given.accounted(place.storage, OUTPUT):
        steps.merge(place.storage, tree, 2, level=1, output=OUTPUT)
    assert (place.get(OUTPUT), place.get(account_beside(OUTPUT))) == (b"old", None)


def test_an_account_of_another_list_is_refused(place: Place) -> None:
    """What a list lacks is told by the account that was made with it, or the merge fails before it begins."""
    put(place, ["f/1.exr", "f/3.exr", "f/4.exr"])
    request = Request("", numbers=(1, 2, 3), pattern=NamePattern("f/{number}.exr"), policy=SKIP)
    planned(place, request)
    of_this = place.get("runs/r/inputs.txt")
    assert of_this is not None
    planned(place, request._replace(numbers=(1, 2, 3, 4, 5)))
    place.put("runs/r/inputs.txt", of_this)
    with pytest.raises(MissingInputError, match="not of this list"):
        joined(place)
    place.storage.remove(["runs/r/missing.json"])
    with pytest.raises(MissingInputError, match="not there"):
        joined(place)


def test_two_inputs_of_one_name_reach_a_command(place: Place, tmp_path: Path) -> None:
    """Tiles of one group may be called alike: the command gets each of them."""
    whole = put(place, ["1/0.png", "2/0.png", "2/1.png"])
    planned(place, Request("", glob="*/*.png"))
    given = GivenInputs.read(place.storage, LAYOUT, INPUTS)
    tree = LAYOUT._replace(inputs=given.inputs.names)
    command = Command(parse("cat {inputs}"), scratch=str(tmp_path))
    steps.process(place.storage, tree, 0, 1, fan_in=3, command=command)
    assert place.get("runs/r/l2/0.txt") == whole


def test_a_listing_is_one_request_on_oss(tmp_path: Path) -> None:
    """A page for each 1,000 objects, however deep they lie, and no look at any of them."""
    with oss_place(tmp_path) as (place, server):
        for z in range(3):
            for x in range(20):
                for y in range(20):
                    server.put("demo", f"a/root/tiles/{z}/{x}/{y}.png", b"x")
        for pattern, pages in (("tiles/*/*/*.png", 2), ("tiles/0/0/*.png", 1), ("tiles/0/0/1*.png", 1)):
            server.counters.reset()
            planning.plan(place.storage, LAYOUT, Request("", glob=pattern), output=OUTPUT)
            counted = {name: tally.requests for name, tally in server.counters.operations.items()}
            assert counted == {"ListObjects": pages}
        server.counters.reset()
        request = Request("", numbers=range(20), pattern=NamePattern("tiles/0/0/{number}.png"))
        planning.plan(place.storage, LAYOUT, request, output=OUTPUT)
        assert server.counters.total.requests == 1
        server.counters.reset()
        planned(place, request)
        counted = {name: tally.requests for name, tally in server.counters.operations.items()}
        assert counted == {"ListObjects": 1, "GetObject": 1, "PutObject": 1}


def test_a_listing_is_one_look_on_a_mount(tmp_path: Path) -> None:
    """One scan of the folder, and no look at any file; with folders, one of each."""
    machine.fuse()
    behind, root, requests = tmp_path / "behind", tmp_path / "root", tmp_path / "requests"
    behind.mkdir()
    root.mkdir()
    with (
        slow_mount.mounted(behind, root, latency=0.001, requests=requests),
        local(tmp_path, root, behind) as place,
    ):
        put(place, [f"shot/{n:04}.exr" for n in range(1, 201)])
        put(place, [f"tiles/{x}/{y}.png" for x in range(8) for y in range(3)])
        for request, scans in (
            (Request("", glob="shot/*.exr"), 1),
            (Request("", numbers=range(1, 201), pattern=NamePattern("shot/{number:04}.exr")), 1),
            (Request("", glob="tiles/*/*.png"), 9),
        ):
            requests.write_text("")
            planning.plan(place.storage, LAYOUT, request, output=OUTPUT)
            assert requests.read_text().splitlines() == ["LIST"] * scans


def test_a_hundred_thousand_names_are_listed(tmp_path: Path) -> None:
    """All of them, 2 before 10, by one listing of a store that fsspec knows."""
    names = [f"tiles/{number // 1000}/{number % 1000}.png" for number in range(100_000)]
    with PLACES["memory"](tmp_path) as place:
        for name in names:
            place.put(name, b"x")
        assert list(planned(place, Request("", glob="tiles/*/*.png")).inputs.names) == names


def test_links_are_what_they_lead_to(tmp_path: Path) -> None:
    """A link to a file is one, a link to nowhere is missing; `**` does not go round in circles."""
    with local(tmp_path) as place:
        put(place, ["a/1.bin", "b/3.bin"])
        root = tmp_path / "root"
        (root / "a/2.bin").symlink_to(root / "b/3.bin")
        (root / "a/4.bin").symlink_to(root / "nowhere")
        (root / "a/loop").symlink_to(root)
        (root / "a/5.bin").mkdir()
        found = planned(place, Request("", glob="**/*.bin")).inputs.names
        assert list(found) == ["a/1.bin", "a/2.bin", "b/3.bin"]
        (root / "c").symlink_to(root / "b")
        assert list(planned(place, Request("", glob="c/*.bin")).inputs.names) == ["c/3.bin"]
        assert list(planned(place, Request("", glob="[c]/*.bin")).inputs.names) == ["c/3.bin"]


def test_what_cannot_be_looked_at_is_not_absent(tmp_path: Path) -> None:
    """A folder that may not be listed is an error (5), no gap."""
    machine.fuse()
    behind, root, faults = tmp_path / "behind", tmp_path / "root", tmp_path / "faults"
    behind.mkdir()
    root.mkdir()
    faults.write_text("readdir /b EACCES")
    with (
        slow_mount.mounted(behind, root, latency=0.001, faults=faults),
        local(tmp_path, root, behind) as place,
    ):
        put(place, ["a/1.bin", "b/2.bin"])
        with pytest.raises(ConfigurationError, match="not readable"):
            planned(place, Request("", glob="*/*.bin", policy=SKIP))


def test_a_name_with_a_line_end_is_refused(tmp_path: Path) -> None:
    """The list is one name a line; the error names the file."""
    with local(tmp_path) as place:
        put(place, ["a\nb.bin", "c.bin"])
        with pytest.raises(ConfigurationError, match=r"a\\nb.bin.*line end"):
            planned(place, Request("", glob="*.bin"))


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    """A volume's names are bytes: they are read back as they are."""
    with local(tmp_path) as place:
        whole = put(place, ["\udcff1.bin", "\udcff2.bin"])
        planned(place, Request("", glob="*.bin"))
        assert joined(place) == whole
        assert place.get("runs/r/inputs.txt").count(b"\xff") == 2  # type: ignore[union-attr]
