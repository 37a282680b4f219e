#!/usr/bin/env python3
"""Writes the workflow for a shape that the other manifests cannot hold, with Hera, Argo's SDK for Python.

One workflow where that is small enough, else a workflow of workflows. Templates, retries, security and limits
come from process-data.yaml and process-data-oss.yaml: here is only what depends on the shape.
"""

import hashlib
import json
import math
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click  # noqa: TID251 - a script, as those of the worker are
import pydantic
import requests
import yaml
from hera import exceptions
from hera.workflows import WorkflowsService, models

sys.path.append(str(Path(__file__).resolve().parent.parent / "worker"))

from aggregation import tree
from aggregation.command_line import entry, parameters
from aggregation.command_line.console import console
from aggregation.errors import AggregationError, ConfigurationError, UnavailableError, WrongUsageError

FOLDER = Path(__file__).resolve().parent
BASES = {"volume": "process-data.yaml", "oss": "process-data-oss.yaml"}
DIRECTORY = {"volume": "dir", "oss": "prefix"}
"""The workflow parameter that says where under the store the levels are."""

NODES_MAX = 19_000
"""Nodes that a Workflow object holds without a database to offload to, about; etcd's limit is behind it."""
PODS_OF_A_CRASH = 6_600
"""Pods of one workflow at which controllers were seen to run out of memory (argo-workflows #3907)."""
PODS_PER_WORKFLOW = 2_000
"""4,002 nodes: under 5,000 with room for several hundred retries."""
CHILDREN_AT_A_TIME = 4
FINAL_WIDTH = 8
RUN = "{{=workflow.parameters.run != '' ? workflow.parameters.run : workflow.name}}"
"""The run's name, as the base manifests have it: a parent's children work in their parent's levels."""
PARENT_ACCOUNT = "aggregation-parent"
"""The one account that may create workflows; the workers' own must not, for whoever may can run anything."""

RETRY_THE_WAIT = (
    'lastRetry.status == "Error" || lastRetry.exitCode in ["-1", "143"] || '
    '(lastRetry.exitCode == "137" && not (lastRetry.message contains "OOMKilled"))'
)
"""Only a lost pod starts a child again. A child that failed ends its pod with 64, and its own pods have been
tried again as often as helps."""


# The plan: arithmetic only


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
        return sum(level.pods for level in self.levels) + 1

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
        return [*levels, 1]

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


def make_plan(files: int, fan_in: int, levels: int | None, final_width: int, pods_per_workflow: int) -> Plan:
    """The plan for a number of levels, or down to a width where none is given."""
    if levels is None:
        levels, left = 0, files
        while left > final_width:
            levels, left = levels + 1, tree.group_count(left, fan_in)
    widths = tree.widths(files, fan_in, levels)
    reduced = tuple(Level(number + 1, widths[number], widths[number + 1]) for number in range(levels))
    return Plan(fan_in, reduced, widths[-1], pods_per_workflow)


def node_count(steps: Iterable[int]) -> int:
    """The nodes of a workflow whose steps have so many pods each, if nothing is tried again.

    The workflow is a node, each step is one, and each pod is two: itself and its retries.
    """
    return 1 + sum(1 + 2 * pods for pods in steps)


# The documents


Document = models.Workflow | models.WorkflowTemplate
Resources = Mapping[str, Mapping[str, str]]
"""Limits and requests, as a container has them."""


