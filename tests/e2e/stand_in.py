"""A stand-in for kubectl and argo: a cluster in a directory, which runs workflows and pods as processes.

    stand_in.py kubectl|argo ARGUMENTS…

STAND_IN names the directory: objects/ holds what was created, volume/ what the claim holds, calls each
command line, and how.json what goes wrong: {"refuses": {"start of a command": "message"}, "status": {…},
"damage": true, "never_ends": true}.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

STATE = Path(os.environ["STAND_IN"])
OBJECTS = STATE / "objects"
VOLUME = STATE / "volume"
HOW: dict[str, Any] = json.loads((STATE / "how.json").read_text())
Document = dict[str, Any]


def stored() -> list[tuple[Path, Document]]:
    """Every object and the file that holds it."""
    return [(path, json.loads(path.read_text())) for path in sorted(OBJECTS.iterdir())]


def path_of(kind: str, name: str) -> Path:
    """The file of an object."""
    return OBJECTS / f"{kind.lower()}.{name}"


def add(document: Document) -> Document:
    """Create an object; a workflow or a pod runs at once."""
    metadata = document["metadata"]
    name = metadata.get("name") or f"{metadata['generateName']}{len(list(OBJECTS.iterdir())):05}"
    path = path_of(document["kind"], name)
    if path.exists():
        sys.exit(f'Error from server (AlreadyExists): "{name}" already exists')
    document = {**document, "metadata": {**metadata, "name": name}}
    if document["kind"] == "Pod":
        document |= run_pod(document["spec"]["containers"][0]["command"])
    if document["kind"] == "Workflow":
        document["status"] = {"phase": "Running"} if HOW.get("never_ends") else run_workflow(document)
    written = STATE / f"{path.name}.new"
    written.write_text(json.dumps(document))
    written.replace(path)  # the runner may be stopped, and this with it, at any point
    return document


def run_pod(command: list[str]) -> Document:
    """Run a script of the runner on the volume; changing owners is not for everyone, so that is left out."""
    script = command[2].replace("/mnt/vol", str(VOLUME)).replace("os.chown(", "print(")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    phase = "Failed" if done.returncode else "Succeeded"
    return {"status": {"phase": phase}, "output": done.stdout + done.stderr}


def run_workflow(document: Document) -> Document:
    """Expand a workflow, run its pods, and return its status."""
    sys.path.extend(str(Path(__file__).resolve().parent.parent.parent / part) for part in ("tests", "worker"))
    from manifests.children import follow  # noqa: PLC0415 - most calls of kubectl do not need it
    from manifests.execution import Cluster  # noqa: PLC0415

    library = [each for _, each in stored() if each["kind"] == "WorkflowTemplate"]
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder))
        cluster.volume = VOLUME
        running = follow(document, library, run=cluster.run)
        pods = [pod for level in running.levels() for pod in level]
        cluster.run_together(pods)
    with (STATE / "images").open("a") as images:
        images.writelines(f"{pod.image}\n" for pod in pods)
    result = VOLUME / "aggregation-demo" / "result.txt"
    if HOW.get("damage") and result.exists():
        result.write_bytes(result.read_bytes()[::-1])
    count = sum(len(stage.pods) for stage in running.stages)
    return {"phase": "Succeeded", "progress": f"{count}/{count}", **HOW.get("status", {})}


def delete(arguments: list[str]) -> None:
    """Delete a namespace with all in it, or what has a label."""
    if arguments[0] == "namespace":
        for path, document in stored():
            metadata = document["metadata"]
            if metadata.get("namespace") == arguments[1] or document["kind"] == "Namespace":
                path.unlink()
        return
    name, value = arguments[arguments.index("-l") + 1].split("=")
    for path, document in stored():
        of_kind = f"{document['kind'].lower()}s" in arguments[0].split(",")
        if of_kind and document["metadata"].get("labels", {}).get(name) == value:
            path.unlink()


def kubectl(arguments: list[str]) -> None:
    """The commands that the runner calls."""
    match arguments:
        case ["config", "current-context"]:
            print("a-context")
        case ["create", "namespace", name]:
            add({"kind": "Namespace", "metadata": {"name": name}})
        case ["create", "-f", "-", "-o", "json"]:
            print(json.dumps(add(json.load(sys.stdin))))
        case ["get", kind, name, *rest] if "--ignore-not-found" in rest:
            print(f"{kind}/{name}" if path_of(kind, name).exists() else "")
        case ["get", kind, name, *_]:
            print(path_of(kind, name).read_text())
        case ["logs", name, *_]:
            print(json.loads(path_of("pod", name).read_text())["output"])
        case ["delete", *rest]:
            delete(rest)
        case _:
            sys.exit(f"error: the stand-in does not know {arguments}")


def argo(arguments: list[str]) -> None:
    """`argo submit --wait`, whose exit code says whether the workflow succeeded."""
    if arguments[0] != "submit" or "--wait" not in arguments:
        sys.exit(f"error: the stand-in does not know {arguments}")
    document = add(json.loads(Path(arguments[-1]).read_text()))
    print(document["metadata"]["name"])
    sys.exit(document["status"]["phase"] != "Succeeded")


def main(program: str, arguments: list[str]) -> None:
    """Record the call, refuse it or do it."""
    if arguments[:1] == ["--context"]:
        arguments = arguments[2:]
    line = " ".join([program, *arguments])
    with (STATE / "calls").open("a") as calls:
        calls.write(f"{line}\n")
    for start, message in HOW.get("refuses", {}).items():
        if line.startswith(start):
            sys.exit(f"error: {message}")
    {"kubectl": kubectl, "argo": argo}[program](arguments)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
