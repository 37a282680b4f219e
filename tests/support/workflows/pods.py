"""What a manifest expands to: pods, in stages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from workflows.documents import merge, unique
from workflows.parameters import Manifest, ManifestError
from workflows.patches import NONE, patched
from workflows.scopes import Scope

_OF_A_POD = (
    "securityContext",
    "nodeSelector",
    "tolerations",
    "priorityClassName",
    "serviceAccountName",
    "metadata",
)
"""What a template says of its pods, and else the workflow."""


class OutputFile(NamedTuple):
    """A file that becomes an output parameter."""

    parameter: str
    path: str
    default: str | None


class SecretKey(NamedTuple):
    """A variable whose value is in a Secret."""

    variable: str
    secret: str
    key: str
    optional: bool


@dataclass(frozen=True)
class Pod:
    """One worker pod."""

    template: str
    step: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    secrets: tuple[SecretKey, ...]
    mounts: tuple[tuple[str, str], ...]
    image: str
    outputs: tuple[OutputFile, ...]
    container: Mapping[str, Any] = field(compare=False, repr=False)
    volumes: Mapping[str, Any] = field(compare=False, repr=False)
    """Those that it has, by name: its template's, else the workflow's."""
    spec: Mapping[str, Any] = field(compare=False, repr=False)
    """What else of the pod's own is said, by its template or else by the workflow."""
    retry: Mapping[str, Any] | None = field(compare=False, repr=False)


@dataclass(frozen=True)
class Stage:
    """Pods that may run at the same time, and the steps that a `when` left out beside them."""

    pods: tuple[Pod, ...]
    skipped: tuple[str, ...] = ()


class Outputs(NamedTuple):
    """What a pod hands on: its stdout, and the contents of its output files."""

    result: str
    parameters: Mapping[str, str]


Run = Callable[[Pod], Outputs]


def pod_of(template: Manifest, scope: Scope, step: str, spec: Manifest) -> Pod:
    """The pod of a template.

    Args:
        template: one of a container, the workflow's defaults laid under it.
        scope: what its tags may name.
        step: the step that calls it.
        spec: the workflow's.

    Raises:
        ManifestError: a tag is unknown, a volume is, or there is no command.
    """
    below = unique(spec.get("volumes", []), "volume")
    own = unique(scope.fill(template.get("volumes", [])), f"volume of {template['name']}")
    container: Manifest = scope.fill(template["container"])
    volumes: Mapping[str, Manifest] = {**below, **own}
    rest: Manifest = {}
    for level in (spec, template):
        done = patched(container, volumes, scope.fill(level.get("podSpecPatch", NONE)))
        container, volumes, rest = done.container, done.volumes, merge(rest, done.rest)
    variables = unique(container.get("env", []), f"variable of {template['name']}")
    mounts = [(mount["mountPath"], mount["name"]) for mount in container.get("volumeMounts", [])]
    if unknown := {volume for _, volume in mounts} - volumes.keys():
        raise ManifestError(f"template {template['name']!r} mounts unknown volumes {sorted(unknown)}")
    if not container.get("command"):
        raise ManifestError(f"template {template['name']!r} has no command: Argo would ask a registry for it")
    said = {key: template.get(key, spec.get(key)) for key in _OF_A_POD if key in template or key in spec}
    secrets = []
    for name, variable in variables.items():
        if source := variable.get("valueFrom"):
            key = source["secretKeyRef"]
            secrets.append(SecretKey(name, key["name"], key["key"], key.get("optional", False)))
    return Pod(
        template=template["name"],
        step=step,
        command=(*container["command"], *container.get("args", [])),
        environment=tuple((name, item["value"]) for name, item in variables.items() if "value" in item),
        secrets=tuple(secrets),
        mounts=tuple(mounts),
        image=container["image"],
        outputs=tuple(
            OutputFile(output["name"], output["valueFrom"]["path"], output["valueFrom"].get("default"))
            for output in template.get("outputs", {}).get("parameters", [])
        ),
        container=container,
        volumes=volumes,
        spec=merge(said, rest) if rest else said,
        retry=template.get("retryStrategy"),
    )
