"""The manifests on a real cluster: each is submitted, and its phase, progress and result are looked at.

    python tests/e2e [--image …] [--storage-class …] [--keep]

It needs kubectl with a context whose cluster runs Argo Workflows, and the image where the nodes find it. What
it makes is in a namespace of its own, or carries a label in one that exists; all of it is removed at the end,
also after Ctrl-C.
"""

import argparse
import contextlib
import copy
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, NoReturn

import yaml

MANIFESTS = Path(__file__).resolve().parent.parent.parent / "manifests"
Manifest = dict[str, Any]
CLAIM = "pvc-oss"
FINAL = ("Succeeded", "Failed", "Error")
LABEL = "aggregation-e2e"
SECONDS_OF_A_POD = 300
LEVEL_1 = 32

# These run in the worker's image, which has Python. OWN makes a new folder of the node, which is root's, the
# workers'; EMPTY leaves nothing on the node.
OWN = "import os; os.chown('/mnt/vol', 1000, 1001)"
EMPTY = """
import os, shutil
for name in os.listdir("/mnt/vol"):
    path = os.path.join("/mnt/vol", name)
    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.remove(path)
"""
# What was made is removed after the look, so that no result can pass for that of the next workflow.
LOOK = """
import json, pathlib, shutil
root = pathlib.Path("/mnt/vol/aggregation-demo")
level = sorted((root / "l1").glob("*.txt"), key=lambda path: int(path.stem))
result = root / "result.txt"
text = lambda path: path.read_bytes().decode("latin-1") if path.exists() else None
print(json.dumps({"level": [text(path) for path in level], "result": text(result)}))
result.unlink(missing_ok=True)
for folder in [*root.glob("l*"), root / "runs"]:
    if folder.name != "l1" and folder.exists():
        shutil.rmtree(folder)
"""


class E2EError(Exception):
    """A step could not be done: one line for the person who runs this."""


class SkippedError(Exception):
    """A case cannot run here, and why."""


class Case(NamedTuple):
    """A workflow to submit, and what must come of it."""

    name: str
    documents: Callable[["Cluster"], list[Manifest]]
    progress: str
    files: int | None
    """How many files of level 1 the result joins; None if the workflow makes no result."""


# The cluster


