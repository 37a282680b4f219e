"""tests/e2e on stand-ins for kubectl and argo: a happy cluster, unhappy ones, and what is left in them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import conftest
from manifests.catalogue import FILES

E2E = conftest.REPOSITORY / "tests" / "e2e"


class Setting:
    """A directory for the stand-ins' state, and a PATH that finds them and nothing else."""

    def __init__(self, folder: Path, programs: tuple[str, ...] = ("kubectl",), **how: Any) -> None:
        self.state = folder / "state"
        self.programs = folder / "bin"
        for each in (self.state / "objects", self.state / "volume", self.programs):
            each.mkdir(parents=True)
        (self.state / "how.json").write_text(json.dumps(how))
        for name in programs:
            script = self.programs / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{E2E / "stand_in.py"}" {name} "$@"\n')
            script.chmod(0o755)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the runner."""
        return subprocess.Popen(
            [sys.executable, E2E, "--interval", "0.01", *arguments],
            env=conftest.environment(PATH=str(self.programs), STAND_IN=str(self.state)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, list[str]]:
        """Run it to its end: the exit code and the lines that it printed."""
        with self.start(*arguments) as process:
            output, _ = process.communicate(timeout=120)
        return process.returncode, output.splitlines()

    def calls(self, start: str = "") -> list[str]:
        """The command lines that it called."""
        path = self.state / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(start)]

    def add(self, kind: str, name: str) -> None:
        """Put something into the namespace argo that was there before."""
        document = {"kind": kind, "metadata": {"name": name, "namespace": "argo"}}
        (self.state / "objects" / f"{kind.lower()}.{name}").write_text(json.dumps(document))

    def left(self) -> list[str]:
        """What is left: objects of the cluster and files of the volume."""
        return sorted(
            path.name for folder in ("objects", "volume") for path in (self.state / folder).iterdir()
        )


ONE = ("--only", "process-data.yaml")


def test_all_is_right_on_a_happy_cluster(tmp_path: Path) -> None:
    """Every manifest runs, by kubectl alone, or has a line that says why not; and nothing is left."""
    setting = Setting(tmp_path)
    exit_code, lines = setting.run("--image", "me/worker:2")
    assert (exit_code, lines[-1]) == (0, "8 workflows, 0 failed"), lines
    assert re.fullmatch(r"context a-context, namespace aggregation-e2e-[0-9a-f]{6}", lines[0])
    assert [re.sub(r" \(\d+ s\)", "", line) for line in lines[1:9]] == [
        "ok    prepare-data.yaml: Succeeded, 1/1",
        "ok    process-data.yaml: Succeeded, 25/25, result.txt is level 1",
        "ok    process-data-with-items.yaml: Succeeded, 25/25, result.txt is level 1",
        "ok    process-data-with-param.yaml: Succeeded, 27/27, result.txt is level 1",
        "ok    aggregate.yaml: Succeeded, 25/25, result.txt is level 1",
        "ok    aggregate.yaml, 31 files, fan-in 3: Succeeded, 16/16, result.txt is level 1",
        "ok    generate.py: Succeeded, 25/25, result.txt is level 1",
        "ok    generate.py, a workflow of workflows: Succeeded, 7/7, result.txt is level 1",
    ]
    named = {match[1] for line in lines if (match := re.match(r"(?:ok|skip) +([\w.-]+)", line))}
    assert {path.name for path in FILES} == (named - {"generate.py"}) | {
        "rbac.yaml",
        "aggregation.yaml",
        "settings.yaml",
        "kustomization.yaml",
    }
    assert set((setting.state / "images").read_text().split()) == {"me/worker:2"}
    assert setting.left() == []


def test_argo_submits_where_it_is_there(tmp_path: Path) -> None:
    """With the CLI a workflow goes through `argo submit --wait`, and the same is checked."""
    setting = Setting(tmp_path, ("kubectl", "argo"))
    exit_code, lines = setting.run(*ONE, "--context", "other")
    assert (exit_code, lines[-1]) == (0, "2 workflows, 0 failed"), lines
    assert lines[0].startswith("context other, ")
    submitted = setting.calls("argo")
    assert len(submitted) == 2
    assert all(re.match(r"argo submit -n \S+ --wait -o name /\S+\.yaml$", call) for call in submitted)
    assert setting.left() == []


@pytest.mark.parametrize("programs", [("kubectl",), ("kubectl", "argo")], ids=["kubectl", "argo"])
def test_a_failed_workflow_is_a_failed_check(programs: tuple[str, ...], tmp_path: Path) -> None:
    """Phase Failed: the line says why, with the pod's message; the exit code is 1; all is removed."""
    node = {"type": "Pod", "phase": "Failed", "displayName": "prepare-data", "message": "exit code 6"}
    status = {"phase": "Failed", "message": "child failed", "nodes": {"x": node}}
    setting = Setting(tmp_path, programs, status=status)
    exit_code, lines = setting.run(*ONE)
    assert exit_code == 1
    assert lines[1] == "FAIL  prepare-data.yaml: phase Failed: child failed; prepare-data: exit code 6"
    assert lines[2] == "      without its files nothing else can run"
    assert lines[-1] == "1 workflows, 1 failed"
    assert setting.left() == []


