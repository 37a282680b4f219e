"""The shape that --shape auto takes."""

import pytest

from aggregation import choice, tree
from aggregation.shape import Service
from aggregation.stores.oss import parts

KIB, MIB, GIB = 2**10, 2**20, 2**30


@pytest.mark.parametrize(
    ("files", "size", "on_oss", "fan_in", "levels", "limit"),
    [
        (1, 5, True, 2, 0, "memory"),
        (32, None, False, 32, 0, "64 MiB of memory"),
        (100_000, None, False, 100_000, 0, "64 MiB of memory"),
        (1_000_000, None, False, 1000, 1, "64 MiB of memory"),
        (10_000, 4 * KIB, True, 10_000, 0, "128 MiB of memory"),
        (100_000, 4 * KIB, True, 317, 1, "128 MiB of memory"),
        (10_000, MIB, True, 10_000, 0, "10,000 parts of an object"),
        (12_000, MIB, True, 110, 1, "10,000 parts of an object"),
        (12_000, None, True, 110, 1, "10,000 parts of an object"),
        (10**10, MIB, True, 2155, 2, "10,000 parts of an object"),
        (10_000, 90 * KIB, True, 10_000, 0, "memory"),
    ],
)
def test_flat_as_far_as_one_pod_goes(
    files: int, size: int | None, on_oss: bool, fan_in: int, levels: int, limit: str
) -> None:
    """Else the least levels whose merges fit into a pod; the line says what allows no more."""
    found = choice.choose(files, size, Service() if on_oss else None, by_command=False)
    assert found.shape == (files, fan_in, levels)
    assert limit in found.why
    assert found.why.startswith("flat" if levels == 0 else f"fan-in {fan_in:,} and {levels} level")


def test_a_slow_way_makes_pods_smaller() -> None:
    """What a pod cannot fetch in an hour is shared between several."""
    slow = Service(bandwidth=50e3)
    found = choice.choose(10_000, 90 * KIB, slow, by_command=False)
    assert found.shape.levels == 1
    assert "60 minutes" in found.why


@pytest.mark.parametrize("files", [1, 2, 16, 17, 256, 257, 4096, 4097, 10**100])
def test_a_command_gets_few_files_at_a_time(files: int) -> None:
    """Whatever the store, no merge has more than 16 inputs, and no more levels than it takes."""
    shape = choice.choose(files, None, None, by_command=True).shape
    assert shape.fan_in <= choice.COMMAND_FAN_IN
    assert tree.widths(files, shape.fan_in, shape.levels)[-1] <= choice.COMMAND_FAN_IN
    assert shape.levels == 0 or choice.COMMAND_FAN_IN**shape.levels < files


def test_a_chosen_merge_is_one_upload() -> None:
    """No object in between, at each level."""
    shape = choice.choose(300_000, 200 * KIB, Service(), by_command=False).shape
    size = 200 * KIB
    for _ in range(shape.levels + 1):
        plan = parts.strategy([size] * shape.fan_in, [True] * shape.fan_in)
        assert plan is not None
        assert not any(isinstance(part, parts.Join) for part in plan.parts)
        size *= shape.fan_in
