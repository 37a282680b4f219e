"""What the tags of a manifest may name at a place, and the tags replaced by it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from workflows import expressions
from workflows.parameters import ManifestError

_OF_A_STEP = re.compile(r"\b(?:steps|tasks)(?:\.\w+|\['[^']+'\])+")
_PART = re.compile(r"(\w+)(?=[.\[]|$)|'([^']+)'")
_TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


class Scope:
    """The variables that tags may name, flat for simple tags and nested for expressions."""

    def __init__(self, flat: Mapping[str, str]) -> None:
        self.flat = dict(flat)

    def plus(self, prefix: str, values: Mapping[str, str]) -> "Scope":
        return Scope({**self.flat, **{f"{prefix}.{name}": text for name, text in values.items()}})

    def with_item(self, item: Any) -> "Scope":
        if isinstance(item, dict):
            return Scope({**self.flat, **{f"item.{key}": expressions.render(item[key]) for key in item}})
        return Scope({**self.flat, "item": expressions.render(item)})

    def nested(self) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for name, text in self.flat.items():
            branch = tree
            *parents, leaf = name.split(".")
            for parent in parents:
                branch = branch.setdefault(parent, {})
            branch[leaf] = text
        return tree

    def lacking(self, value: Any) -> list[str]:
        """What a value's expressions name of steps and is not known: Argo 4.1 waits for it, used or not."""
        said = [match for tag in tags(value) if tag.startswith("=") for match in _OF_A_STEP.findall(tag)]
        names = [".".join(one or other for one, other in _PART.findall(path)) for path in said]
        return [name for name in names if name not in self.flat]

    def fill(self, value: Any) -> Any:
        """A value with each tag in it replaced.

        Raises:
            ManifestError: a tag names nothing that is known here.
        """
        if isinstance(value, str):
            return _TAG.sub(self._replacement, value) if "{{" in value else value
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        return value

    def _replacement(self, match: re.Match[str]) -> str:
        tag = match[1]
        if tag.startswith("="):
            try:
                return expressions.render(expressions.evaluate(tag[1:], self.nested()))
            except expressions.ExpressionError as error:
                raise ManifestError(f"{match[0]}: {error}") from error
        if tag not in self.flat:
            raise ManifestError(f"{match[0]} is not known here")
        return self.flat[tag]


def tags(value: Any) -> list[str]:
    """What stands between `{{` and `}}` anywhere in a value."""
    return [tag for text in strings(value) for tag in _TAG.findall(text)]


def expressions_of_outputs(template: Mapping[str, Any]) -> list[str]:
    """What the outputs of a template read."""
    declared = template.get("outputs", {}).get("parameters", [])
    return [output["valueFrom"]["expression"] for output in declared if "expression" in output["valueFrom"]]


def strings(value: Any) -> Iterator[str]:
    """Each text anywhere in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)


def is_read(texts: list[str], *names: str) -> bool:
    """Whether one of some tags names a variable, which may be spelt in more than one way."""
    ends = re.compile("|".join(rf"{re.escape(name)}(?![A-Za-z0-9_-])" for name in names))
    return any(ends.search(text) for text in texts)
