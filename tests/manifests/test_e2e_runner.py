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

import scripts
from oss_server import OssServer
from workflows.catalogue import FILES

E2E = scripts.REPOSITORY / "tests" / "e2e"


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

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start the runner."""
        return subprocess.Popen(
            [sys.executable, E2E, "--interval", "0.01", *arguments],
            env=scripts.environment(PATH=str(self.programs), STAND_IN=str(self.state), **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> tuple[int, list[str]]:
        """Run it to its end: the exit code and the lines that it printed."""
        with self.start(*arguments, **variables) as process:
            output, _ = process.communicate(timeout=240)
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


def rows(lines: list[str]) -> list[list[str]]:
    """The table: outcome, case and what was seen, without the seconds."""
    found = [re.split(r" {2,}", re.sub(r" +\d+ s  ", "  ", line)) for line in lines]
    return [row for row in found if row[0] in ("ok", "FAIL", "skip")]


RIGHT = "result.txt is level 1"


def test_all_is_right_on_a_happy_cluster(tmp_path: Path) -> None:
    """Each manifest and fault is tried, by kubectl alone, or its row says why not; nothing is left."""
    setting = Setting(tmp_path)
    exit_code, lines = setting.run("--image", "me/worker:2")
    assert exit_code == 0, lines
    assert re.fullmatch(r"context a-context, namespace aggregation-e2e-[0-9a-f]{6}", lines[0])
    assert lines[1].split() == ["OUTCOME", "CASE", "SAW"]
    seen = rows(lines)
    assert seen[:9] == [
        ["ok", "the tutorial's own YAML, on a volume of root's", f"Succeeded, 25/25, {RIGHT}"],
        ["ok", "prepare-data.yaml", "Succeeded, 1/1"],
        ["ok", "process-data.yaml", f"Succeeded, 25/25, {RIGHT}"],
        ["ok", "process-data-with-items.yaml", f"Succeeded, 25/25, {RIGHT}"],
        ["ok", "process-data-with-param.yaml", f"Succeeded, 27/27, {RIGHT}"],
        ["ok", "aggregate.yaml", f"Succeeded, 25/25, {RIGHT}"],
        [
            *("ok", "aggregate.yaml, files 31, fan-in 3, final-width 4, partial true"),
            f"Succeeded, 16/16, {RIGHT}",
        ],
        ["ok", "generate.py", f"Succeeded, 25/25, {RIGHT}"],
        ["ok", "generate.py, a workflow of workflows", f"Succeeded, 7/7, {RIGHT}"],
    ]
    missing, unanswered, deleted, twice, restricted, bucket, volume = seen[9:]
    assert missing[:2] == ["ok", "a missing input"]
    assert missing[2].startswith(
        "Failed at once, process-data(0): main: Error (exit code 3): process.py: error: "
    )
    assert unanswered[:2] == ["ok", "exit code 75"]
    assert unanswered[2].startswith("Failed after 2 tries, process-data-l1(0): main: Error (exit code 75): ")
    wanted = f"Succeeded after merge-data(0): pod deleted, {RIGHT}"
    assert deleted == ["ok", "a pod deleted while it runs", wanted]
    assert twice == ["ok", "two runs of different shape at once", f"both Succeeded, {RIGHT}"]
    assert restricted == ["ok", "a namespace that enforces restricted", "Succeeded, 1/1"]
    assert bucket[:2] == ["skip", "process-data-oss.yaml, aggregation-oss.yaml"]
    assert bucket[2].startswith("give --oss-bucket, ")
    assert volume[:2] == ["skip", "volume.yaml"]
    assert lines[-1] == "14 right, 0 failed, 2 not tried"
    named = {name for row in seen for name in re.findall(r"[\w-]+\.yaml", row[1])}
    installed = {"rbac.yaml", "aggregation.yaml", "settings.yaml", "kustomization.yaml"}
    assert {path.name for path in FILES} == named | installed
    assert set((setting.state / "images").read_text().split()) == {"me/worker:2"}
    assert setting.left() == []


def test_a_bucket_is_used_where_one_is_given(tmp_path: Path) -> None:
    """The manifests without a volume, and their template; the objects go, and no key is on a command line."""
    setting = Setting(tmp_path)
    with OssServer(["my-bucket"]) as server:
        where = (
            "--oss-bucket",
            "my-bucket",
            "--oss-endpoint",
            server.endpoint,
            "--oss-region",
            server.region,
        )
        case = "process-data-oss.yaml, aggregation-oss.yaml"
        exit_code, lines = setting.run("--only", case, *where, **server.environment())
        assert (exit_code, lines[-1]) == (0, "2 right, 0 failed, 1 not tried"), lines
        assert rows(lines)[1][2] == f"process-data-oss.yaml and aggregation-oss.yaml Succeeded, {RIGHT}"
        assert server.keys("my-bucket") == []
        assert server.access_key_secret not in "".join([*setting.calls(), *lines])
    assert setting.left() == []


def test_a_fault_that_passes_for_a_success_is_a_failed_check(tmp_path: Path) -> None:
    """A missing input, and a service that does not answer, must fail the workflow."""
    setting = Setting(tmp_path, status={"phase": "Succeeded"})
    exit_code, lines = setting.run("--only", "a missing input", "--only", "exit code 75")
    assert exit_code == 1
    for row in rows(lines)[1:3]:
        assert row[0] == "FAIL"
        assert row[2].startswith("phase Succeeded where Failed was expected")


def test_a_restricted_namespace_that_refuses_argo_itself_says_the_cure(tmp_path: Path) -> None:
    """What the controller lacks is no failure of ours: it is not tried, and the row names the patch."""
    message = 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'
    setting = Setting(tmp_path, restricted={"phase": "Error", "message": message})
    exit_code, lines = setting.run("--only", "a namespace that enforces restricted")
    assert exit_code == 0
    _, restricted, _ = rows(lines)
    assert restricted[0] == "skip"
    assert "manifests/patches/restricted.yaml" in restricted[2]
    assert setting.left() == []


def test_argo_submits_where_it_is_there(tmp_path: Path) -> None:
    """With the CLI a workflow goes through `argo submit --wait`, and the same is checked."""
    setting = Setting(tmp_path, ("kubectl", "argo"))
    exit_code, lines = setting.run(*ONE, "--context", "other")
    assert (exit_code, lines[-1]) == (0, "2 right, 0 failed, 1 not tried"), lines
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
    failure, _ = rows(lines)
    wanted = "phase Failed: child failed; prepare-data: exit code 6"
    assert failure == ["FAIL", "prepare-data.yaml", wanted]
    assert lines[3] == "        without its files nothing else can run"
    assert lines[-1] == "0 right, 1 failed, 1 not tried"
    assert setting.left() == []


def test_a_wrong_result_is_a_failed_check(tmp_path: Path) -> None:
    """A workflow that succeeded and joined in another order is found out."""
    setting = Setting(tmp_path, damage=True)
    exit_code, lines = setting.run(*ONE)
    assert exit_code == 1
    (failure,) = [row for row in rows(lines) if row[0] == "FAIL"]
    match = re.fullmatch(r"result.txt is '(\w{32})' where level 1 is '(\w{32})'", failure[2])
    assert match
    assert failure[1] == "process-data.yaml"
    assert match[1] == match[2][::-1]
    assert setting.left() == []


def test_a_wrong_progress_is_a_failed_check(tmp_path: Path) -> None:
    """Fewer pods than the tutorial's 25 are found out."""
    exit_code, lines = Setting(tmp_path, status={"progress": "1/1"}).run(*ONE)
    assert exit_code == 1
    assert ["FAIL", "process-data.yaml", "progress 1/1 where 25/25 was expected"] in rows(lines)


def test_a_workflow_that_never_ends_is_given_up(tmp_path: Path) -> None:
    """After --timeout the check fails, and the workflow is removed with the rest."""
    setting = Setting(tmp_path, never_ends=True)
    exit_code, lines = setting.run(*ONE, "--timeout", "0.5")
    assert exit_code == 1
    assert re.fullmatch(r"workflow \S+ has not ended after 0.5 s", rows(lines)[0][2])
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
    assert lines[-2] == "2 right, 0 failed, 1 not tried"
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
    assert (exit_code, lines[-1]) == (0, "2 right, 0 failed, 1 not tried"), lines
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
    assert not [name for name in names if name.startswith("test_") or name.endswith("_test.py")]
    assert os.access(E2E / "__main__.py", os.R_OK)
