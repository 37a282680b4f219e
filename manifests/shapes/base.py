"""What a document starts from: process-data.yaml or process-data-oss.yaml, and the pods described there."""

import json
from pathlib import Path
from typing import Any, TypeVar

from hera.workflows import Workflow
from hera.workflows.models import Arguments, EnvVar, Parameter, ResourceRequirements, Template

from aggregation.shape import Service

from . import inputs
from .options import BASES, Options
from .plan import Level, Plan

FOLDER = Path(__file__).resolve().parent.parent
_SHARE = "AGGREGATION_REQUESTS_PER_SECOND"
_DESCRIPTION = "workflows.argoproj.io/description"

Document = TypeVar("Document", bound=Workflow)


def load(kind: type[Document], options: Options, description: str) -> Document:
    """The base as a Workflow, or as a WorkflowTemplate, with what the options say for all documents."""
    document: Any = kind.from_file(FOLDER / BASES[options.store])
    document.kind = kind.__name__
    document.namespace = options.namespace
    document.annotations = {**(document.annotations or {}), _DESCRIPTION: description}
    document.service_account_name = options.service_account or document.service_account_name
    document.parallelism = options.parallelism or document.parallelism
    loaded: Document = document
    return loaded


def parameters(document: Workflow) -> dict[str, Parameter]:
    """The workflow parameters of a loaded document, without the one for its shape, which is written out."""
    if not isinstance(document.arguments, Arguments):
        raise TypeError("the base has no arguments")
    declared = document.arguments.parameters or []
    return {item.name: item for item in declared if item.name != "numbers"}


class Worker:
    """The templates of the worker's pods, fitted to a plan, and what the steps that call them say."""

    def __init__(self, document: Workflow, plan: Plan, options: Options) -> None:
        templates = {each.name: each for each in document.templates if isinstance(each, Template)}
        self.process = templates["process-data"]
        self.merge = templates["merge-data"]
        self._plan = plan
        self._at_a_time = options.at_a_time(plan)
        self._resources = options.resources(plan)
        self._levels_differ = any(level.number in self._resources for level in plan.levels)
        self._adapt_process()
        self._adapt_merge()
        if plan.listed:
            for each in (self.process, self.merge):
                if each.container:
                    each.container.env = [*(each.container.env or []), inputs.USED]

    @property
    def told(self) -> list[str]:
        """The names of what arguments gives."""
        return ["level", "files", *(["resources"] if self._levels_differ else [])]

    def arguments(self, level: Level) -> dict[str, str]:
        """What every group of a level is told."""
        resources = json.dumps(self._resources.get(level.number, {}), separators=(",", ":"))
        known = {"level": str(level.number), "files": self.files(level.number), "resources": resources}
        return {name: known[name] for name in self.told}

    def files(self, level: int) -> str:
        """How many files a level has; where a pod counts them, and no child is told, by an expression."""
        if self._plan.listed and not self._plan.is_split:
            return inputs.found(self._plan.fan_in, level)
        return str([*(each.files for each in self._plan.levels), self._plan.merged][level - 1])

    def _adapt_process(self) -> None:
        """Give the template of a group the fan-in, and its resources where levels differ in them."""
        container, inputs = self.process.container, self.process.inputs
        if container is None or inputs is None:
            raise TypeError("process-data is no container with inputs")
        fan_in = EnvVar(name="AGGREGATION_FAN_IN", value=str(self._plan.fan_in))
        own = [each for each in container.env or [] if each.name != _SHARE]
        if len(own) < len(container.env or []):  # on OSS
            own.append(EnvVar(name=_SHARE, value=f"{Service().limit / self._at_a_time:.3g}"))
        container.env = [*own, fan_in]
        if self._levels_differ:
            inputs.parameters = [*(inputs.parameters or []), Parameter(name="resources")]
            # A container's own resources can't be a tag: they must be quantities when the manifest is read.
            tag = "{{inputs.parameters.resources}}"
            self.process.pod_spec_patch = f'{{"containers": [{{"name": "main", "resources": {tag}}}]}}'

    def _adapt_merge(self) -> None:
        resources = self._resources.get(self._plan.last)
        if resources and self.merge.container:
            self.merge.container.resources = ResourceRequirements.model_validate(resources)
