"""A cluster by kubectl and, if it is there, argo: what the checks create in it, look at and remove."""

import argparse
import contextlib
import copy
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from e2e import volume
from e2e.scripts import EMPTY

MANIFESTS = Path(__file__).resolve().parent.parent.parent / "manifests"
TUTORIAL = Path(__file__).resolve().parent.parent / "manifests" / "tutorial"
Manifest = dict[str, Any]
FINAL = ("Succeeded", "Failed", "Error")
LABEL = "aggregation-e2e"
SECONDS_OF_A_POD = 300


class E2EError(Exception):
    """A step could not be done: one line for the person who runs this."""


class SkippedError(Exception):
    """A case cannot run here, and why."""


class Cluster:
    """What this needs of a cluster, by kubectl and, if it is there, argo. All that it creates has a label."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._run = secrets.token_hex(3)
        self.namespace: str = options.namespace or f"aggregation-e2e-{self._run}"
        self.image: str | None = options.image
        self.options = options
        self._context = ["--context", options.context] if options.context else []
        self._owns_namespace = False
        self._more_namespaces: list[str] = []
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
            raise E2EError(f"kubectl {' '.join(arguments)}: {last_line(done.stderr)}")
        return done.stdout

    def create(self, document: Manifest, namespace: str | None = None) -> str:
        """Create an object, in the namespace unless it is the cluster's, and return its name.

        Raises:
            E2EError: it is there already, or is refused.
        """
        created = json.loads(
            self.kubectl("create", "-f", "-", "-o", "json", stdin=self._placed(document, namespace))
        )
        return str(created["metadata"]["name"])

    def _placed(self, document: Manifest, namespace: str | None = None) -> Manifest:
        """A document with this run's label, moved into the namespace with the accounts that it names."""
        document = copy.deepcopy(document)
        document["metadata"].setdefault("labels", {})[LABEL] = self._run
        if document["kind"] not in ("PersistentVolume", "Namespace"):
            document["metadata"]["namespace"] = namespace or self.namespace
        for subject in document.get("subjects", []):
            subject["namespace"] = namespace or self.namespace
        return document

    def context(self) -> str:
        """The name of the kube context."""
        return str(self.options.context or self.kubectl("config", "current-context").strip())

    def prepare(self) -> None:
        """Make the namespace, the accounts, the volume and the templates."""
        if not self.exists("namespace", self.namespace):
            self._owns_namespace = True  # before it is, so that an interruption finds it
            self.kubectl("create", "namespace", self.namespace)
        self.create_accounts(self.namespace)
        if not self._owns_namespace and self.exists("persistentvolumeclaim", volume.CLAIM):
            raise E2EError(
                f"namespace {self.namespace} has a claim {volume.CLAIM} with data: name another one"
            )
        for document in volume.documents(self.namespace, self.options.storage_class):
            self.create(document)
        self._has_volume = True
        for name in ("aggregation.yaml", "aggregation-oss.yaml"):
            for document in self.documents(name):
                self.create(document)

    def create_accounts(self, namespace: str) -> None:
        """Make what rbac.yaml says; in a namespace that exists, what is there is left as it is."""
        for document in yaml.safe_load_all((MANIFESTS / "rbac.yaml").read_text(encoding="utf-8")):
            name = document["metadata"]["name"]
            if self._owns_namespace or not self.exists(document["kind"], name):
                self.create(document, namespace)

    def add_namespace(self, ending: str, labels: dict[str, str]) -> str:
        """Make a second namespace with its accounts.

        Raises:
            SkippedError: the first one is somebody's.
        """
        if not self._owns_namespace:
            raise SkippedError("--namespace names one, and the controller may watch no other")
        name = f"{self.namespace}-{ending}"
        self._more_namespaces.append(name)  # before it is, so that an interruption finds it
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        self.create_accounts(name)
        return name

    def documents(
        self, name: str, given: dict[str, str] | None = None, folder: Path = MANIFESTS
    ) -> list[Manifest]:
        """A manifest's documents, with the image and parameters set."""
        text = (folder / name).read_text(encoding="utf-8")
        return [self.adapted(document, given) for document in yaml.safe_load_all(text)]

    def adapted(self, document: Manifest, given: dict[str, str] | None = None) -> Manifest:
        """A document with the image that was asked for, and other parameters, as `-p` sets them."""
        document = copy.deepcopy(document)
        for template in document["spec"].get("templates", []):
            container = template.get("container", {"image": "{{"})
            if self.image and "{{" not in container["image"]:
                container["image"] = self.image
        declared = document["spec"].get("arguments", {}).get("parameters", [])
        said = dict(given or {})
        if self.image and ("workflowTemplateRef" in document["spec"] or _names(declared) >= {"image"}):
            said["image"] = self.image
        if said:
            kept = [each for each in declared if each["name"] not in said]
            added = [{"name": name, "value": value} for name, value in said.items()]
            document["spec"]["arguments"] = {"parameters": [*kept, *added]}
        return document

    def run_workflow(self, workflow: Manifest) -> Manifest:
        """Submit a workflow, wait for its end, and return it.

        Raises:
            E2EError: it does not end in time.
        """
        if shutil.which("argo") is None:
            return self.wait(self.create(workflow))
        return self._get("workflow", self._argo_submit(self._placed(workflow), self.options.timeout))

    def start(self, workflow: Manifest, namespace: str | None = None) -> str:
        """Submit a workflow, and return its name at once."""
        return self.create(workflow, namespace)

    def wait(self, name: str, namespace: str | None = None) -> Manifest:
        """Wait for the end of a workflow and return it.

        Raises:
            E2EError: it does not end in time.
        """
        deadline = time.monotonic() + self.options.timeout
        while (found := self._get("workflow", name, namespace)).get("status", {}).get("phase") not in FINAL:
            if time.monotonic() > deadline:
                raise E2EError(f"workflow {name} has not ended after {self.options.timeout} s")
            time.sleep(self.options.interval)
        return found

    def running_pod(self, workflow: str) -> str:
        """Wait until a workflow's pod runs, and return its name.

        Raises:
            E2EError: none does in time.
        """
        deadline = time.monotonic() + SECONDS_OF_A_POD
        which = ["-n", self.namespace, "-l", f"workflows.argoproj.io/workflow={workflow}", "-o", "json"]
        while time.monotonic() < deadline:
            for pod in json.loads(self.kubectl("get", "pods", *which))["items"]:
                if pod.get("status", {}).get("phase") == "Running":
                    return str(pod["metadata"]["name"])
            time.sleep(self.options.interval)
        raise E2EError(f"no pod of {workflow} runs after {SECONDS_OF_A_POD} s")

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
            raise E2EError(f"argo submit: {last_line(done.stderr)}")
        return done.stdout.split()[0].rsplit("/", 1)[-1]

    def run_pod(
        self, purpose: str, script: str, *, as_root: bool = False, env: list[Manifest] | None = None
    ) -> str:
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
                            "env": env or [],
                            "volumeMounts": [{"name": "workdir", "mountPath": "/mnt/vol"}],
                        }
                    ],
                    "volumes": [{"name": "workdir", "persistentVolumeClaim": {"claimName": volume.CLAIM}}],
                },
            }
        )
        deadline = time.monotonic() + SECONDS_OF_A_POD
        while (phase := self._get("pod", name).get("status", {}).get("phase")) not in ("Succeeded", "Failed"):
            if time.monotonic() > deadline:
                raise E2EError(f"pod {name} is still {phase}: is the image on the node, and the claim bound?")
            time.sleep(self.options.interval)
        logs = self.kubectl("logs", name, "-n", self.namespace)
        if phase == "Failed":
            raise E2EError(f"pod {name} failed: {last_line(logs)}")
        return logs

    def remove(self) -> list[str]:
        """Remove all that was created; what could not be, with the reason."""
        left: list[str] = []
        # Workflows first, so that none writes any more; their children go with them.
        self._delete(left, "workflows,pods", *self._mine())
        if self._has_volume:
            with _collecting(left, "the volume's files"):
                self.run_pod("empty", EMPTY, as_root=True)
        for name in self._more_namespaces:
            self._delete(left, "namespace", name)
        if self._owns_namespace:
            self._delete(left, "namespace", self.namespace)
        else:
            self._delete(left, "pods,workflowtemplates,secrets", *self._mine())
            self._delete(left, "rolebindings,roles,serviceaccounts,persistentvolumeclaims", *self._mine())
        # After the claim, or the volume would wait for it.
        if not self.options.storage_class:
            self._delete(left, "persistentvolumes", "-l", f"{LABEL}={self._run}")
        return left

    def _mine(self) -> list[str]:
        return ["-n", self.namespace, "-l", f"{LABEL}={self._run}"]

    def _delete(self, left: list[str], kinds: str, *which: str) -> None:
        with _collecting(left, kinds):
            self.kubectl("delete", kinds, *which, "--ignore-not-found", seconds=SECONDS_OF_A_POD)

    def exists(self, kind: str, name: str) -> bool:
        place = [] if kind == "namespace" else ["-n", self.namespace]
        found = self.kubectl("get", kind.lower(), name, *place, "--ignore-not-found", "-o", "name")
        return bool(found.strip())

    def _get(self, kind: str, name: str, namespace: str | None = None) -> Manifest:
        place = ["-n", namespace or self.namespace]
        found: Manifest = json.loads(self.kubectl("get", kind, name, *place, "-o", "json"))
        return found


def _names(parameters: list[Manifest]) -> set[str]:
    return {each["name"] for each in parameters}


@contextlib.contextmanager
def _collecting(left: list[str], what: str) -> Iterator[None]:
    try:
        yield
    except E2EError as error:
        left.append(f"{what}: {error}")


def last_line(text: str) -> str:
    """What a program said last."""
    return (text.strip().splitlines() or ["(it says nothing)"])[-1]


def default_image() -> str:
    """The image that the manifests name."""
    document = yaml.safe_load((MANIFESTS / "process-data.yaml").read_text(encoding="utf-8"))
    parameters = {item["name"]: item for item in document["spec"]["arguments"]["parameters"]}
    return str(parameters["image"]["valueFrom"]["default"])
