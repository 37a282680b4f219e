"""A stand-in for kubectl and argo: a cluster in a directory, which runs workflows and pods as processes.

    stand_in.py kubectl|argo ARGUMENTS…

STAND_IN names the directory: objects/ holds what was created, volume/ what the claim holds, calls each
command line, and how.json what goes wrong: {"refuses": {"start of a command": "message"}, "status": {...},
"damage": true, "never_ends": true, "restricted": {a status in the second namespace}}. A workflow that sleeps
waits until its pod is deleted, then runs again.
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
SLEEP = "sleep 20"


def stored() -> list[tuple[Path, Document]]:
    """Every object and the file that holds it."""
    return [(path, json.loads(path.read_text())) for path in sorted(OBJECTS.iterdir())]


def path_of(kind: str, name: str, namespace: str = "") -> Path:
    """The file of an object; the second namespace of a run has its own."""
    return OBJECTS / f"{kind.lower()}.{name}{'.restricted' * namespace.endswith('-restricted')}"


def add(document: Document) -> Document:
    """Create an object; a workflow or a pod runs at once."""
    metadata = document["metadata"]
    name = metadata.get("name") or f"{metadata['generateName']}{len(list(OBJECTS.iterdir())):05}"
    path = path_of(document["kind"], name, metadata.get("namespace", ""))
    if path.exists():
        sys.exit(f'Error from server (AlreadyExists): "{name}" already exists')
    document = {**document, "metadata": {**metadata, "name": name}}
    if document["kind"] == "Pod":
        document |= run_pod(document["spec"]["containers"][0])
    if document["kind"] == "Workflow":
        if metadata.get("namespace", "").endswith("-restricted") and HOW.get("restricted"):
            document["status"] = HOW["restricted"]
        elif HOW.get("never_ends"):
            document["status"] = {"phase": "Running"}
        elif SLEEP in json.dumps(document):
            document["status"] = {"phase": "Running"}
            labels = {"workflows.argoproj.io/workflow": name}
            pod = {"kind": "Pod", "metadata": {"name": f"{name}-pod", "labels": labels}}
            write({**pod, "status": {"phase": "Running"}})
        else:
            document["status"] = run_workflow(document)
    write(document)
    return document


def write(document: Document) -> None:
    """Keep an object; the runner may be stopped, and this with it, at any point."""
    metadata = document["metadata"]
    path = path_of(document["kind"], metadata["name"], metadata.get("namespace", ""))
    written = STATE / f"{path.name}.new"
    written.write_text(json.dumps(document))
    written.replace(path)


def delete_pod(name: str) -> None:
    """Delete the pod of a workflow that sleeps: it is made again, and wakes at once."""
    path_of("pod", name).unlink()
    workflow = json.loads(path_of("workflow", name.removesuffix("-pod")).read_text())
    awake = json.loads(json.dumps(workflow).replace(SLEEP, "sleep 0"))
    lost = {"type": "Pod", "displayName": "merge-data(0)", "phase": "Error", "message": "pod deleted"}
    write({**workflow, "status": {**run_workflow(awake), "nodes": {"lost": lost}}})


def secret() -> dict[str, str]:
    """The keys of the Secret that was created last, if any."""
    found = [document["stringData"] for _, document in stored() if document["kind"] == "Secret"]
    return dict(found[-1]) if found else {}


def run_pod(container: Document) -> Document:
    """Run a script of the runner on the volume; changing owners is not for everyone, so that is left out."""
    script = container["command"][2].replace("/mnt/vol", str(VOLUME)).replace("os.chown(", "print(")
    environment = dict(os.environ)
    for each in container.get("env", []):
        environment[each["name"]] = each.get("value") or secret()[each["valueFrom"]["secretKeyRef"]["key"]]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    phase = "Failed" if done.returncode else "Succeeded"
    return {"status": {"phase": phase}, "output": done.stdout + done.stderr}


def run_workflow(document: Document) -> Document:
    """Expand a workflow, run its pods, and return its status."""
    repository = Path(__file__).resolve().parent.parent.parent
    sys.path.extend(str(repository / part) for part in ("tests", "tests/support", "worker"))
    from workflows.children import follow  # noqa: PLC0415 - most calls of kubectl do not need it
    from workflows.execution import Cluster  # noqa: PLC0415

    library = [each for _, each in stored() if each["kind"] == "WorkflowTemplate"]
    os.environ["PATH"] += ":/usr/bin:/bin"  # what a pod finds, and the runner does not
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), secret())
        cluster.volume = VOLUME
        running = follow(document, library, run=cluster.run, name=document["metadata"]["name"])
        pods = [pod for level in running.levels() for pod in level]
        with (STATE / "images").open("a") as images:
            images.writelines(f"{pod.image}\n" for pod in pods)
        try:
            cluster.run_together(pods)
        except AssertionError:  # one has failed: which, and how often, is seen one by one
            return failed(cluster, pods)
    result = VOLUME / "aggregation-demo" / "result.txt"
    if HOW.get("damage") and result.exists():
        result.write_bytes(result.read_bytes()[::-1])
    count = sum(len(stage.pods) for stage in running.stages)
    return {"phase": "Succeeded", "progress": f"{count}/{count}", **HOW.get("status", {})}


def failed(cluster: Any, pods: list[Any]) -> Document:
    """The status of a workflow one of whose pods fails: each is run, and tried again as its strategy says."""
    from workflows.expansion import is_retried  # noqa: PLC0415 - see run_workflow

    nodes: list[Document] = []
    for pod in pods:
        for number in range(int((pod.retry or {}).get("limit", 0)) + 1):
            exit_code, said = cluster.attempt(pod)
            message = f"main: Error (exit code {exit_code}): {said}"
            if not exit_code:
                break
            node = {"type": "Pod", "displayName": f"{pod.step}({number})", "phase": "Failed"}
            nodes.append({**node, "message": message})
            again = {"status": "Failed", "exit_code": str(exit_code), "message": message}
            if not pod.retry or not is_retried(pod.retry, **again):
                break
        if exit_code:
            tree = {str(number): node for number, node in enumerate(nodes)}
            return {"phase": "Failed", "nodes": tree, **HOW.get("status", {})}
    raise AssertionError("together the pods fail, one by one they do not")


def delete(arguments: list[str]) -> None:
    """Delete a namespace with all in it, or what has a label."""
    if arguments[0] == "pod":
        delete_pod(arguments[1])
        return
    if arguments[0] == "namespace":
        for path, document in stored():
            metadata = document["metadata"]
            if arguments[1] in (metadata.get("namespace"), metadata["name"]):
                path.unlink()
        return
    name, value = arguments[arguments.index("-l") + 1].split("=")
    for path, document in stored():
        of_kind = f"{document['kind'].lower()}s" in arguments[0].split(",")
        if of_kind and document["metadata"].get("labels", {}).get(name) == value:
            path.unlink()


def place(arguments: list[str]) -> str:
    """The namespace that a command names."""
    return arguments[arguments.index("-n") + 1] if "-n" in arguments else ""


def kubectl(arguments: list[str]) -> None:
    """The commands that the runner calls."""
    match arguments:
        case ["config", "current-context"]:
            print("a-context")
        case ["create", "namespace", name]:
            add({"kind": "Namespace", "metadata": {"name": name}})
        case ["create", "-f", "-", "-o", "json"]:
            print(json.dumps(add(json.load(sys.stdin))))
        case ["get", "pods", *rest]:
            name, value = rest[rest.index("-l") + 1].split("=")
            pods = [each for _, each in stored() if each["kind"] == "Pod"]
            pods = [each for each in pods if each["metadata"].get("labels", {}).get(name) == value]
            print(json.dumps({"items": pods}))
        case ["get", kind, name, *rest] if "--ignore-not-found" in rest:
            print(f"{kind}/{name}" if path_of(kind, name, place(rest)).exists() else "")
        case ["get", kind, name, *rest]:
            print(path_of(kind, name, place(rest)).read_text())
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
