"""The plan, and what --dry-run shows of it."""

import time

import pytest

from manifests.shapes import plan as plans
from workflows.generated import refused, written


def test_a_dry_run_shows_the_plan() -> None:
    """Pods per level, bytes moved and nodes, for 100,000 files, in one look and without YAML."""
    *shown, estimated = written("--files", 100_000, "--fan-in", 16, "--dry-run", "--size", 10**6).splitlines()
    assert shown == [
        "LEVEL    FILES  MERGES  WORKFLOWS    MOVED  BY",
        "l1     100,000   6,250          4   93 GiB  process.py 0 1 ... process.py 6249 1",
        "l2       6,250     391          1   93 GiB  process.py 0 2 ... process.py 390 2",
        "l3         391      25          1   93 GiB  process.py 0 3 ... process.py 24 3",
        "l4          25       2          1   93 GiB  process.py 0 4 ... process.py 1 4",
        "l5           2       1              93 GiB  merge.py 2",
        "total            6,669          8  466 GiB",
        "flat                 1              93 GiB  merge.py 100000 --level 1",
    ]
    nodes = "22 nodes in the parent, 4,002 in the largest of 7 children"
    assert estimated == f"estimated: 6,669 pods, {nodes}; each retry adds one"


def test_without_a_size_bytes_are_multiples_of_the_data() -> None:
    """Each level moves everything once: the 512 files of five levels are copied six times."""
    lines = written("--files", 512, "--levels", 5, "--dry-run").splitlines()
    assert lines[-3].split() == ["total", "497", "6", "x", "the", "data"]
    assert lines[-1] == "estimated: 497 pods, 1,001 nodes; each retry adds one"


def test_requests_and_time_on_oss() -> None:
    """By billing class, and against the bucket's limit; without a size the way to them is said."""
    arguments = ("--files", 100_000, "--fan-in", 317, "--levels", 1, "--store", "oss", "--dry-run")
    *_, total, _, _, warning, _ = written(*arguments, "--size", 4096).splitlines()
    assert total.split()[2:6] == ["781", "MiB", "985", "100,317"]
    assert warning.endswith(
        "the bucket takes 2,000: run fewer at a time, or give each --requests-per-second 125"
    )
    fewer = written(*arguments, "--size", 4096, "--parallelism", 2)
    assert "times are with 2 at a time, 20 ms a request" in fewer
    assert "warning" not in fewer
    assert "--size BYTES" in written(*arguments)


def test_the_shape_is_chosen() -> None:
    """--shape auto: flat where a pod takes all, else the fan-in that fits."""
    few = written("--files", 1000, "--shape", "auto", "--dry-run").splitlines()
    assert few[1].split()[-2:] == ["merge.py", "1000"]
    many = written("--files", 100_000, "--store", "oss", "--size", 4096, "--shape", "auto", "--dry-run")
    assert "process.py 0 1 ... process.py 315 1" in many
    assert "the shape too" in str(refused("--files", 9, "--shape", "auto", "--fan-in", 3))


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        (("--files", 100_000, "--pods-per-workflow", 100_000), "the workflow has 200,016 nodes"),
        (("--files", 14_000, "--fan-in", 2, "--levels", 1, "--pods-per-workflow", 9000), "has 7,001 pods"),
        (("--files", 100_000, "--pods-per-workflow", 20_000), "the largest child has 40,002 nodes"),
        (("--files", 100_000), None),
    ],
)
def test_a_warning_past_the_limits(arguments: tuple[object, ...], warning: str | None) -> None:
    """Past what Argo holds, or where controllers have died, the plan and the YAML's stderr say so."""
    warnings = [line for line in written(*arguments, "--dry-run").splitlines() if "warning" in line]
    assert len(warnings) == (1 if warning else 0)
    if warning:
        assert warning in warnings[0]
        assert "raise --fan-in, or lower --pods-per-workflow" in warnings[0]


def test_a_plan_of_100_000_files_takes_no_time() -> None:
    """Arithmetic only: well under a second of processor time, the start of the interpreter aside."""
    started = time.process_time()
    written("--files", 100_000, "--dry-run")
    assert time.process_time() - started < 0.5
    plan = plans.make_plan(100_000, 2, None, 8, 2000)
    assert max(plans.node_count(plan.main_steps()), *map(node_count_of, plan.children())) < 5000


def node_count_of(pods: int) -> int:
    """The nodes of a child workflow."""
    return plans.node_count([pods])