@dataclass(frozen=True)
class Options:
    """The command's options, as --help explains them."""

    files: int
    fan_in: int
    levels: int | None
    final_width: int | None
    store: str
    directory: str | None
    bucket: str | None
    endpoint: str | None
    region: str | None
    secret: str | None
    image: str | None
    namespace: str
    name: str
    service_account: str | None
    memory: tuple[tuple[str, str], ...]
    cpu: tuple[tuple[str, str], ...]
    parallelism: int | None
    pods_per_workflow: int
    children: int
    dry_run: bool
    size: int | None
    submit: bool
    server: str | None

    def plan(self) -> Plan:
        """The plan of this shape."""
        return make_plan(
            self.files, self.fan_in, self.levels, self.final_width or FINAL_WIDTH, self.pods_per_workflow
        )

    def parameters(self) -> dict[str, str]:
        """The workflow parameters that were given.

        Raises:
            WrongUsageError: one belongs to the other store.
        """
        of_oss = {name: getattr(self, name) for name in ("bucket", "endpoint", "region", "secret")}
        given = {name: value for name, value in of_oss.items() if value is not None}
        if given and self.store != "oss":
            raise WrongUsageError(
                f"--{next(iter(given))}", "a volume has none", "add --store oss, or leave it out"
            )
        if self.image is not None:
            given["image"] = self.image
        if self.directory is not None:
            given[DIRECTORY[self.store]] = self.directory
        return given

    def resources(self, plan: Plan) -> dict[int, Resources]:
        """Limits and requests by level, both the same: what a pod may use is set aside for it.

        Raises:
            WrongUsageError: there is no such level, or it is given twice.
        """
        given: dict[int, dict[str, str]] = {}
        for kind, values in (("memory", self.memory), ("cpu", self.cpu)):
            for level, quantity in values:
                number = plan.last if level == "merge" else int(level)
                if not 1 <= number <= plan.last:
                    raise WrongUsageError(
                        f"--{kind} {level}={quantity}",
                        f"the run has no level {level}",
                        f"it reduces {len(plan.levels)} levels, numbered from 1; the last pod is `merge`",
                    )
                if kind in given.setdefault(number, {}):
                    raise WrongUsageError(f"--{kind} {level}={quantity}", "this level has a value already")
                given[number][kind] = quantity
        return {number: {"limits": values, "requests": values} for number, values in given.items()}


def build(plan: Plan, options: Options) -> list[Document]:
    """The documents of a run: a Workflow, and before it the template of its children where it has any."""
    base = yaml.safe_load((FOLDER / BASES[options.store]).read_text(encoding="utf-8"))
    return _Build(plan, options, models.Workflow.model_validate(base)).documents()


def describe(plan: Plan) -> str:
    """The shape in a sentence."""
    pods = " + ".join(f"{level.pods:,}" for level in plan.levels)
    reduced = f"{plan.fan_in} at a time by {pods} pods" if plan.levels else "directly"
    return f"Reduces {plan.files:,} files to result.txt: {reduced}, and a merge of {plan.merged:,}."