def test_a_wrong_result_is_a_failed_check(tmp_path: Path) -> None:
    """A workflow that succeeded and joined in another order is found out."""
    setting = Setting(tmp_path, damage=True)
    exit_code, lines = setting.run(*ONE)
    assert exit_code == 1
    (failure,) = [line for line in lines if line.startswith("FAIL")]
    match = re.fullmatch(
        r"FAIL  process-data.yaml: result.txt is '(\w{32})' where level 1 is '(\w{32})'", failure
    )
    assert match
    assert match[1] == match[2][::-1]
    assert setting.left() == []


def test_a_wrong_progress_is_a_failed_check(tmp_path: Path) -> None:
    """Fewer pods than the tutorial's 25 are found out."""
    exit_code, lines = Setting(tmp_path, status={"progress": "1/1"}).run(*ONE)
    assert exit_code == 1
    assert "FAIL  process-data.yaml: progress 1/1 where 25/25 was expected" in lines


def test_a_workflow_that_never_ends_is_given_up(tmp_path: Path) -> None:
    """After --timeout the check fails, and the workflow is removed with the rest."""
    setting = Setting(tmp_path, never_ends=True)
    exit_code, lines = setting.run(*ONE, "--timeout", "0.5")
    assert exit_code == 1
    assert re.fullmatch(r"FAIL  prepare-data.yaml: workflow \S+ has not ended after 0.5 s", lines[1])
    assert setting.left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_removes_everything(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C while a workflow runs: namespace, volume, workflow and files are gone, the exit code says it."""
    setting = Setting(tmp_path, never_ends=True)
    with setting.start(*ONE) as process:
        deadline = time.monotonic() + 60
        while not any((setting.state / "objects").glob("workflow.*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"{number.name}: removing what was made" in output
    assert setting.left() == [], output


def test_without_kubectl_it_says_so(tmp_path: Path) -> None:
    """One line, and the exit code of a run that could not be."""
    exit_code, lines = Setting(tmp_path, ()).run()
    assert (exit_code, lines) == (2, ["error: kubectl is not on the PATH: install it, and choose a context"])


@pytest.mark.parametrize(
    ("command", "message", "line"),
    [
        ("kubectl config", "current-context is not set", "error: kubectl config current-context: "),
        ("kubectl get namespace", "connection refused", "error: kubectl get namespace "),
        ("kubectl create namespace", "namespaces is forbidden", "error: kubectl create namespace "),
        ("kubectl create -f", "no matches for kind", "error: kubectl create -f - -o json: "),
    ],
)
def test_a_cluster_that_refuses_is_named(command: str, message: str, line: str, tmp_path: Path) -> None:
    """What kubectl says comes through in one line with the command, and the exit code is 2."""
    setting = Setting(tmp_path, refuses={command: message})
    exit_code, lines = setting.run(*ONE)
    assert exit_code == 2
    (error,) = [each for each in lines if each.startswith("error")]
    assert error.startswith(line)
    assert error.endswith(f": error: {message}")
    assert setting.left() == []


def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    """A clean-up that fails goes on with the rest, says what is left, and is no success."""
    setting = Setting(tmp_path, refuses={"kubectl delete namespace": "forbidden"})
    exit_code, lines = setting.run(*ONE)
    assert exit_code == 2
    assert lines[-2] == "2 workflows, 0 failed"
    assert lines[-1].startswith(
        "error: could not remove namespace: kubectl delete namespace aggregation-e2e-"
    )
    assert not [name for name in setting.left() if name.startswith("persistentvolume.")]


def test_keep_keeps(tmp_path: Path) -> None:
    """--keep removes nothing and says where it is."""
    setting = Setting(tmp_path)
    exit_code, lines = setting.run(*ONE, "--keep", "--storage-class", "nfs")
    assert exit_code == 0
    assert lines[-1].startswith("kept: namespace aggregation-e2e-")
    assert setting.calls("kubectl delete") == []
    claim = json.loads((setting.state / "objects" / "persistentvolumeclaim.pvc-oss").read_text())
    assert claim["spec"]["storageClassName"] == "nfs"
    assert not [name for name in setting.left() if name.startswith("persistentvolume.")]


def test_a_namespace_that_exists_stays_with_what_was_in_it(tmp_path: Path) -> None:
    """In somebody's namespace only what this run made is removed, accounts that were there stay."""
    setting = Setting(tmp_path)
    for kind, name in (("Namespace", "argo"), ("ServiceAccount", "aggregation")):
        setting.add(kind, name)
    exit_code, lines = setting.run(*ONE, "--namespace", "argo")
    assert (exit_code, lines[-1]) == (0, "2 workflows, 0 failed"), lines
    assert setting.left() == ["namespace.argo", "serviceaccount.aggregation"]


def test_a_claim_with_somebodys_data_is_not_touched(tmp_path: Path) -> None:
    """Where a namespace has the claim already, nothing runs and the claim stays."""
    setting = Setting(tmp_path)
    for kind, name in (("Namespace", "argo"), ("PersistentVolumeClaim", "pvc-oss")):
        setting.add(kind, name)
    exit_code, lines = setting.run(*ONE, "--namespace", "argo")
    assert exit_code == 2
    assert lines[-1] == "error: namespace argo has a claim pvc-oss with data: name another one"
    assert setting.left() == ["namespace.argo", "persistentvolumeclaim.pvc-oss"]


def test_pytest_does_not_collect_it() -> None:
    """`make test` needs no cluster: no file of tests/e2e has a name that pytest collects."""
    names = {path.name for path in E2E.iterdir() if path.suffix == ".py"}
    assert names == {"__main__.py", "stand_in.py"}
    assert os.access(E2E / "__main__.py", os.R_OK)