class Cluster:
    """What this needs of a cluster, by kubectl and, if it is there, argo. All that it creates has a label."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._run = secrets.token_hex(3)
        self.namespace: str = options.namespace or f"aggregation-e2e-{self._run}"
        self.image: str | None = options.image
        self._options = options
        self._context = ["--context", options.context] if options.context else []
        self._owns_namespace = False
        self._has_volume = False
        if shutil.which("kubectl") is None:
            raise E2EError("kubectl is not on the PATH: install it, and choose a context")

    def kubectl(self, *arguments: str, stdin: object = None, seconds: float = 120) -> str:
        """Call kubectl and return its output.

        Raises:
            E2EError: it fails.
        """
        command = ["kubectl", *self._context, *arguments]
        text = None if stdin is None else json.dumps(stdin)
        try:
            done = subprocess.run(
                command, input=text, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise E2EError(f"kubectl {' '.join(arguments)}: no answer in {seconds:.0f} s") from error
        if done.returncode:
            raise E2EError(f"kubectl {' '.join(arguments)}: {_last_line(done.stderr)}")
        return done.stdout

    def create(self, document: Manifest) -> str:
        """Create an object, in the namespace unless it is the cluster's, and return its name.

        Raises:
            E2EError: it is there already, or is refused.
        """
        created = json.loads(self.kubectl("create", "-f", "-", "-o", "json", stdin=self._placed(document)))
        return str(created["metadata"]["name"])

    def _placed(self, document: Manifest) -> Manifest:
        """A document with this run's label, moved into the namespace with the accounts that it names."""
        document = copy.deepcopy(document)
        document["metadata"].setdefault("labels", {})[LABEL] = self._run
        if document["kind"] != "PersistentVolume":
            document["metadata"]["namespace"] = self.namespace
        for subject in document.get("subjects", []):
            subject["namespace"] = self.namespace
        return document

    def prepare(self) -> None:
        """Make the namespace, the accounts, the volume and the template."""
        context = self._options.context or self.kubectl("config", "current-context").strip()
        say(f"context {context}, namespace {self.namespace}")
        if not self._exists("namespace", self.namespace):
            self._owns_namespace = True  # before it is, so that an interruption finds it
            self.kubectl("create", "namespace", self.namespace)
        for document in yaml.safe_load_all((MANIFESTS / "rbac.yaml").read_text(encoding="utf-8")):
            # In a namespace that exists the accounts may be there; they are left as they are then.
            if self._owns_namespace or not self._exists(document["kind"], document["metadata"]["name"]):
                self.create(document)
        if not self._owns_namespace and self._exists("persistentvolumeclaim", CLAIM):
            raise E2EError(f"namespace {self.namespace} has a claim {CLAIM} with data: name another one")
        for document in self._volume():
            self.create(document)
        self.run_pod("own", OWN, as_root=True)
        self._has_volume = True
        for document in self.documents("aggregation.yaml"):
            self.create(document)

    def _volume(self) -> list[Manifest]:
        storage = {"resources": {"requests": {"storage": "1Gi"}}, "accessModes": ["ReadWriteMany"]}
        metadata = {"metadata": {"name": CLAIM}}
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **metadata}
        if self._options.storage_class:
            return [{**claim, "spec": {**storage, "storageClassName": self._options.storage_class}}]
        # On the node's own disk: all pods must be on one node, as they are in kind, minikube or k3d.
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": self.namespace},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "",
                "claimRef": {"namespace": self.namespace, "name": CLAIM},
                "hostPath": {"path": f"/tmp/{self.namespace}", "type": "DirectoryOrCreate"},
            },
        }
        return [
            volume,
            {**claim, "spec": {**storage, "storageClassName": "", "volumeName": self.namespace}},
        ]

    def documents(self, name: str, **parameters: str) -> list[Manifest]:
        """A manifest's documents, with the image and parameters set."""
        text = (MANIFESTS / name).read_text(encoding="utf-8")
        return [self.adapted(document, **parameters) for document in yaml.safe_load_all(text)]

    def adapted(self, document: Manifest, **parameters: str) -> Manifest:
        """A document with the image that was asked for, and other parameters."""
        given = {key.replace("_", "-"): value for key, value in parameters.items()}
        if self.image:
            given["image"] = self.image
        document = copy.deepcopy(document)
        for parameter in document["spec"].get("arguments", {}).get("parameters", []):
            if parameter["name"] in given:
                parameter.pop("valueFrom", None)
                parameter["value"] = given[parameter["name"]]
        return document

    def run_workflow(self, workflow: Manifest) -> Manifest:
        """Submit a workflow, wait for its end, and return it.

        Raises:
            E2EError: it does not end in time.
        """
        seconds = self._options.timeout
        if shutil.which("argo") is None:
            name = self.create(workflow)
            deadline = time.monotonic() + seconds
            while (found := self._get("workflow", name)).get("status", {}).get("phase") not in FINAL:
                if time.monotonic() > deadline:
                    raise E2EError(f"workflow {name} has not ended after {seconds} s")
                time.sleep(self._options.interval)
            return found
        return self._get("workflow", self._argo_submit(self._placed(workflow), seconds))

    def _argo_submit(self, workflow: Manifest, seconds: float) -> str:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            json.dump(workflow, file)  # JSON is YAML
            file.flush()
            command = [
                "argo",
                *self._context,
                "submit",
                "-n",
                self.namespace,
                "--wait",
                "-o",
                "name",
                file.name,
            ]
            # ARGO_SERVER and the like would send it past the context that kubectl looks at.
            environment = {key: value for key, value in os.environ.items() if not key.startswith("ARGO_")}
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=seconds, check=False, env=environment
                )
            except subprocess.TimeoutExpired as error:
                raise E2EError(f"argo submit --wait: not ended after {seconds} s") from error
        # Its exit code also says that the workflow failed, which the workflow itself says better.
        if not done.stdout.strip():
            raise E2EError(f"argo submit: {_last_line(done.stderr)}")
        return done.stdout.split()[0].rsplit("/", 1)[-1]

    def run_pod(self, purpose: str, script: str, *, as_root: bool = False) -> str:
        """Run a Python script in a pod that mounts the volume and return what it prints.

        Raises:
            E2EError: it fails or does not end in time.
        """
        user = {"runAsUser": 0, "runAsGroup": 0} if as_root else {"runAsUser": 1000, "runAsGroup": 1001}
        name = self.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"generateName": f"e2e-{purpose}-"},
                "spec": {
                    "restartPolicy": "Never",
                    "securityContext": user,
                    "containers": [
                        {
                            "name": "main",
                            "image": self.image or default_image(),
                            "command": ["python3", "-c", script],
                            "volumeMounts": [{"name": "workdir", "mountPath": "/mnt/vol"}],
                        }
                    ],
                    "volumes": [{"name": "workdir", "persistentVolumeClaim": {"claimName": CLAIM}}],
                },
            }
        )
        deadline = time.monotonic() + SECONDS_OF_A_POD
        while (phase := self._get("pod", name).get("status", {}).get("phase")) not in ("Succeeded", "Failed"):
            if time.monotonic() > deadline:
                raise E2EError(f"pod {name} is still {phase}: is the image on the node, and the claim bound?")
            time.sleep(self._options.interval)
        logs = self.kubectl("logs", name, "-n", self.namespace)
        if phase == "Failed":
            raise E2EError(f"pod {name} failed: {_last_line(logs)}")
        return logs

    def remove(self) -> list[str]:
        """Remove all that was created; what could not be, with the reason."""
        left: list[str] = []
        # Workflows first, so that none writes any more; their children go with them.
        self._delete(left, "workflows,pods", *self._mine())
        if self._has_volume:
            with _collecting(left, "the volume's files"):
                self.run_pod("empty", EMPTY, as_root=True)
        if self._owns_namespace:
            self._delete(left, "namespace", self.namespace)
        else:
            self._delete(left, "pods,workflowtemplates", *self._mine())
            self._delete(left, "rolebindings,roles,serviceaccounts,persistentvolumeclaims", *self._mine())
        # After the claim, or the volume would wait for it.
        if not self._options.storage_class:
            self._delete(left, "persistentvolumes", "-l", f"{LABEL}={self._run}")
        return left

    def _mine(self) -> list[str]:
        return ["-n", self.namespace, "-l", f"{LABEL}={self._run}"]

    def _delete(self, left: list[str], kinds: str, *which: str) -> None:
        with _collecting(left, kinds):
            self.kubectl("delete", kinds, *which, "--ignore-not-found", seconds=SECONDS_OF_A_POD)

    def _exists(self, kind: str, name: str) -> bool:
        place = [] if kind == "namespace" else ["-n", self.namespace]
        found = self.kubectl("get", kind.lower(), name, *place, "--ignore-not-found", "-o", "name")
        return bool(found.strip())

    def _get(self, kind: str, name: str) -> Manifest:
        found: Manifest = json.loads(self.kubectl("get", kind, name, "-n", self.namespace, "-o", "json"))
        return found