class _Build:
    """Changes a base workflow, process-data.yaml or its sister on OSS, into one of a plan's shape."""

    def __init__(self, plan: Plan, options: Options, base: models.Workflow) -> None:
        self._plan = plan
        self._options = options
        self._resources = options.resources(plan)
        self._levels_differ = any(level.number in self._resources for level in plan.levels)
        self._workflow = base
        self._process = _template(base.spec, "process-data")
        self._merge = _template(base.spec, "merge-data")

    def documents(self) -> list[Document]:
        """See build."""
        plan, options, spec = self._plan, self._options, self._workflow.spec
        metadata = self._workflow.metadata
        metadata.generate_name = f"{options.name}-"
        metadata.namespace = options.namespace
        metadata.annotations = {**(metadata.annotations or {}), _DESCRIPTION: describe(plan)}
        spec.arguments = models.Arguments(parameters=self._parameters())
        spec.service_account_name = options.service_account or spec.service_account_name
        spec.parallelism = options.parallelism or spec.parallelism
        self._adapt_process()
        self._adapt_merge()
        merge = _step("merge-data", "merge-data", {"files": str(plan.merged), "level": str(plan.last)})
        if not plan.is_split:
            steps = _in_turn("main", [*(self._loop(level) for level in plan.levels), merge])
            spec.templates = [steps, self._process, self._merge]
            return [self._workflow]

        children = self._children()
        rounds = sum(math.ceil(len(plan.ranges(level)) / options.children) for level in plan.levels)
        # As long as the children may take one round after the other, and the merge.
        spec.active_deadline_seconds = (rounds + 1) * (spec.active_deadline_seconds or 0)
        # Here it is children that are counted; each limits its own pods.
        spec.parallelism = options.children
        steps = _in_turn("main", [*(self._loop_of_children(level) for level in plan.levels), merge])
        spec.templates = [steps, self._process_range(children), self._merge]
        return [children, self._workflow]

    def _parameters(self) -> list[models.Parameter]:
        """The base's parameters without the one for its shape, which is written out here."""
        # The tutorial's levels are there to be looked at; those of another shape are many.
        given = {"keep-levels": "false", **self._options.parameters()}
        kept = [item for item in _declared(self._workflow.spec) if item.name != "numbers"]
        if unknown := given.keys() - {item.name for item in kept}:
            raise TypeError(f"{BASES[self._options.store]} has no parameter {sorted(unknown)}")
        return [
            models.Parameter(name=item.name, value=given[item.name]) if item.name in given else item
            for item in kept
        ]

    def _adapt_process(self) -> None:
        """Tell the template of a group the fan-in, and its resources where levels differ in them."""
        template = self._process
        if template.container is None or template.inputs is None:
            raise TypeError(f"{BASES[self._options.store]}: process-data is no container with inputs")
        fan_in = models.EnvVar(name="AGGREGATION_FAN_IN", value=str(self._plan.fan_in))
        template.container.env = [*(template.container.env or []), fan_in]
        if self._levels_differ:
            resources = models.Parameter(name="resources")
            template.inputs.parameters = [*(template.inputs.parameters or []), resources]
            # A container's own resources can't be a tag: they must be quantities when the manifest is read.
            tag = "{{inputs.parameters.resources}}"
            template.pod_spec_patch = f'{{"containers": [{{"name": "main", "resources": {tag}}}]}}'

    def _adapt_merge(self) -> None:
        resources = self._resources.get(self._plan.last)
        if resources and self._merge.container:
            self._merge.container.resources = models.ResourceRequirements.model_validate(resources)

    def _arguments_of(self, level: Level) -> dict[str, str]:
        """What every group of a level is told."""
        known = {"level": str(level.number), "files": str(level.files)}
        if self._levels_differ:
            known["resources"] = json.dumps(self._resources.get(level.number, {}), separators=(",", ":"))
        return known

    def _loop(self, level: Level) -> models.WorkflowStep:
        """A level in one workflow: a pod for each group."""
        arguments = {"file-number": "{{item}}", **self._arguments_of(level)}
        step = _step(f"process-data-l{level.number}", "process-data", arguments)
        step.with_sequence = models.Sequence(count=models.IntOrString(str(level.pods)))
        return step

    def _loop_of_children(self, level: Level) -> models.WorkflowStep:
        """A level in a workflow of workflows: a child for each range of groups."""
        own = {"start": "{{item.start}}", "count": "{{item.count}}", "run": RUN}
        arguments = {**own, **self._arguments_of(level)}
        step = _step(f"process-data-l{level.number}", "process-range", arguments)
        ranges = self._plan.ranges(level)
        step.with_items = [
            models.Item({"start": str(each.start), "count": str(len(each))}) for each in ranges
        ]
        return step

    def _children(self) -> models.WorkflowTemplate:
        """The template that all children run, each with a level and a range of its groups.

        No parameter has a value here: the parent gives each, so that what was said to it holds for them too.
        """
        told = list(self._arguments_of(self._plan.levels[0]))
        passed = {name: f"{{{{workflow.parameters.{name}}}}}" for name in told}
        step = _step("process-data", "process-data", {"file-number": "{{item}}", **passed})
        step.with_sequence = models.Sequence(
            start=models.IntOrString("{{workflow.parameters.start}}"),
            count=models.IntOrString("{{workflow.parameters.count}}"),
        )
        spec = self._workflow.spec.model_copy(deep=True)
        shared = [item.name for item in _declared(spec) if item.name not in ("run", "keep-levels")]
        own = ("start", "count", "run", *told)
        parameters = [models.Parameter(name=name) for name in (*own, *shared)]
        spec.arguments = models.Arguments(parameters=parameters)
        spec.templates = [_in_turn("main", [step]), self._process]
        # The contents are in the name: another shape never changes the template under a run's children, and a
        # second submission of the same shape finds it there.
        digest = hashlib.sha256(json.dumps(_dumped(spec)).encode()).hexdigest()[:8]
        description = "Reduces a range of a level's groups for a parent workflow, into the parent's levels."
        return models.WorkflowTemplate(
            api_version=self._workflow.api_version,
            kind="WorkflowTemplate",
            metadata=models.ObjectMeta(
                name=f"{self._options.name}-children-{digest}",
                namespace=self._options.namespace,
                annotations={**(self._workflow.metadata.annotations or {}), _DESCRIPTION: description},
            ),
            spec=spec,
        )

    def _process_range(self, children: models.WorkflowTemplate) -> models.Template:
        """The parent's template for a range of groups: creates a child and waits for it.

        The child belongs to the parent, so that deleting the parent removes and ends it. Its name is
        generated: a pod that is lost while it waits makes a second child of the same range, which is wasteful
        and harmless, as the same command twice gives the same bytes; with a fixed name that try would fail.
        """
        everywhere = {item.name for item in _declared(self._workflow.spec)} - {"run"}
        names = [item.name for item in _declared(children.spec)]
        own = [name for name in names if name not in everywhere]
        values = {
            name: f"{{{{{'workflow' if name in everywhere else 'inputs'}.parameters.{name}}}}}"
            for name in names
        }
        child = {
            "apiVersion": children.api_version,
            "kind": "Workflow",
            "metadata": {"generateName": "{{workflow.name}}-l{{inputs.parameters.level}}-"},
            "spec": {
                "workflowTemplateRef": {"name": children.metadata.name},
                "arguments": {"parameters": [{"name": key, "value": values[key]} for key in values]},
            },
        }
        retry = (self._process.retry_strategy or models.RetryStrategy()).model_copy(deep=True)
        retry.expression = RETRY_THE_WAIT
        return models.Template(
            name="process-range",
            inputs=models.Inputs(parameters=[models.Parameter(name=name) for name in own]),
            service_account_name=PARENT_ACCOUNT,
            retry_strategy=retry,
            resource=models.ResourceTemplate(
                action="create",
                set_owner_reference=True,
                success_condition="status.phase == Succeeded",
                failure_condition="status.phase in (Failed, Error)",
                manifest=_yaml(child),
            ),
        )


