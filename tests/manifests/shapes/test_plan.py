"""The plan, and what --dry-run shows of it."""

import time

import pytest

from manifests.shapes import plan as plans
from workflows.generated import written


def test_a_dry_run_shows_the_plan() -> None:
    """Pods per level, bytes moved and nodes, for 100,000 files, in one look and without YAML."""
    assert written("--files", 100_000, "--fan-in", 16, "--dry-run", "--size", 1_000_000).splitlines() == [
        "level    files   pods  workflows  bytes moved",
        "1      100,000  6,250          4     93.1 GiB",
        "2        6,250    391          1     93.1 GiB",
        "3          391     25          1     93.1 GiB",
        "4           25      2          1     93.1 GiB",
        "merge        2      1          -     93.1 GiB",
        "total           6,669          8    465.7 GiB",
        "estimated: 22 nodes in the parent, 4,002 in the largest of 7 children; each retry adds one",
        "a flat merge (--levels 0) would be 1 pod that moves 93.1 GiB",
    ]


def test_without_a_size_bytes_are_multiples_of_the_data() -> None:
    """Each level moves everything once: the 512 files of five levels are copied six times."""
    lines = written("--files", 512, "--levels", 5, "--dry-run").splitlines()
    assert lines[-3].split() == ["total", "497", "1", "6", "x", "the", "data"]
    assert lines[-2] == "estimated: 1,001 nodes; each retry adds one"


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
