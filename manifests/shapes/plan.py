"""The plan of a run: its levels, pods, child workflows and nodes. Arithmetic only."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from aggregation import tree

NODES_MAX = 19_000
"""Nodes that a Workflow object holds without a database to offload to, about; etcd's limit is behind it."""
PODS_OF_A_CRASH = 6_600
"""Pods of one workflow at which controllers were seen to run out of memory (argo-workflows #3907)."""
PODS_PER_WORKFLOW = 2_000
"""4,002 nodes: under 5,000 with room for several hundred retries."""
FINAL_WIDTH = 8


class Level(NamedTuple):
    """A level that is reduced, by one pod a group."""

    number: int
    files: int
    pods: int


@dataclass(frozen=True)
class Plan:
    """What runs: the levels, the files left for the merge, and how many pods a workflow may have."""

    fan_in: int
    levels: tuple[Level, ...]
    merged: int
    pods_per_workflow: int
    listed: bool = False
    """Whether a pod lists the inputs first."""

    @property
    def files(self) -> int:
        """How many files level 1 holds."""
        return self.levels[0].files if self.levels else self.merged

    @property
    def last(self) -> int:
        """The level that is merged."""
        return len(self.levels) + 1

    @property
    def pods(self) -> int:
        """The workers' pods, the merge among them."""
        return sum(level.pods for level in self.levels) + 1 + self.listed

    @property
    def is_split(self) -> bool:
        """Whether the levels are run by child workflows."""
        return self.pods > self.pods_per_workflow

    def ranges(self, level: Level) -> list[range]:
        """The groups of a level that each child does."""
        step = self.pods_per_workflow
        return [range(start, min(start + step, level.pods)) for start in range(0, level.pods, step)]

    def main_steps(self) -> list[int]:
        """How many pods each step of the workflow has, or of the parent, where a pod waits for a child."""
        levels = [len(self.ranges(level)) if self.is_split else level.pods for level in self.levels]
        return [*([1] if self.listed else []), *levels, 1]

    def children(self) -> list[int]:
        """How many pods each child workflow has."""
        return [len(part) for level in self.levels for part in self.ranges(level)] if self.is_split else []

    def warnings(self) -> list[str]:
        """What is past the limits of Argo, and what to do about it."""
        cure = "raise --fan-in, or lower --pods-per-workflow"
        lines = []
        for name, steps in (
            ("workflow", self.main_steps()),
            ("largest child", [max(self.children() or [0])]),
        ):
            nodes, pods = node_count(steps), sum(steps)
            if nodes > NODES_MAX:
                lines.append(
                    f"the {name} has {nodes:,} nodes, and Argo holds about {NODES_MAX:,} without a database "
                    f"to offload to (about {NODES_MAX // 2:,} pods, as each is two nodes): {cure}"
                )
            elif pods >= PODS_OF_A_CRASH:
                lines.append(
                    f"the {name} has {pods:,} pods, and controllers have run out of memory at "
                    f"{PODS_OF_A_CRASH:,}: {cure}"
                )
        return lines


def make_plan(
    files: int,
    fan_in: int,
    levels: int | None,
    final_width: int,
    pods_per_workflow: int,
    *,
    listed: bool = False,
) -> Plan:
    """The plan for a number of levels, or down to a width where none is given."""
    if levels is None:
        levels = tree.depth(files, fan_in, final_width)
    widths = tree.widths(files, fan_in, levels)
    reduced = tuple(Level(number + 1, widths[number], widths[number + 1]) for number in range(levels))
    return Plan(fan_in, reduced, widths[-1], pods_per_workflow, listed)


def node_count(steps: Iterable[int]) -> int:
    """The nodes of a workflow whose steps have so many pods each, if nothing is tried again.

    The workflow is a node, each step is one, and each pod is two: itself and its retries.
    """
    return 1 + sum(1 + 2 * pods for pods in steps)


def describe(plan: Plan) -> str:
    """The shape in a sentence."""
    pods = " + ".join(f"{level.pods:,}" for level in plan.levels)
    reduced = f"{plan.fan_in} at a time by {pods} pods" if plan.levels else "directly"
    return f"Reduces {plan.files:,} files to result.txt: {reduced}, and a merge of {plan.merged:,}."
