"""A workflow's parameters, as Argo v3.7 and later find them: `-p`, the file, a ConfigMap, a default."""

from collections.abc import Mapping, Sequence
from typing import Any

Manifest = dict[str, Any]
READABLE = ("workflows.argoproj.io/configmap-type", "Parameter")
"""The label without which the controller does not see a ConfigMap."""


class ManifestError(Exception):
    """The manifests cannot run as they are written."""


def resolve(
    declared: Sequence[Manifest], given: Mapping[str, str], library: Sequence[Manifest]
) -> dict[str, str]:
    """The value of each declared parameter.

    Args:
        declared: the workflow's own, laid over those of its template.
        given: what `-p` says, which replaces a declaration as a whole.
        library: what the cluster holds, ConfigMaps among it.

    Raises:
        ManifestError: one that was not declared is given, or one has no value.
    """
    if unknown := given.keys() - {item["name"] for item in declared}:
        raise ManifestError(f"unknown workflow parameters {sorted(unknown)}")
    return {
        item["name"]: as_text(given.get(item["name"], default(item, library)), item["name"])
        for item in declared
    }


def default(declaration: Manifest, library: Sequence[Manifest] = ()) -> Any:
    """What a parameter is where nobody gives it; None if it has to be given.

    Raises:
        ManifestError: it comes from somewhere that is not understood.
    """
    if "value" in declaration or "valueFrom" not in declaration:
        return declaration.get("value")
    source = declaration["valueFrom"]
    if source.keys() - {"default"} != {"configMapKeyRef"}:
        raise ManifestError(f"the parameter {declaration['name']!r} comes from {sorted(source)}")
    wanted = source["configMapKeyRef"]
    for document in library:
        metadata = document["metadata"]
        if (document["kind"], metadata.get("name")) == ("ConfigMap", wanted["name"]):
            label, kind = READABLE
            if metadata.get("labels", {}).get(label) == kind and wanted["key"] in document["data"]:
                return document["data"][wanted["key"]]
    return source.get("default")


def as_text(value: Any, name: str) -> str:
    """A parameter's value, which must be text: YAML's other types are rendered differently by each version.

    Raises:
        ManifestError: it is none.
    """
    if value is None:
        raise ManifestError(f"the parameter {name!r} has no value")
    if not isinstance(value, str):
        raise ManifestError(f"the parameter {name!r} is {value!r}; a number belongs in quotes")
    return value
