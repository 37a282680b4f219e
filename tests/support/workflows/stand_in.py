"""A cluster in memory, and programs named kubectl and argo that talk to it.

No pod of a workflow runs: a workflow ends at once, with as many pods as it expands to, and leaves what they
would: the files of level 1, or the result. Pods that are no workflow's run as processes.
"""

import json
import os
import socketserver
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

from oss_server import OssServer
from workflows import execution
from workflows.children import follow
from workflows.expansion import Pod

Document = dict[str, Any]

_PROGRAM = """#!/bin/sh
exec "{python}" -I -S "{client}" {port} {name} "$@"
"""
_CLIENT = """
import json, socket, sys
port, *words = sys.argv[1:]
text = sys.stdin.read() if "-" in words else ""
with socket.create_connection(("127.0.0.1", int(port))) as connection, connection.makefile("rw") as file:
    print(json.dumps([words, text]), file=file, flush=True)
    code, output, error = json.loads(file.readline())
print(output, end="")
print(error, end="", file=sys.stderr)
sys.exit(code)
"""
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF"
_SLEEP = "sleep 20"
"""A workflow that sleeps waits until its pod is deleted."""


class RefusedError(Exception):
    """What kubectl says when it fails."""


class StandIn:
    """The cluster, for the length of a `with`.

    Args:
        folder: where the programs and the volume are.
        programs: which of kubectl and argo are installed.
        refuses: the start of a command line, and what kubectl says to it.
        ends: a text, and the status of a workflow that contains it, or {"damaged": True} for its result.
        buckets: the server that holds what is not on the volume.
    """

    def __init__(
        self,
        folder: Path,
        programs: tuple[str, ...] = ("kubectl",),
        *,
        refuses: dict[str, str] | None = None,
        ends: dict[str, Document] | None = None,
        buckets: OssServer | None = None,
    ) -> None:
        self.calls: list[str] = []
        self.objects: dict[tuple[str, str, str], Document] = {}
        self.images: set[str] = set()
        self.path = folder / "bin"
        self.volume = folder / "volume"
        self._refuses = refuses or {}
        self._ends = ends or {}
        self._buckets = buckets
        self._made = 0
        self._pods = execution.Cluster(folder)
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.path.mkdir()
        client = folder / "client.py"
        client.write_text(_CLIENT)
        for name in programs:
            program = self.path / name
            port = self._server.server_address[1]
            program.write_text(_PROGRAM.format(python=sys.executable, client=client, port=port, name=name))
            program.chmod(0o755)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def left(self) -> list[str]:
        """What there is: objects by kind and name, and files of the volume."""
        objects = [f"{kind}.{name}" for kind, _, name in self.objects]
        return sorted(objects + [path.name for path in self.volume.iterdir()])

    def add(self, kind: str, name: str, namespace: str = "") -> None:
        """Put something there that was there before."""
        self.objects[kind.lower(), namespace, name] = {"kind": kind, "metadata": {"name": name}}

    def answer(self, words: list[str], text: str) -> tuple[int, str, str]:
        """Do what a command line says: exit code, stdout, stderr."""
        program, *arguments = words
        if arguments[:1] == ["--context"]:
            arguments = arguments[2:]
        line = " ".join([program, *arguments])
        self.calls.append(line)
        try:
            self._refuse(line)
            if program == "argo":
                return self._argo(arguments)
            return 0, self._kubectl(arguments, text), ""
        except RefusedError as error:
            return 1, "", f"error: {error}\n"

    def _refuse(self, line: str) -> None:
        for start, message in self._refuses.items():
            if line.startswith(start):
                raise RefusedError(message)

    def _kubectl(self, arguments: list[str], text: str) -> str:
        namespace = arguments[arguments.index("-n") + 1] if "-n" in arguments else ""
        said = ""
        match arguments:
            case ["config", "current-context"]:
                said = "a-context\n"
            case ["create", "namespace", name]:
                self.add("Namespace", name)
            case ["create", "-f", "-", "-o", "json"]:
                said = json.dumps(self._create(json.loads(text)))
            case ["get", "pods", *_]:
                items = [self.objects[key] for key in self._labelled(arguments) if key[0] == "pod"]
                said = json.dumps({"items": items})
            case ["get", kind, name, *_] if "--ignore-not-found" in arguments:
                said = f"{kind}/{name}\n" if (kind, namespace, name) in self.objects else ""
            case ["get", kind, name, *_]:
                said = json.dumps(self.objects[kind, namespace, name])
            case ["logs", name, *_]:
                said = str(self.objects["pod", namespace, name]["output"])
            case ["delete", "namespace", name, *_]:
                self._remove([key for key in self.objects if name in key[1:]])
            case ["delete", "pod", name, *_]:
                self._lose(namespace, name)
            case ["delete", kinds, *_]:
                mine = [key for key in self._labelled(arguments) if f"{key[0]}s" in kinds.split(",")]
                self._remove(mine)
            case _:
                raise RefusedError(f"the stand-in does not know {arguments}")
        return said

    def _argo(self, arguments: list[str]) -> tuple[int, str, str]:
        """`argo submit --wait`, whose exit code says whether the workflow succeeded."""
        if arguments[0] != "submit" or "--wait" not in arguments:
            raise RefusedError(f"the stand-in does not know {arguments}")
        document = self._create(json.loads(Path(arguments[-1]).read_text()))
        failed = document["status"]["phase"] != "Succeeded"
        return int(failed), f"{document['metadata']['name']}\n", ""

    def _labelled(self, arguments: list[str]) -> list[tuple[str, str, str]]:
        label, value = arguments[arguments.index("-l") + 1].split("=")
        labels = {key: each["metadata"].get("labels", {}) for key, each in self.objects.items()}
        return [key for key in labels if labels[key].get(label) == value]

    def _remove(self, keys: list[tuple[str, str, str]]) -> None:
        for key in keys:
            del self.objects[key]

    def _create(self, document: Document) -> Document:
        metadata = document["metadata"]
        self._made += 1
        metadata["name"] = name = metadata.get("name") or f"{metadata['generateName']}{self._made:05}"
        key = document["kind"].lower(), metadata.get("namespace", ""), name
        if key in self.objects:
            raise RefusedError(f'"{name}" already exists')
        self.objects[key] = document
        if document["kind"] == "Pod":
            document |= self._run(document["spec"]["containers"][0])
        if document["kind"] == "Workflow":
            document["status"] = self._status(document)
        return document

    def _run(self, container: Document) -> Document:
        """Run a script on the volume; changing owners is not for everyone, so that is left out."""
        script = container["command"][2].replace("/mnt/vol", str(self.volume)).replace("os.chown(", "print(")
        secrets = {key[2]: each["stringData"] for key, each in self.objects.items() if key[0] == "secret"}
        environment = dict(os.environ)
        for each in container["env"]:
            key = each.get("valueFrom", {}).get("secretKeyRef", {})
            environment[each["name"]] = secrets[key["name"]][key["key"]] if key else each["value"]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        phase = "Failed" if done.returncode else "Succeeded"
        return {"status": {"phase": phase}, "output": done.stdout + done.stderr}

    def _status(self, document: Document) -> Document:
        """How a workflow ended."""
        text = json.dumps(document)
        if _SLEEP in text:
            metadata = {"name": f"{document['metadata']['name']}-pod"}
            metadata["namespace"] = document["metadata"]["namespace"]
            labels = {"workflows.argoproj.io/workflow": document["metadata"]["name"]}
            pod = {"metadata": {**metadata, "labels": labels}, "status": {"phase": "Running"}}
            self.objects["pod", metadata["namespace"], metadata["name"]] = pod
            return {"phase": "Running"}
        library = [each for key, each in self.objects.items() if key[0] == "workflowtemplate"]
        running = follow(document, library, run=self._pods.run, name=document["metadata"]["name"])
        said = next((status for part, status in self._ends.items() if part in text), {})
        pods = [pod for level in running.levels() for pod in level]
        self.images |= {pod.image for pod in pods}
        self._leave(pods, damaged="damaged" in said)
        count = sum(len(stage.pods) for stage in running.stages)
        return {"phase": "Succeeded", "progress": f"{count}/{count}", **said}

    def _leave(self, pods: list[Pod], *, damaged: bool) -> None:
        """Make what the pods of a workflow would."""
        root = dict(pods[-1].environment).get("AGGREGATION_ROOT", execution.DEFAULT_ROOT)
        words = pods[0].command
        files = int(words[words.index("--files") + 1]) if "--files" in words else len(_LETTERS)
        if pods[-1].command[1] == "merge.py":
            result = _LETTERS[:files]
            self._write(root, "result.txt", result[::-1] if damaged else result)
        else:
            for number in range(len(_LETTERS)):
                self._write(root, f"l1/{number}.txt", _LETTERS[number : number + 1])

    def _write(self, root: str, name: str, data: bytes) -> None:
        if root.startswith("oss://"):
            bucket, _, prefix = root.removeprefix("oss://").partition("/")
            if self._buckets:
                self._buckets.put(bucket, f"{prefix}/{name}", data)
        else:
            path = Path(root.replace("/mnt/vol", str(self.volume)), name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def _lose(self, namespace: str, pod: str) -> None:
        """Delete the pod of a workflow that sleeps: it is made again, and wakes at once."""
        del self.objects["pod", namespace, pod]
        workflow = self.objects["workflow", namespace, pod.removesuffix("-pod")]
        awake = json.loads(json.dumps(workflow).replace(_SLEEP, "sleep 0"))
        lost = {"type": "Pod", "displayName": "merge-data(0)", "phase": "Error", "message": "pod deleted"}
        workflow["status"] = {**self._status(awake), "nodes": {"lost": lost}}


class _Server(socketserver.TCPServer):
    """Takes one command line after the other."""

    def __init__(self, stand_in: StandIn) -> None:
        super().__init__(("127.0.0.1", 0), _Command)
        self.stand_in = stand_in


class _Command(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        words, text = json.loads(self.rfile.readline())
        reply = self.server.stand_in.answer(words, text)
        self.wfile.write(json.dumps(reply).encode() + b"\n")