@contextlib.contextmanager
def _collecting(left: list[str], what: str) -> Iterator[None]:
    try:
        yield
    except E2EError as error:
        left.append(f"{what}: {error}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["(it says nothing)"])[-1]


def default_image() -> str:
    """The image that the manifests name."""
    document = yaml.safe_load((MANIFESTS / "process-data.yaml").read_text(encoding="utf-8"))
    parameters = {item["name"]: item for item in document["spec"]["arguments"]["parameters"]}
    return str(parameters["image"]["valueFrom"]["default"])


# The checks


def manifest(name: str, **parameters: str) -> Callable[[Cluster], list[Manifest]]:
    """The documents of a file, with parameters."""
    return lambda cluster: cluster.documents(name, **parameters)


def generated(*arguments: str) -> Callable[[Cluster], list[Manifest]]:
    """The documents that generate.py writes, which needs Hera."""

    def run(cluster: Cluster) -> list[Manifest]:
        command = [sys.executable, str(MANIFESTS / "generate.py"), *arguments]
        probe = subprocess.run([sys.executable, "-c", "import hera"], capture_output=True, check=False)
        if probe.returncode:
            raise SkippedError("Hera is not installed")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise E2EError(f"generate.py: {_last_line(done.stderr)}")
        return [cluster.adapted(document) for document in yaml.safe_load_all(done.stdout)]

    return run


CASES = [
    Case("prepare-data.yaml", manifest("prepare-data.yaml"), "1/1", None),
    Case("process-data.yaml", manifest("process-data.yaml"), "25/25", LEVEL_1),
    Case("process-data-with-items.yaml", manifest("process-data-with-items.yaml"), "25/25", LEVEL_1),
    Case("process-data-with-param.yaml", manifest("process-data-with-param.yaml"), "27/27", LEVEL_1),
    Case("aggregate.yaml", manifest("aggregate.yaml"), "25/25", LEVEL_1),
    Case(
        "aggregate.yaml, 31 files, fan-in 3",
        manifest("aggregate.yaml", files="31", fan_in="3", final_width="4"),
        "16/16",
        31,
    ),
    Case("generate.py", generated("--files", "32", "--levels", "2"), "25/25", LEVEL_1),
    # 4 + 2 children of at most 5 pods, and the merge.
    Case(
        "generate.py, a workflow of workflows",
        generated("--files", "32", "--levels", "2", "--pods-per-workflow", "5"),
        "7/7",
        LEVEL_1,
    ),
]
NOT_RUN = {
    "process-data-oss.yaml": "needs a bucket",
    "aggregation-oss.yaml": "needs a bucket",
    "volume.yaml": "needs a bucket; the claim is this script's own",
}


def check(cluster: Cluster, case: Case) -> str:
    """Run a case and say what was found to be right.

    Raises:
        E2EError: something is wrong.
    """
    *others, workflow = case.documents(cluster)
    for document in others:
        cluster.create(document)
    found = cluster.run_workflow(workflow)
    status = found["status"]
    if status.get("phase") != "Succeeded":
        with contextlib.suppress(E2EError):
            cluster.run_pod("look", LOOK)  # for the next workflow's sake
        raise E2EError(f"phase {status.get('phase')}: {_reason(status)}")
    seen = None if case.files is None else json.loads(_last_line(cluster.run_pod("look", LOOK)))
    if status.get("progress") != case.progress:
        raise E2EError(f"progress {status.get('progress')} where {case.progress} was expected")
    line = f"Succeeded, {case.progress}"
    if seen is None:
        return line
    if len(seen["level"]) != LEVEL_1:
        raise E2EError(f"level 1 has {len(seen['level'])} files where {LEVEL_1} were expected")
    if seen["result"] is None:
        raise E2EError("there is no result.txt")
    wanted = "".join(seen["level"][: case.files])
    if seen["result"] != wanted:
        raise E2EError(f"result.txt is {seen['result']!r} where level 1 is {wanted!r}")
    return f"{line}, result.txt is level 1"


def _reason(status: Manifest) -> str:
    """What the workflow says, and the first of its pods that failed."""
    nodes = status.get("nodes", {}).values()
    failed = [
        f"{node.get('displayName')}: {node.get('message')}"
        for node in nodes
        if node.get("type") == "Pod" and node.get("phase") in ("Failed", "Error")
    ]
    return "; ".join([status.get("message") or "no message", *failed[:1]])


def run(cluster: Cluster, wanted: list[str]) -> int:
    """Run the cases one after the other; how many failed."""
    failed = ran = 0
    for case in CASES:
        if wanted and case.name not in wanted and case.progress != "1/1":
            continue
        started = time.monotonic()
        try:
            line = check(cluster, case)
        except SkippedError as error:
            say(f"skip  {case.name}: {error}")
            continue
        except E2EError as error:
            failed += 1
            say(f"FAIL  {case.name}: {error}")
        else:
            say(f"ok    {case.name}: {line} ({time.monotonic() - started:.0f} s)")
        ran += 1
        if failed and case.files is None:
            say("      without its files nothing else can run")
            break
    for name, reason in NOT_RUN.items():
        say(f"skip  {name}: {reason}")
    say(f"{ran} workflows, {failed} failed")
    return failed


# The command


def say(line: str) -> None:
    """A line, at once."""
    print(line, flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="tests/e2e",
        description="Run the manifests on a real cluster and look at what comes of them.",
        epilog="Exit codes: 0 all right, 1 a check failed, 2 it could not run or not all could be removed.",
    )
    parser.add_argument("--context", help="the kube context (default: the current one)")
    parser.add_argument(
        "--namespace",
        help="default: a new one, removed at the end. If the controller watches one only, name that",
    )
    parser.add_argument("--image", help="the worker's image (default: what the manifests name)")
    parser.add_argument(
        "--storage-class",
        help="a class that makes ReadWriteMany volumes (default: a folder of the node; one node only)",
    )
    parser.add_argument("--timeout", type=float, default=600, help="seconds that a workflow may take (600)")
    parser.add_argument("--interval", type=float, default=2, help="seconds between two looks (2)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="CASE",
        choices=[case.name for case in CASES],
        help="run this one, after prepare-data.yaml; a name as the output shows it; may be repeated",
    )
    parser.add_argument("--keep", action="store_true", help="remove nothing, to look at it")
    return parser.parse_args(arguments)


def _interrupt(signum: int, _: FrameType | None) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # nothing disturbs the clean-up
    say(f"{signal.Signals(signum).name}: removing what was made")
    raise SystemExit(128 + signum)


def main(arguments: list[str]) -> int:
    """Prepare, check, remove."""
    options = parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        cluster = Cluster(options)
    except E2EError as error:
        say(f"error: {error}")
        return 2
    left: list[str] = []
    try:
        cluster.prepare()
        exit_code = 1 if run(cluster, options.only) else 0
    except E2EError as error:
        say(f"error: {error}")
        exit_code = 2
    finally:
        if options.keep:
            say(f"kept: namespace {cluster.namespace}; remove it, and the volume of that name, yourself")
        else:
            left = cluster.remove()
            for line in left:
                say(f"error: could not remove {line}")
    return 2 if left else exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
