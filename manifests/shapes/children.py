"""A workflow of workflows: the template that all children run, and the step that creates one of them."""

import hashlib
import json
from collections.abc import Sequence

from hera.workflows import Parameter, Resource, Step, Steps, Workflow, WorkflowTemplate
from hera.workflows.models import IntOrString, RetryStrategy, WorkflowTemplateRef
from hera.workflows.models import Sequence as ItemSequence

from . import base
from .base import Worker
from .manifest import to_yaml
from .options import Options

ACCOUNT = "aggregation-parent"
"""The one account that may create workflows; the workers' own must not, for whoever may can run anything."""

RUN = "{{=workflow.parameters.run != '' ? workflow.parameters.run : workflow.name}}"
"""The run's name, as the base manifests have it: a parent's children work in their parent's levels."""

OF_A_RANGE = {"start": "{{item.start}}", "count": "{{item.count}}", "run": RUN}
"""What the parent's steps tell a child of its range, whatever the level."""

RETRY_THE_WAIT = (
    'lastRetry.status == "Error" || lastRetry.exitCode in ["-1", "143"] || '
    '(lastRetry.exitCode == "137" && not (lastRetry.message contains "OOMKilled"))'
)
"""Only a lost pod starts a child again. A child that failed ends its pod with 64, and its own pods have been
tried again as often as helps."""


def template(options: Options, worker: Worker, shared: Sequence[str]) -> WorkflowTemplate:
    """What all children run, each with a level and a range of its groups.

    No parameter has a value here: the parent gives each, so that what was said to it holds for them too.

    Args:
        options: the command's.
        worker: the pods.
        shared: the names of the parent's parameters that its children have too.
    """
    description = "Reduces a range of a level's groups for a parent workflow, into the parent's levels."
    document = base.load(WorkflowTemplate, options, description)
    document.generate_name = None
    document.arguments = [Parameter(name=name) for name in (*OF_A_RANGE, *worker.told, *shared)]
    passed = {name: f"{{{{workflow.parameters.{name}}}}}" for name in worker.told}
    step = Step(
        name="process-data",
        template=worker.process,
        arguments={"file-number": "{{item}}", **passed},
        with_sequence=ItemSequence(
            start=IntOrString("{{workflow.parameters.start}}"),
            count=IntOrString("{{workflow.parameters.count}}"),
        ),
    )
    document.templates = [Steps(name="main", sub_steps=[step]), worker.process]
    # The contents are in the name: another shape never changes the template under a run's children, and a
    # second submission of the same shape finds it there.
    contents = json.dumps(document.to_dict()["spec"]).encode()
    document.name = f"{options.name}-children-{hashlib.sha256(contents).hexdigest()[:8]}"
    return document


def creator(children: WorkflowTemplate, worker: Worker, shared: Sequence[str]) -> Resource:
    """The parent's template for a range of groups: creates a child and waits for it.

    The child belongs to the parent, so that deleting the parent removes and ends it. Its name is
    generated: a pod that is lost while it waits makes a second child of the same range, which is wasteful
    and harmless, as the same command twice gives the same bytes; with a fixed name that try would fail.

    Args:
        children: what the child runs.
        worker: the pods, whose waits between tries are this one's too.
        shared: see template.
    """
    own = [*OF_A_RANGE, *worker.told]
    arguments = {name: f"{{{{inputs.parameters.{name}}}}}" for name in own}
    child = Workflow(
        generate_name="{{workflow.name}}-l{{inputs.parameters.level}}-",
        workflow_template_ref=WorkflowTemplateRef(name=children.name),
        arguments={**arguments, **{name: f"{{{{workflow.parameters.{name}}}}}" for name in shared}},
    )
    retry = worker.process.retry_strategy or RetryStrategy()
    return Resource(
        name="process-range",
        inputs=[Parameter(name=name) for name in own],
        service_account_name=ACCOUNT,
        retry_strategy=retry.model_copy(update={"expression": RETRY_THE_WAIT}),
        action="create",
        set_owner_reference=True,
        success_condition="status.phase == Succeeded",
        failure_condition="status.phase in (Failed, Error)",
        # As text: Hera removes the quotes around tags of a Workflow that it is given, and what then stands
        # in the tag's place, such as 16, would be no text.
        manifest=to_yaml(child),
    )
