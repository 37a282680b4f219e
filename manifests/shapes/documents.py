"""A plan as Hera's Workflow, and before it the WorkflowTemplate of its children where it has any."""

import math
from collections.abc import Iterable

from hera.workflows import Parameter, Resource, Step, Steps, Workflow
from hera.workflows.models import IntOrString, Sequence

from . import base, children, inputs
from .base import Worker
from .options import Options
from .plan import Level, Plan, describe


def build(plan: Plan, options: Options) -> list[Workflow]:
    """The documents of a run, in the order in which they are created.

    Raises:
        WrongUsageError: see Options.parameters and Options.resources.
    """
    workflow = base.load(Workflow, options, describe(plan))
    worker = Worker(workflow, plan, options)
    declared = base.parameters(workflow)
    # The tutorial's levels are there to be looked at; those of another shape are many.
    given = {"keep-levels": "false", **options.parameters()}
    if unknown := given.keys() - declared.keys():
        raise TypeError(f"the base of --store {options.store} has no parameter {sorted(unknown)}")
    workflow.generate_name = f"{options.name}-"
    workflow.arguments = [
        Parameter(name=name, value=given[name]) if name in given else declared[name] for name in declared
    ]
    merge = Step(
        name="merge-data",
        template=worker.merge,
        arguments={"files": worker.files(plan.last), "level": str(plan.last)},
    )
    listing = [options.inputs.template(worker.process)] if plan.listed else []
    first = [Step(name=inputs.STEP, template=each) for each in listing]
    outputs = [inputs.gaps()] if plan.listed else None
    if not plan.is_split:
        loops = [_loop(level, worker) for level in plan.levels]
        main = Steps(name="main", sub_steps=[*first, *loops, merge], outputs=outputs)
        workflow.templates = [main, worker.process, *listing, worker.merge]
        return [workflow]

    shared = [name for name in declared if name not in ("run", "keep-levels")]
    template = children.template(options, worker, shared)
    creator = children.creator(template, worker, shared)
    loops = [_loop_of_children(level, plan.ranges(level), worker, creator) for level in plan.levels]
    workflow.templates = [
        Steps(name="main", sub_steps=[*first, *loops, merge], outputs=outputs),
        creator,
        *listing,
        worker.merge,
    ]
    rounds = sum(math.ceil(len(plan.ranges(level)) / options.children) for level in plan.levels)
    # As long as the children may take one round after the other, and the merge.
    workflow.active_deadline_seconds = (rounds + 1) * (workflow.active_deadline_seconds or 0)
    # Here it is children that are counted; each limits its own pods.
    workflow.parallelism = options.children
    return [template, workflow]


def _loop(level: Level, worker: Worker) -> Step:
    """A level in one workflow: a pod for each group."""
    return Step(
        name=f"process-data-l{level.number}",
        template=worker.process,
        arguments={"file-number": "{{item}}", **worker.arguments(level)},
        with_sequence=Sequence(count=IntOrString(worker.files(level.number + 1))),
    )


def _loop_of_children(level: Level, ranges: Iterable[range], worker: Worker, creator: Resource) -> Step:
    """A level in a workflow of workflows: a child for each range of groups."""
    return Step(
        name=f"process-data-l{level.number}",
        template=creator,
        arguments={**children.OF_A_RANGE, **worker.arguments(level)},
        with_items=[{"start": str(each.start), "count": str(len(each))} for each in ranges],
    )
