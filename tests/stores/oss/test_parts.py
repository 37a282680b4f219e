"""The plan of a multipart upload: OSS's limits kept, the order kept, every byte once."""

from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aggregation.stores.oss import parts
from aggregation.stores.oss.parts import PART_MAX, PART_MIN, PARTS_MAX, Copy, Join, Part, Range, Relay

TOTAL_MAX = PARTS_MAX * PART_MAX
KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40
SIZE = st.one_of(
    st.integers(0, 3),
    st.integers(PART_MIN - 2, PART_MIN + 2),
    st.integers(2 * PART_MIN - 2, 2 * PART_MIN + 2),
    st.integers(0, 10 * MIB),
    st.integers(PART_MAX - 2, PART_MAX + 2),
    st.integers(0, 100 * GIB),
    st.integers(0, 4 * TIB),
)
SOURCE = st.tuples(SIZE, st.sampled_from([True, True, True, False]))


def ranges_of(part: Part) -> Iterator[Range]:
    """The part's bytes as ranges of sources, in order."""
    match part:
        case Copy(piece):
            yield piece
        case Relay(pieces):
            yield from pieces
        case Join(inner):
            for one in inner:
                yield from ranges_of(one)


def check_limits(join: Join, copyable: list[bool], limit: int) -> None:
    """What OSS demands of an upload, and of each intermediate one."""
    assert len(join.parts) <= limit
    for number, part in enumerate(join.parts, start=1):
        size = sum(piece.size for piece in ranges_of(part))
        assert size <= PART_MAX
        assert size >= PART_MIN or number == len(join.parts)
        assert size > 0
        match part:
            case Copy(piece):
                assert copyable[piece.source]
            case Relay():
                assert size <= parts.UPLOAD_SIZE, "an uploaded part is held in memory"
            case Join():
                check_limits(part, copyable, limit)


def check(sizes: list[int], copyable: list[bool], limit: int = PARTS_MAX) -> Join:
    """Plan, and check everything that must hold of any plan."""
    join = parts.plan(sizes, copyable, limit)
    check_limits(join, copyable, limit)
    position = [0] * len(sizes)
    last = 0
    for piece in ranges_of(join):
        assert piece.source >= last, "the sources' order"
        last = piece.source
        assert piece.start == position[last] < piece.end, "every byte once, in order"
        position[last] = piece.end
    assert position == sizes
    if len(join.parts) < limit // 2:  # else it may be cut into cells
        check_traffic(join, sizes, copyable)
    return join


def check_traffic(join: Join, sizes: list[int], copyable: list[bool]) -> None:
    """What passes through the worker: what the service does not copy, and a little after each run of it."""
    most = 0
    is_run = False
    for size, can in zip(sizes, copyable, strict=True):
        if can and size >= PART_MIN:
            most += 2 * PART_MIN if is_run else 0
            is_run = False
        else:
            most += size
            is_run |= size > 0
    assert sum(sizes) - parts.copied_size(join) <= most


@given(st.lists(SOURCE, min_size=1, max_size=60), st.sampled_from([PARTS_MAX, PARTS_MAX, 7, 2]))
@example([(0, True)], PARTS_MAX)
@example([(1, True), (PART_MIN, True)], PARTS_MAX)
@example([(1, True), (2 * PART_MIN - 2, True), (PART_MIN, True)], PARTS_MAX)
@example([(PART_MIN, False), (PART_MIN, True), (1, True)], PARTS_MAX)
@example([(1, True), *[(PART_MIN + 1, True)] * 9], PARTS_MAX)
def test_any_sources(sources: list[tuple[int, bool]], limit: int) -> None:
    """A few sources of any sizes, some of them Appendable."""
    sizes, copyable = [size for size, _ in sources], [can for _, can in sources]
    uploaded = sum(size for size, can in sources if not can)
    if sum(sizes) <= limit * PART_MAX and uploaded <= 20 * GIB:
        check(sizes, copyable, limit)


@settings(max_examples=6)
@given(
    count=st.sampled_from([9_999, 10_000, 10_001, 20_001]),
    pattern=st.lists(st.integers(0, 400 * KIB), min_size=1, max_size=7),
    giant=st.sampled_from([0, 1, GIB, 20 * TIB, 48 * TIB]),
    where=st.floats(0, 1),
)
def test_many_sources(count: int, pattern: list[int], giant: int, where: float) -> None:
    """More sources than an upload has parts, with a giant among them anywhere."""
    sizes = [pattern[number % len(pattern)] for number in range(count)]
    sizes[int(where * (count - 1))] = giant
    check(sizes, [True] * count)


@pytest.mark.parametrize(
    "sizes",
    [
        [TOTAL_MAX],
        [TOTAL_MAX // 2 + 1, TOTAL_MAX // 2 - 1],
        [1, TOTAL_MAX - 1],
        [TOTAL_MAX - 1, 1],
        [TOTAL_MAX // 100_000] * 100_000,
        [PART_MAX + 1] * 9_000,
        [PART_MIN] * 19_999 + [TOTAL_MAX - 19_999 * PART_MIN],
    ],
    ids=lambda sizes: f"{len(sizes)} sources",
)
def test_the_largest_object(sizes: list[int]) -> None:
    """48.8 TB in any number of sources."""
    check(sizes, [True] * len(sizes))


def test_larger_than_the_largest() -> None:
    """One byte more is refused."""
    with pytest.raises(ValueError, match="more than"):
        parts.plan([TOTAL_MAX, 1], [True, True])


def test_large_sources_are_copied_whole() -> None:
    """Two sources of 64 MiB are two copies: no byte passes through the worker."""
    assert check([64 * MIB] * 2, [True] * 2).parts == (
        Copy(Range(0, 0, 64 * MIB)),
        Copy(Range(1, 0, 64 * MIB)),
    )


def test_a_short_run_borrows_from_its_neighbour() -> None:
    """Only the bytes that the minimum asks for are uploaded; a short last part needs none."""
    assert check([10, MIB, 20], [True] * 3).parts == (
        Relay((Range(0, 0, 10), Range(1, 0, PART_MIN - 10))),
        Copy(Range(1, PART_MIN - 10, MIB)),
        Relay((Range(2, 0, 20),)),
    )


def test_what_would_be_left_too_short_is_borrowed_too() -> None:
    """Else that rest would borrow of the next source, and so on: all would pass through the worker."""
    join = check([1, *[PART_MIN + 1] * 9], [True] * 10)
    assert join.parts[0] == Relay((Range(0, 0, 1), Range(1, 0, PART_MIN + 1)))
    assert [type(part) for part in join.parts[1:]] == [Copy] * 8


def test_appendable_sources_are_uploaded() -> None:
    """What the service may refuse to copy goes through the worker, in parts that fit in memory."""
    join = check([10 * MIB, 10 * MIB], [False, True])
    assert [type(part) for part in join.parts] == [Relay, Relay, Relay, Copy]