_DESCRIPTION = "workflows.argoproj.io/description"


def _declared(spec: models.WorkflowSpec) -> list[models.Parameter]:
    return (spec.arguments.parameters if spec.arguments else None) or []


def _template(spec: models.WorkflowSpec, name: str) -> models.Template:
    (found,) = [template for template in spec.templates or [] if template.name == name]
    return found


def _step(name: str, template: str, arguments: Mapping[str, str]) -> models.WorkflowStep:
    parameters = [models.Parameter(name=key, value=value) for key, value in arguments.items()]
    return models.WorkflowStep(
        name=name, template=template, arguments=models.Arguments(parameters=parameters)
    )


def _in_turn(name: str, steps: list[models.WorkflowStep]) -> models.Template:
    """Steps that wait for each other: each is a group of its own."""
    return models.Template(name=name, steps=[models.ParallelSteps([step]) for step in steps])


# YAML

_FIRST = (
    *("apiVersion", "kind", "metadata", "spec", "name", "generateName", "namespace", "entrypoint"),
    *("serviceAccountName", "template", "inputs", "arguments", "retryStrategy", "container", "resource"),
    *("image", "command", "args"),
)
_LAST = ("withItems", "withSequence", "outputs", "templateDefaults", "templates")


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, indents lists, and repeats instead of referring."""

    def ignore_aliases(self, _: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - PyYAML's signature
        super().increase_indent(flow, indentless=False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


def _dumped(model: Document | models.WorkflowSpec) -> Any:
    return model.model_dump(by_alias=True, exclude_none=True, mode="json")


def _in_order(value: Any) -> Any:
    """Names first, templates last, the rest as it comes: the order in which a person reads a manifest."""
    if isinstance(value, list):
        return [_in_order(item) for item in value]
    if not isinstance(value, dict):
        return value
    first = [key for key in _FIRST if key in value]
    last = [key for key in _LAST if key in value]
    rest = [key for key in value if key not in first and key not in last]
    return {key: _in_order(value[key]) for key in (*first, *rest, *last)}


def to_yaml(documents: list[Document], comment: list[str]) -> str:
    """The documents as one stream, with a comment at the top."""
    top = "".join(f"# {line}".rstrip() + "\n" for line in comment)
    return top + "---\n".join(_yaml(_in_order(_dumped(document))) for document in documents).rstrip("\n")


def _comment(plan: Plan, options: Options, command: list[str]) -> list[str]:
    """How the file was made, and how it is run."""
    lines = [
        f"Generated by: generate.py {shlex.join(command)}",
        describe(plan),
        "",
        "Prerequisites: Argo Workflows v3.5 or later, and, created once:",
        f"  {_installed('.', options.namespace)}   # accounts, settings: put your image into settings.yaml",
    ]
    if options.store == "volume":
        volume = _installed("volume.yaml", options.namespace)
        lines.append(f"  {volume}   # the claim pvc-oss; fill in its placeholders first")
    if plan.is_split:
        lines += [
            f"  argo template create -n {options.namespace} FILE   # this file: what the children run",
            "A parent and its children are workflows that run at the same time: a controller that limits how",
            "many do (parallelism, namespaceParallelism) must let at least two.",
        ]
    asked = " -p bucket=…" if options.store == "oss" and options.bucket is None else ""
    return [*lines, "Run:", f"  argo submit -n {options.namespace} FILE{asked} --watch"]


def _installed(what: str, namespace: str) -> str:
    """The command that creates a file's objects, or the folder's, whose namespace is argo, in any one."""
    if namespace == "argo":
        return f"kubectl apply -n argo {'-k' if what == '.' else '-f'} {what}"
    shown = "kubectl kustomize ." if what == "." else f"cat {what}"
    return f"{shown} | sed 's/namespace: argo$/namespace: {namespace}/' | kubectl apply -n {namespace} -f -"


# What --dry-run prints


def show(plan: Plan, size: int | None) -> list[str]:
    """The plan for a person: levels, pods, workflows, bytes, nodes, and warnings."""
    rows = [("level", "files", "pods", "workflows", "bytes moved")]
    for level in plan.levels:
        workflows = f"{len(plan.ranges(level)):,}" if plan.is_split else "-"
        rows.append(
            (str(level.number), f"{level.files:,}", f"{level.pods:,}", workflows, _moved(plan, size, 1))
        )
    rows.append(("merge", f"{plan.merged:,}", "1", "-", _moved(plan, size, 1)))
    workflows = f"{len(plan.children()) + 1:,}"
    rows.append(("total", "", f"{plan.pods:,}", workflows, _moved(plan, size, plan.last)))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(widths[i + 1]) for i, cell in enumerate(row[1:]))])
        for row in rows
    ]
    nodes = f"{node_count(plan.main_steps()):,} nodes"
    if plan.is_split:
        largest = node_count([max(plan.children())])
        nodes = f"{nodes} in the parent, {largest:,} in the largest of {len(plan.children()):,} children"
    lines.append(f"estimated: {nodes}; each retry adds one")
    lines.append(f"a flat merge (--levels 0) would be 1 pod that moves {_moved(plan, size, 1)}")
    return [*lines, *(f"warning: {warning}" for warning in plan.warnings())]


def _moved(plan: Plan, size: int | None, times: int) -> str:
    """Each level moves every byte once: in bytes if a file's size is known, else as multiples of the data."""
    if size is None:
        return f"{times} x the data"
    amount, unit = float(plan.files * size * times), 0
    while amount >= _KIB and unit < len(_UNITS) - 1:
        amount, unit = amount / _KIB, unit + 1
    return f"{amount:,.1f} {_UNITS[unit]}" if unit else f"{amount:,.0f} {_UNITS[0]}"


