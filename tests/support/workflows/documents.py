"""The documents of manifests: read from files, laid over each other, and what they name found in them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from workflows.parameters import Manifest, ManifestError


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping: YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise ManifestError(f"{sorted(twice)} twice in one mapping,{node.start_mark}")
        return super().construct_mapping(node, deep)


def load(*paths: Path) -> list[Manifest]:
    """All the documents of some files, in order."""
    documents: list[Manifest] = []
    for path in paths:
        documents.extend(yaml.load_all(path.read_text(encoding="utf-8"), _Loader))
    return documents


def effective_spec(manifest: Manifest, library: Sequence[Manifest] = ()) -> Manifest:
    """A manifest's spec, laid over that of the WorkflowTemplate that it names, if any."""
    spec = dict(manifest["spec"])
    reference = spec.pop("workflowTemplateRef", None)
    return merge(template_named(library, reference["name"])["spec"], spec) if reference else spec


def merge(below: Any, above: Any) -> Any:
    """`above` laid over `below` as Kubernetes merges: lists of named things by name, mounts by path."""
    if isinstance(below, dict) and isinstance(above, dict):
        shared = {key: merge(below[key], above[key]) for key in below.keys() & above.keys()}
        return {**below, **above, **shared}
    if isinstance(below, list) and isinstance(above, list):
        for key in ("mountPath", "name"):
            if all(isinstance(item, dict) and key in item for item in below + above):
                upper = {item[key]: item for item in above}
                lower = {item[key]: item for item in below}
                merged = {name: merge(lower.get(name), item) for name, item in upper.items()}
                return list({**lower, **merged}.values())
    return above


def template_named(library: Sequence[Manifest], name: str) -> Manifest:
    """The WorkflowTemplate of a name.

    Raises:
        ManifestError: there is none, or several.
    """
    templates = [document for document in library if document["kind"] == "WorkflowTemplate"]
    found = [document for document in templates if document["metadata"].get("name") == name]
    if len(found) != 1:
        raise ManifestError(f"{len(found)} WorkflowTemplates have the name {name!r}")
    return found[0]


def only(items: list[Manifest], name: str, what: str) -> Manifest:
    """The item of a name.

    Raises:
        ManifestError: there is none, or a name stands twice.
    """
    named = unique(items, what)
    if name not in named:
        raise ManifestError(f"there is no {what} {name!r}")
    return named[name]


def unique(items: list[Manifest], what: str) -> dict[str, Manifest]:
    """Items by their names.

    Raises:
        ManifestError: a name stands twice.
    """
    named = {item["name"]: item for item in items}
    if len(named) != len(items):
        raise ManifestError(f"a name stands twice: {what} {[item['name'] for item in items]}")
    return named
