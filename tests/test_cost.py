"""What is foreseen of a tree on OSS is what the server counts."""

from pathlib import Path

import pytest

from aggregation import cost, steps
from aggregation.layout import Layout
from aggregation.shape import Service, Shape
from aggregation.stores.promise import Settings
from places import oss_place

KIB, MIB = 2**10, 2**20
GET_TYPE = {"GetObject", "HeadObject"}
"""The operations that OSS charges as GET requests; all others are PUT requests."""

SHAPES = [
    (2, 64 * MIB, 2, 1),
    (32, 1, 2, 2),
    (33, 1, 2, 2),
    (500, 4 * KIB, 64, 1),
    (1200, 100, 110, 1),
    (40, 200 * KIB, 2, 3),
    (500, 30 * KIB, 128, 1),
    (120, 120 * KIB, 7, 2),
    (300, 1 * MIB, 300, 0),
    (16, 5 * MIB, 4, 1),
    (1, 3 * MIB, 2, 0),
    (250, 0, 5, 1),
    (1100, 4 * KIB, 2, 0),
]


@pytest.mark.parametrize(("files", "size", "fan_in", "levels"), SHAPES)
def test_the_requests_are_those_that_the_server_counts(
    tmp_path: Path, files: int, size: int, fan_in: int, levels: int
) -> None:
    """Of each class, within 2 %; and the bytes through the worker."""
    shape = Shape(files, fan_in, levels)
    with oss_place(tmp_path, Settings(timeout=5.0)) as (place, server):
        for number in range(files):
            server.put_pattern("demo", f"a/root/l1/{number}.txt", size, b"abc")
        layout = Layout(run="r")
        server.counters.reset()
        *reduced, left = shape.widths()
        for level, width in enumerate(reduced, start=1):
            for number in range(-(-width // fan_in)):
                steps.process(place.storage, layout, number, level, fan_in=fan_in, files=width)
        steps.merge(place.storage, layout, left, level=levels + 1, output="result.txt")
        counted = server.counters.operations
        total = server.counters.total
    found = cost.foresee(shape, size).total
    gets = sum(tally.requests for name, tally in counted.items() if name in GET_TYPE)
    assert found.gets == pytest.approx(gets, rel=0.02)
    assert found.puts == pytest.approx(total.requests - gets, rel=0.02)
    # What heads and documents come to, at most: those of listings have 1,000 names.
    heads = 2000 * total.requests + 500_000 * counted["ListObjects"].requests
    assert found.down <= total.bytes_out <= found.down + heads
    assert found.up <= total.bytes_in <= found.up + heads


def test_the_levels_of_a_large_tree_are_foreseen_in_no_time() -> None:
    """Ten million files, by the same arithmetic."""
    found = cost.foresee(Shape(1_000_000, 64, 3), 4 * KIB)
    assert [part.pods for part in found.parts] == [15625, 245, 4, 1]


def test_more_at_a_time_take_less_time_until_the_limit_of_the_bucket() -> None:
    """From there on the bucket decides."""
    found = cost.foresee(Shape(4096, 2, 6), 4 * KIB)
    service = Service(limit=2000)
    seconds = [found.figures(service, at_a_time)[-1].seconds for at_a_time in (1, 4, 16, 64, 4096)]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[-1] >= found.total.requests / service.limit * 0.9
    slow = service._replace(latency=0.2)
    assert found.figures(slow, 16)[-1].seconds > found.figures(service, 16)[-1].seconds


@pytest.mark.parametrize("width", [1, 7, 10, 100, 101, 1234])
def test_a_listing_reads_the_names_between_those_of_a_group(width: int) -> None:
    """Numbers are sorted as texts there: 10 and 100 come between 1 and 2."""
    names = sorted(f"{number}.txt" for number in range(width))
    for start in range(0, width, 1 + width // 40):
        for stop in range(start + 1, min(width, start + 130) + 1, 7):
            found = sorted(names.index(f"{number}.txt") for number in range(start, stop))
            read = found[-1] - found[0] + 1 + (found[-1] != width - 1)
            assert cost._names_read(range(start, stop), width) == read