_KIB = 1024
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


# Submission


def submit(documents: list[Document], options: Options) -> str:
    """Create the documents on an Argo server and return the workflow's name.

    Raises:
        ConfigurationError: the server refuses the token or the request.
        UnavailableError: there is no answer, or none that means anything.
    """
    server = options.server or ""
    address = server if "://" in server else f"https://{server}"
    token = os.environ.get("ARGO_TOKEN")
    # As the argo CLI: for servers whose certificate signs itself.
    verify = os.environ.get("ARGO_INSECURE_SKIP_VERIFY", "").lower() not in ("1", "true")
    doing = f"submitting to {address}"
    try:
        with WorkflowsService(
            host=address, token=token, namespace=options.namespace, verify_ssl=verify
        ) as service:
            name = ""
            for document in documents:
                if isinstance(document, models.WorkflowTemplate):
                    _create_template(service, document)
                else:
                    created = service.create_workflow(models.WorkflowCreateRequest(workflow=document))
                    name = created.metadata.name or ""
    except exceptions.HeraException as error:
        raise _translated(error, doing) from error
    except (requests.JSONDecodeError, pydantic.ValidationError, KeyError) as error:
        raise ConfigurationError(
            doing, "the answer is not a workflow", "name an Argo server in ARGO_SERVER"
        ) from error
    except requests.RequestException as error:
        why = f"no answer ({type(error).__name__})"
        raise UnavailableError(doing, why, "check ARGO_SERVER, and that the server runs") from error
    return name


