"""Expands a workflow of workflows: the parent's steps, and those of each child that they create."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from workflows.documents import effective_spec
from workflows.expansion import expand
from workflows.parameters import Manifest, ManifestError
from workflows.pods import Pod, Run, Stage

_STAND_IN = "creates a workflow"


@dataclass(frozen=True)
class Running:
    """A workflow as it runs: its stages, and the children that each of them creates, in order."""

    document: Manifest
    stages: tuple[Stage, ...]
    children: tuple[tuple["Running", ...], ...]

    def workflows(self) -> Iterator["Running"]:
        """This workflow and all below it."""
        yield self
        for group in self.children:
            for child in group:
                yield from child.workflows()

    def levels(self) -> list[list[Pod]]:
        """The workers' pods of each step, those of the step's children in its place."""
        return [
            [pod for child in group for level in child.levels() for pod in level]
            if group
            else list(stage.pods)
            for stage, group in zip(self.stages, self.children, strict=True)
        ]

    def nodes(self) -> int:
        """The nodes of this workflow's own status: itself, its step groups, its pods, a Retry over each."""
        return 1 + sum(
            1 + sum(2 if pod.retry else 1 for pod in stage.pods) + len(stage.skipped) for stage in self.stages
        )


def follow(
    document: Manifest,
    library: Sequence[Manifest] = (),
    given: Mapping[str, str] | None = None,
    *,
    run: Run | None = None,
    name: str = "a-workflow",
) -> Running:
    """Expand a workflow and every child that it creates; the arguments are those of expansion.expand.

    Raises:
        ManifestError: see expansion.expand; or a child is not what its template asks for.
    """
    stages = tuple(expand(_with_stand_ins(document), library, given, run=run, name=name))
    children = tuple(
        tuple(
            _child(pod.command[1], library, number)
            for number, pod in enumerate(stage.pods)
            if pod.command[0] == _STAND_IN
        )
        for stage in stages
    )
    return Running(document, stages, children)


def _child(manifest: str, library: Sequence[Manifest], number: int) -> Running:
    child = yaml.safe_load(manifest)
    given = {item["name"]: item["value"] for item in child["spec"]["arguments"]["parameters"]}
    reference = child["spec"]["workflowTemplateRef"]["name"]
    declared = effective_spec({"spec": {"workflowTemplateRef": {"name": reference}}}, library)["arguments"]
    if unknown := given.keys() - {item["name"] for item in declared["parameters"]}:
        raise ManifestError(f"{reference!r} declares no parameter {sorted(unknown)}")
    return follow(child, library, name=f"{child['metadata']['generateName']}{number}")


def _with_stand_ins(document: Manifest) -> Manifest:
    """The document with a container, whose argument is the manifest, in the place of each resource."""
    spec = document["spec"]
    templates = [_stand_in(template) for template in spec.get("templates", [])]
    return {**document, "spec": {**spec, **({"templates": templates} if templates else {})}}


def _stand_in(template: dict[str, Any]) -> dict[str, Any]:
    if "resource" not in template:
        return template
    resource = template["resource"]
    if resource.keys() - {"action", "manifest", "setOwnerReference", "successCondition", "failureCondition"}:
        raise ManifestError(f"resource {sorted(resource)} is not understood")
    container = {"image": "argoexec", "command": [_STAND_IN], "args": [resource["manifest"]]}
    return {key: value for key, value in template.items() if key != "resource"} | {"container": container}
