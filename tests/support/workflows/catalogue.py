"""The manifests as the tests take them: loaded once, and submitted by their file's name."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from scripts import REPOSITORY
from workflows import parameters
from workflows.documents import effective_spec, load
from workflows.expansion import expand
from workflows.parameters import Manifest
from workflows.pods import Outputs, Pod, Run, Stage

FOLDER = REPOSITORY / "manifests"
TUTORIAL = REPOSITORY / "tests" / "manifests" / "tutorial"
FILES = sorted(FOLDER.glob("*.yaml"))
DOCUMENTS = [(path, document) for path in FILES for document in load(path)]
LIBRARY = [document for _, document in DOCUMENTS if document["kind"] == "WorkflowTemplate"]
(SETTINGS,) = [document for _, document in DOCUMENTS if document["kind"] == "ConfigMap"]
RUNNABLE = {path.name: doc for path, doc in DOCUMENTS if doc["kind"] in ("Workflow", "WorkflowTemplate")}


def parameters_of(document: Manifest) -> dict[str, str | None]:
    """A document's workflow parameters and their defaults, those of its template included."""
    declared = effective_spec(document, LIBRARY)["arguments"]["parameters"]
    return {item["name"]: parameters.default(item) for item in declared}


def submit(
    name: str,
    given: dict[str, str] | None = None,
    *,
    folder: Path = FOLDER,
    run: Run | None = None,
    entrypoint: str | None = None,
    workflow: str = "a-workflow",
) -> list[Stage]:
    """The stages of a manifest, all at once, as a workflow of some name."""
    document = RUNNABLE[name] if folder == FOLDER else load(folder / name)[0]
    return list(expand(document, LIBRARY, given, run=run, entrypoint=entrypoint, name=workflow))


def commands(stages: list[Stage]) -> list[list[str]]:
    """The command lines of each stage that has pods."""
    return [[" ".join(pod.command) for pod in stage.pods] for stage in stages if stage.pods]


def planner(files: int) -> Run:
    """What plan.py answers where level 1 holds `files` files, by arithmetic of its own."""

    def run(pod: Pod) -> Outputs:
        assert pod.command[:2] == ("python3", "plan.py")
        held = int(dict(pod.environment).get("AGGREGATION_FILES") or files)
        return Outputs(json.dumps(list(range(math.ceil(held / 2)))), {"summary": json.dumps({"files": held})})

    return run


def pods_of(
    document: Manifest, library: Sequence[Manifest] = LIBRARY, given: dict[str, str] | None = None
) -> list[Pod]:
    """All the pods of a document as it stands, with a bucket where it needs one, on 32 files."""
    bucket = {name: "my-bucket" for name, value in parameters_of(document).items() if value is None}
    stages = expand(document, library, {**bucket, **(given or {})}, run=planner(32))
    return [pod for stage in stages for pod in stage.pods]