def _create_template(service: WorkflowsService, document: models.WorkflowTemplate) -> None:
    try:
        service.create_workflow_template(models.WorkflowTemplateCreateRequest(template=document))
    except exceptions.AlreadyExists:
        return  # its name is its contents, so it is the same


def _translated(error: exceptions.HeraException, doing: str) -> AggregationError:
    if isinstance(error, exceptions.Unauthorized | exceptions.Forbidden):
        return ConfigurationError(doing, str(error), "set ARGO_TOKEN to a token that may create workflows")
    if isinstance(error, exceptions.BadRequest | exceptions.NotFound | exceptions.AlreadyExists):
        return ConfigurationError(doing, str(error), "check the namespace and the server's version")
    return UnavailableError(doing, str(error), "try again, or look at the server's log")


# The command


_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?", re.ASCII)
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
_UNSAFE = re.compile(r"""['"\\{}\x00-\x1f]""")


class ResourceValue(click.ParamType[Any]):
    """LEVEL=VALUE: a level's number or `merge`, and a quantity as Kubernetes writes it."""

    name = "resource"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split at the sign and look at both sides; whether there is such a level is known later."""
        level, _, quantity = str(value).partition("=")
        if not (level == "merge" or (level.isascii() and level.isdigit())):
            self.fail(f"{value!r} is not LEVEL=VALUE, with a level's number or 'merge'.", param, ctx)
        if not _QUANTITY.fullmatch(quantity):
            self.fail(f"{quantity!r} is no quantity, such as 512Mi, 2Gi, 500m or 2.", param, ctx)
        return level, quantity


class Text(click.ParamType[Any]):
    """Text that is safe in a manifest within a manifest."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what would end a quoted text or start a tag of Argo's."""
        text = str(value)
        if not text or _UNSAFE.search(text):
            self.fail(f"{text!r} is empty or has a quote, a brace, a backslash or a line's end.", param, ctx)
        return text


class Name(click.ParamType[Any]):
    """A name as Kubernetes takes it, of at most so many characters."""

    name = "name"

    def __init__(self, longest: int = 63) -> None:
        self.longest = longest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what the API server would refuse later."""
        text = str(value)
        if len(text) > self.longest or not _NAME.fullmatch(text):
            self.fail(
                f"{text!r} is not 1 to {self.longest} small letters and digits, with hyphens between.",
                param,
                ctx,
            )
        return text


NAME = Name()
START_OF_A_NAME = Name(30)
"""A workflow's name may have 63 characters, and the children's starts with the parent's, each made unique."""
TEXT = Text()


option = click.option


