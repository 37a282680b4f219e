"""Hera's models of Argo's documents, which accept an unknown key in silence: what they lose was one."""

from collections.abc import Iterator
from typing import Any

from hera.workflows import models

from workflows.parameters import Manifest

KINDS: dict[str, Any] = {
    "CronWorkflow": models.CronWorkflow,
    "Workflow": models.Workflow,
    "WorkflowTemplate": models.WorkflowTemplate,
}


def lost(document: Manifest) -> list[str]:
    """The paths of what does not come back as it was from the model of the document's kind."""
    return list(_lost(document, there_and_back(KINDS[document["kind"]], document)))


def there_and_back(model: Any, value: Any) -> Any:
    """A value loaded into a model and dumped again."""
    return model.model_validate(value).model_dump(by_alias=True, exclude_none=True, mode="json")


def _lost(original: Any, dumped: Any, path: str = "") -> Iterator[str]:
    if isinstance(original, dict) and isinstance(dumped, dict):
        for key, value in original.items():
            if key in dumped:
                yield from _lost(value, dumped[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(original, list) and isinstance(dumped, list) and len(original) == len(dumped):
        for index, (item, other) in enumerate(zip(original, dumped, strict=True)):
            yield from _lost(item, other, f"{path}[{index}]")
    elif original != dumped and str(original) != str(dumped):
        yield f"{path}: {original!r} became {dumped!r}"
