"""The workflows that must succeed: each manifest, and what it must make of 32 files."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import yaml

from e2e.cluster import MANIFESTS, TUTORIAL, Cluster, E2EError, Manifest, SkippedError, last_line
from e2e.scripts import EMPTY, FOREIGN, LOOK, OWN

LEVEL_1 = 32


class Case(NamedTuple):
    """Something to try: it returns what was seen to be right."""

    name: str
    check: Callable[[Cluster], str]
    """Raises E2EError if something is wrong, SkippedError if it cannot be tried here."""


def manifest(name: str, progress: str, *, result: bool = True, **parameters: str) -> Case:
    """A manifest, with parameters, and how many pods it has; its result, if it makes one, joins `files`."""
    given = {key.replace("_", "-"): value for key, value in parameters.items()}
    shape = "".join(f", {key} {value}" for key, value in given.items())
    files = int(given.get("files", LEVEL_1))

    def check(cluster: Cluster) -> str:
        seen = succeeded(cluster, cluster.documents(name, given), progress)
        return f"{seen}, {joined(look(cluster), files)}" if result else seen

    return Case(f"{name}{shape}", check)


def generated(name: str, progress: str, *arguments: str) -> Case:
    """What generate.py writes, which needs Hera."""

    def check(cluster: Cluster) -> str:
        probe = subprocess.run([sys.executable, "-c", "import hera"], capture_output=True, check=False)
        if probe.returncode:
            raise SkippedError("Hera is not installed")
        command = [sys.executable, str(MANIFESTS / "generate.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise E2EError(f"generate.py: {last_line(done.stderr)}")
        documents = [cluster.adapted(document) for document in yaml.safe_load_all(done.stdout)]
        seen = succeeded(cluster, documents, progress)
        return f"{seen}, {joined(look(cluster), LEVEL_1)}"

    return Case(name, check)


def tutorial(cluster: Cluster) -> str:
    """The tutorial's own YAML, which runs as root, on a volume that belongs to root."""
    if cluster.options.storage_class is None:
        cluster.run_pod("foreign", FOREIGN, as_root=True)
    for name, progress in ("prepare-data.yaml", "1/1"), ("process-data.yaml", "25/25"):
        documents = cluster.documents(name, folder=TUTORIAL)
        for document in documents:
            # As `argo submit --serviceaccount` does: a new namespace's own account may report nothing.
            document["spec"]["serviceAccountName"] = "aggregation"
        seen = succeeded(cluster, documents, progress)
    return f"{seen}, {joined(look(cluster, as_root=True), LEVEL_1)}"


def to_the_workers(cluster: Cluster) -> None:
    """Empty the volume, which may have been root's, and make it the workers'."""
    cluster.run_pod("empty", EMPTY, as_root=True)
    cluster.run_pod("own", OWN, as_root=True)


def succeeded(cluster: Cluster, documents: list[Manifest], progress: str) -> str:
    """Run a workflow, after the documents that it needs, and say that it succeeded.

    Raises:
        E2EError: it did not, or has another number of pods.
    """
    *others, workflow = documents
    for document in others:
        cluster.create(document)
    return ended_well(cluster.run_workflow(workflow)["status"], progress)


def ended_well(status: Manifest, progress: str) -> str:
    """What a workflow's status says, if it is right.

    Raises:
        E2EError: it is not.
    """
    if status.get("phase") != "Succeeded":
        raise E2EError(f"phase {status.get('phase')}: {reason(status)}")
    if status.get("progress") != progress:
        raise E2EError(f"progress {status.get('progress')} where {progress} was expected")
    return f"Succeeded, {progress}"


def look(cluster: Cluster, *, as_root: bool = False) -> Manifest:
    """Level 1, the result and the runs that have a folder; what was made is removed for the next one."""
    found: Manifest = json.loads(last_line(cluster.run_pod("look", LOOK, as_root=as_root)))
    return found


def joined(seen: Manifest, files: int) -> str:
    """Say that the result is the first so many files of level 1.

    Raises:
        E2EError: it is not.
    """
    if len(seen["level"]) != LEVEL_1:
        raise E2EError(f"level 1 has {len(seen['level'])} files where {LEVEL_1} were expected")
    if seen["result"] is None:
        raise E2EError("there is no result.txt")
    wanted = "".join(seen["level"][:files])
    if seen["result"] != wanted:
        raise E2EError(f"result.txt is {seen['result']!r} where level 1 is {wanted!r}")
    return "result.txt is level 1"


def failed_pods(status: Manifest) -> list[str]:
    """The messages of a workflow's pods that failed, each with the pod's name in the tree."""
    return [
        f"{node.get('displayName')}: {node.get('message')}"
        for node in status.get("nodes", {}).values()
        if node.get("type") == "Pod" and node.get("phase") in ("Failed", "Error")
    ]


def reason(status: Manifest) -> str:
    """What the workflow says, and the first of its pods that failed."""
    return "; ".join([status.get("message") or "no message", *failed_pods(status)[:1]])


FIRST = manifest("prepare-data.yaml", "1/1", result=False)
"""Without its files nothing else can run."""
CASES = [
    Case("the tutorial's own YAML, on a volume of root's", tutorial),
    FIRST,
    manifest("process-data.yaml", "25/25"),
    manifest("process-data-with-items.yaml", "25/25"),
    manifest("process-data-with-param.yaml", "27/27"),
    manifest("aggregate.yaml", "25/25"),
    manifest("aggregate.yaml", "16/16", files="31", fan_in="3", final_width="4", partial="true"),
    generated("generate.py", "25/25", "--files", "32", "--levels", "2"),
    # 4 + 2 children of at most 5 pods, and the merge.
    generated(
        *("generate.py, a workflow of workflows", "7/7"),
        *("--files", "32", "--levels", "2", "--pods-per-workflow", "5"),
    ),
]