@click.command(
    context_settings={
        "show_default": True,
        "max_content_width": 100,
        "help_option_names": ["-h", "--help"],
    },
    epilog="\b\nExamples:\n"
    "  generate.py --files 512 --levels 5 > run.yaml && argo submit -n argo run.yaml --watch\n"
    "  generate.py --files 100000 --fan-in 16 --dry-run --size 1000000\n"
    "  generate.py --files 1000 --fan-in 4 --memory 3=512Mi --memory merge=2Gi --cpu merge=2 > run.yaml\n"
    "  ARGO_SERVER=https://argo:2746 ARGO_TOKEN=… generate.py --files 512 --store oss --bucket B --submit",
)
@option("--files", type=parameters.COUNT, required=True, metavar="N", help="How many files level 1 holds.")
@option(
    "--fan-in",
    type=parameters.FAN_IN,
    default=2,
    metavar="K",
    help="How many files a pod joins into one file.",
)
@option(
    "--levels",
    type=parameters.NUMBER,
    metavar="L",
    help="How many times to reduce before the final merge; 0 merges level 1 at once.",
)
@option(
    "--final-width",
    type=parameters.COUNT,
    metavar="W",
    show_default=str(FINAL_WIDTH),
    help="Instead of --levels: reduce until at most W files are left, which one pod merges.",
)
@option(
    "--store",
    type=click.Choice(list(BASES)),
    default="volume",
    help="Where the files are: on the volume of the claim pvc-oss, or in a bucket, without a volume.",
)
@option(
    "--dir",
    "directory",
    type=TEXT,
    show_default="aggregation-demo",
    help="The directory on the volume, or the prefix in the bucket.",
)
@option("--bucket", type=TEXT, help="With --store oss: the bucket. Without it the settings say it, or -p.")
@option("--endpoint", type=TEXT, help="With --store oss: the endpoint, such as https://oss-….aliyuncs.com.")
@option("--region", type=TEXT, help="With --store oss: the bucket's region.")
@option("--secret", type=TEXT, help="With --store oss: the Secret with the keys akId and akSecret.")
@option("--image", type=TEXT, show_default="the tutorial's", help="The worker's image.")
@option(
    "--namespace",
    default="argo",
    type=Name(),
    envvar="ARGO_NAMESPACE",
    show_envvar=True,
    help="Where to run.",
)
@option(
    "--name", default="aggregate", type=START_OF_A_NAME, help="The start of the workflow's generated name."
)
@option("--service-account", type=NAME, show_default="aggregation", help="The account of the workers' pods.")
@option(
    "--memory",
    type=ResourceValue(),
    multiple=True,
    metavar="LEVEL=VALUE",
    help="What a pod of a level (a number, or `merge`) gets and may use: 3=512Mi. May be repeated.",
)
@option(
    "--cpu",
    type=ResourceValue(),
    multiple=True,
    metavar="LEVEL=VALUE",
    help="The same for processors: merge=2.",
)
@option(
    "--parallelism",
    type=parameters.COUNT,
    metavar="P",
    show_default="16",
    help="How many pods of a workflow run at a time.",
)
@option(
    "--pods-per-workflow",
    type=parameters.COUNT,
    default=PODS_PER_WORKFLOW,
    metavar="P",
    help="A run of more pods becomes a parent and child workflows of at most so many pods each.",
)
@option(
    "--children",
    type=parameters.COUNT,
    default=CHILDREN_AT_A_TIME,
    metavar="C",
    help="How many child workflows run at a time, if there are any.",
)
@option(
    "--dry-run", is_flag=True, help="Print pods, bytes moved and nodes, and warn past Argo's limits; no YAML."
)
@option("--size", type=parameters.NUMBER, metavar="BYTES", help="With --dry-run: the size of a file.")
@option("--submit", is_flag=True, help="Send it to an Argo server instead of printing YAML.")
@option(
    "--server",
    envvar="ARGO_SERVER",
    show_envvar=True,
    help="With --submit: the server, https:// if nothing else is said. Its token comes from ARGO_TOKEN.",
)
def generate(**given: Any) -> None:
    """Write an Argo workflow that reduces any number of files: YAML on stdout.

    The files 0.txt … N-1.txt of level 1 are joined K at a time, level by level, each group by a pod, and what
    is left is merged into result.txt. A run of more pods than one workflow should hold becomes a parent that
    runs child workflows, level after level.
    """
    options = Options(**given)
    _check(options)
    plan = options.plan()
    documents = build(plan, options)
    if options.dry_run:
        console.print(show(plan, options.size))
        return
    for warning in plan.warnings():
        click.echo(f"generate.py: warning: {warning}", err=True)
    if options.submit:
        name = submit(documents, options)
        console.print([f"{name} is submitted; watch it with: argo watch -n {options.namespace} {name}"])
    else:
        console.print([to_yaml(documents, _comment(plan, options, sys.argv[1:]))])


def _check(options: Options) -> None:
    """Raise click.UsageError for options that do not go together."""
    if options.levels is not None and options.final_width is not None:
        raise click.UsageError("--levels and --final-width say the same thing: give one of them.")
    if options.size is not None and not options.dry_run:
        raise click.UsageError("--size is for --dry-run.")
    if options.submit and options.dry_run:
        raise click.UsageError("--dry-run submits nothing: give one of --dry-run and --submit.")
    if options.submit and options.server is None:
        raise click.UsageError("--submit needs the server's address: set ARGO_SERVER or give --server.")


if __name__ == "__main__":
    entry.main(generate)
