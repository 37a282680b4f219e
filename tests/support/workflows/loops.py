"""The items of a step's loop, and the order of a DAG's tasks."""

import json
import re
from collections.abc import Mapping
from typing import Any

from workflows.documents import unique
from workflows.parameters import Manifest, ManifestError
from workflows.scopes import Scope


def items_of(step: Manifest, scope: Scope) -> list[Any]:
    """What a step loops over.

    Raises:
        ManifestError: that is nothing, or no list.
    """
    if "withItems" in step:
        items: Any = step["withItems"]
    elif "withParam" in step:
        items = json.loads(scope.fill(step["withParam"]))
    else:
        items = _sequence(scope.fill(step["withSequence"]))
    if not isinstance(items, list) or not items:
        raise ManifestError(f"step {step['name']!r} loops over {items!r}")
    return items


def _sequence(sequence: Mapping[str, Any]) -> list[str]:
    if unknown := sequence.keys() - {"start", "end", "count", "format"}:
        raise ManifestError(f"withSequence: {sorted(unknown)} is not understood")
    try:
        start = int(sequence.get("start", 0))
        end = int(sequence["end"]) if "end" in sequence else start + int(sequence["count"]) - 1
    except (KeyError, ValueError) as error:
        raise ManifestError(f"withSequence {dict(sequence)!r}: {error}") from error
    if "count" in sequence and end < start:
        return []
    numbers = range(start, end + 1) if start <= end else range(start, end - 1, -1)
    return [sequence.get("format", "%d") % number for number in numbers]


def waves(tasks: list[Manifest]) -> list[list[Manifest]]:
    """A DAG's tasks, each in the first group in which all that it waits for is done."""
    waiting = {name: _waits_for(task) for name, task in unique(tasks, "task").items()}
    waves: list[list[Manifest]] = []
    done: set[str] = set()
    while len(done) < len(tasks):
        ready = [task for task in tasks if task["name"] not in done and waiting[task["name"]] <= done]
        if not ready:
            raise ManifestError(
                f"tasks {sorted(waiting.keys() - done)} wait for each other or for nothing known"
            )
        waves.append(ready)
        done |= {task["name"] for task in ready}
    return waves


def _waits_for(task: Manifest) -> set[str]:
    names = task.get("dependencies") or [name for name in task.get("depends", "").split("&&") if name]
    names = {name.strip() for name in names}
    if any(re.search(r"[^A-Za-z0-9_-]", name) for name in names):
        raise ManifestError(f"task {task['name']!r}: its dependencies {sorted(names)} are not understood")
    return names
