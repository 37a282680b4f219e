"""What --dry-run prints."""

from aggregation.report import table

from .plan import Plan, node_count

_KIB = 1024
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def show(plan: Plan, size: int | None) -> list[str]:
    """The plan for a person: levels, pods, workflows, bytes, nodes, and warnings.

    Args:
        plan: what to show.
        size: the bytes of a file of level 1, if they are known.
    """
    rows = [("level", "files", "pods", "workflows", "bytes moved")]
    if plan.listed:
        rows.append(("inputs", "", "1", "-", "-"))
    for level in plan.levels:
        workflows = f"{len(plan.ranges(level)):,}" if plan.is_split else "-"
        rows.append(
            (str(level.number), f"{level.files:,}", f"{level.pods:,}", workflows, _moved(plan, size, 1))
        )
    rows.append(("merge", f"{plan.merged:,}", "1", "-", _moved(plan, size, 1)))
    workflows = f"{len(plan.children()) + 1:,}"
    rows.append(("total", "", f"{plan.pods:,}", workflows, _moved(plan, size, plan.last)))
    nodes = f"{node_count(plan.main_steps()):,} nodes"
    if plan.is_split:
        largest = node_count([max(plan.children())])
        nodes = f"{nodes} in the parent, {largest:,} in the largest of {len(plan.children()):,} children"
    return [
        *table(rows, "<>>>>"),
        f"estimated: {nodes}; each retry adds one",
        f"a flat merge (--levels 0) would be 1 pod that moves {_moved(plan, size, 1)}",
        *(f"warning: {warning}" for warning in plan.warnings()),
    ]


def _moved(plan: Plan, size: int | None, times: int) -> str:
    """Each level moves every byte once: in bytes if a file's size is known, else as multiples of the data."""
    if size is None:
        return f"{times} x the data"
    amount, unit = float(plan.files * size * times), 0
    while amount >= _KIB and unit < len(_UNITS) - 1:
        amount, unit = amount / _KIB, unit + 1
    return f"{amount:,.1f} {_UNITS[unit]}" if unit else f"{amount:,.0f} {_UNITS[0]}"
