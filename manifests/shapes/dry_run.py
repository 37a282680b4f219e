"""What --dry-run prints."""

from aggregation.dry_run import Outlook, lines
from aggregation.shape import Shape

from .plan import Plan, node_count


def show(plan: Plan, outlook: Outlook) -> list[str]:
    """The plan for a person: the table of pipeline.py --dry-run, workflows, nodes, and warnings."""
    shape = Shape(plan.files, plan.fan_in, len(plan.levels))
    more = {}
    nodes = f"{node_count(plan.main_steps()):,} nodes"
    if plan.is_split:
        workflows = [f"{len(plan.ranges(level)):,}" for level in plan.levels]
        more["WORKFLOWS"] = [*workflows, "", f"{len(plan.children()) + 1:,}"]
        largest = node_count([max(plan.children())])
        nodes = f"{nodes} in the parent, {largest:,} in the largest of {len(plan.children()):,} children"
    pods = f"{plan.pods:,} {'pod' if plan.pods == 1 else 'pods'}"
    first = " (one lists the inputs)" if plan.listed else ""
    return [
        *lines(shape, outlook, more),
        f"estimated: {pods}{first}, {nodes}; each retry adds one",
        *(f"warning: {warning}" for warning in plan.warnings()),
    ]
