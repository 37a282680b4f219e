"""tests/e2e on a stand-in for the cluster: what it tries, what it finds out, and what it leaves behind."""

import json
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
from workflows.stand_in import StandIn

RIGHT = "result.txt is level 1"
ONE = ("--only", "process-data.yaml")


def start(cluster: StandIn, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start the runner, with a PATH that has the stand-ins and nothing else."""
    return subprocess.Popen(
        [sys.executable, scripts.REPOSITORY / "tests" / "e2e", "--interval", "0.01", *arguments],
        env=scripts.environment(PATH=str(cluster.path), **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(cluster: StandIn, *arguments: str, **variables: str) -> tuple[int, list[str]]:
    """Run it to its end: the exit code and the lines that it printed."""
    with start(cluster, *arguments, **variables) as process:
        output, _ = process.communicate(timeout=240)
    return process.returncode, output.splitlines()


def rows(lines: list[str]) -> list[list[str]]:
    """The table: outcome, case and what was seen, without the seconds."""
    found = [re.split(r" {2,}", re.sub(r" +\d+ s  ", "  ", line)) for line in lines]
    return [row for row in found if row[0] in ("ok", "FAIL", "skip")]


def failed(*messages: str, phase: str = "Failed") -> dict[str, Any]:
    """The status of a workflow with pods that failed so."""
    nodes = {
        message: {"type": "Pod", "phase": "Failed", "displayName": "process-data(0)", "message": message}
        for message in messages
    }
    return {"phase": phase, "message": "child failed", "nodes": nodes}


FAULTS = {
    json.dumps({"name": "files", "value": "34"}): failed("Error (exit code 3): process.py: error: l1/32.txt"),
    "http://127.0.0.1:9": failed("Error (exit code 75): 1", "Error (exit code 75): 2"),
}
"""How workflows with a fault end on a cluster: more files than there are, an endpoint without a server."""


def test_all_is_right_on_a_happy_cluster(tmp_path: Path) -> None:
    """Each manifest and fault is tried, by kubectl alone, or its row says why not; nothing is left."""
    with StandIn(tmp_path, ends=FAULTS) as cluster:
        exit_code, lines = run(cluster, "--image", "me/worker:2")
    assert exit_code == 0, lines
    assert re.fullmatch(r"context a-context, namespace aggregation-e2e-[0-9a-f]{6}", lines[0])
    assert lines[1].split() == ["OUTCOME", "CASE", "SAW"]
    seen = rows(lines)
    partial = "aggregate.yaml, files 31, fan-in 3, final-width 4, partial true"
    assert seen[:-2] == [
        ["ok", "the tutorial's own YAML, on a volume of root's", f"Succeeded, 25/25, {RIGHT}"],
        ["ok", "prepare-data.yaml", "Succeeded, 1/1"],
        ["ok", "process-data.yaml", f"Succeeded, 25/25, {RIGHT}"],
        ["ok", "process-data-with-items.yaml", f"Succeeded, 25/25, {RIGHT}"],
        ["ok", "process-data-with-param.yaml", f"Succeeded, 27/27, {RIGHT}"],
        ["ok", "aggregate.yaml", f"Succeeded, 25/25, {RIGHT}"],
        ["ok", partial, f"Succeeded, 16/16, {RIGHT}"],
        ["ok", "generate.py", f"Succeeded, 25/25, {RIGHT}"],
        ["ok", "generate.py, a workflow of workflows", f"Succeeded, 7/7, {RIGHT}"],
        [
            *("ok", "a missing input"),
            "Failed at once, process-data(0): Error (exit code 3): process.py: error: l1/32.txt",
        ],
        ["ok", "exit code 75", "Failed after 2 tries, process-data(0): Error (exit code 75): 1"],
        ["ok", "a pod deleted while it runs", f"Succeeded after merge-data(0): pod deleted, {RIGHT}"],
        ["ok", "two runs of different shape at once", f"both Succeeded, {RIGHT}"],
        ["ok", "a namespace that enforces restricted", "Succeeded, 1/1"],
    ]
    assert [row[:2] for row in seen[-2:]] == [
        ["skip", "process-data-oss.yaml, aggregation-oss.yaml"],
        ["skip", "volume.yaml"],
    ]
    assert seen[-2][2].startswith("give --oss-bucket, ")
    assert lines[-1] == "14 right, 0 failed, 2 not tried"
    named = {name for row in seen for name in re.findall(r"[\w-]+\.yaml", row[1])}
    installed = {"rbac.yaml", "aggregation.yaml", "settings.yaml", "kustomization.yaml"}
    assert {path.name for path in FILES} == named | installed
    assert cluster.images == {"me/worker:2"}
    assert cluster.left() == []


def test_a_bucket_is_used_where_one_is_given(tmp_path: Path) -> None:
    """The manifests without a volume, and their template; the objects go, and no key is on a command line."""
    case = "process-data-oss.yaml, aggregation-oss.yaml"
    with OssServer(["my-bucket"]) as server, StandIn(tmp_path, buckets=server) as cluster:
        place = {"bucket": "my-bucket", "endpoint": server.endpoint, "region": server.region}
        where = [word for name, value in place.items() for word in (f"--oss-{name}", value)]
        exit_code, lines = run(cluster, "--only", case, *where, **server.environment())
        assert (exit_code, lines[-1]) == (0, "2 right, 0 failed, 1 not tried"), lines
        assert rows(lines)[1][2] == f"process-data-oss.yaml and aggregation-oss.yaml Succeeded, {RIGHT}"
        assert server.keys("my-bucket") == []
        assert server.access_key_secret not in "".join([*cluster.calls, *lines])
    assert cluster.left() == []


def test_argo_submits_where_it_is_there(tmp_path: Path) -> None:
    """With the CLI a workflow goes through `argo submit --wait`, and the same is checked."""
    with StandIn(tmp_path, ("kubectl", "argo")) as cluster:
        exit_code, lines = run(cluster, *ONE, "--context", "other")
    assert (exit_code, lines[-1]) == (0, "2 right, 0 failed, 1 not tried"), lines
    assert lines[0].startswith("context other, ")
    submitted = [call for call in cluster.calls if call.startswith("argo")]
    assert len(submitted) == 2
    assert all(re.match(r"argo submit -n \S+ --wait -o name /\S+\.yaml$", call) for call in submitted)
    assert cluster.left() == []


def test_what_is_wrong_is_a_failed_check(tmp_path: Path) -> None:
    """A failed workflow, fewer pods, wrong bytes, a fault that passes for a success; all is removed."""
    refused = 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'
    ends = {
        "-restricted": failed(refused, phase="Error"),
        "process-data-with-items-": failed("exit code 6"),
        "process-data-with-param-": {"progress": "1/1"},
        "process-data-": {"damaged": True},
    }
    cases = ["process-data.yaml", "process-data-with-items.yaml", "process-data-with-param.yaml"]
    cases += ["a missing input", "exit code 75", "a namespace that enforces restricted"]
    with StandIn(tmp_path, ends=ends) as cluster:
        exit_code, lines = run(cluster, *[word for case in cases for word in ("--only", case)])
    assert exit_code == 1, lines
    assert lines[-1] == "1 right, 5 failed, 2 not tried"
    _, damaged, without, fewer, missing, unanswered, restricted, _ = rows(lines)
    match = re.fullmatch(r"result.txt is '(\w{32})' where level 1 is '(\w{32})'", damaged[2])
    assert match
    assert match[1] == match[2][::-1]
    assert without[2] == "phase Failed: child failed; process-data(0): exit code 6"
    assert fewer[2] == "progress 1/1 where 27/27 was expected"
    for row in (missing, unanswered):
        assert row[0] == "FAIL"
        assert row[2].startswith("phase Succeeded where Failed was expected")
    # What the controller lacks is no failure of ours.
    assert restricted[0] == "skip"
    assert "manifests/patches/restricted.yaml" in restricted[2]
    assert cluster.left() == []


def test_without_its_files_nothing_else_is_tried(tmp_path: Path) -> None:
    """The first workflow failed, which argo says too: the line says why, and the rest is left out."""
    with StandIn(tmp_path, ("kubectl", "argo"), ends={"prepare-data": failed("exit code 6")}) as cluster:
        exit_code, lines = run(cluster, *ONE)
    assert exit_code == 1
    wanted = "phase Failed: child failed; process-data(0): exit code 6"
    assert rows(lines)[0] == ["FAIL", "prepare-data.yaml", wanted]
    assert lines[3:] == [
        "        without its files nothing else can run",
        *(line for line in lines if line.startswith("skip")),
        "0 right, 1 failed, 1 not tried",
    ]
    assert cluster.left() == []


NEVER = {"prepare-data": {"phase": "Running"}}


def test_a_workflow_that_never_ends_is_given_up(tmp_path: Path) -> None:
    """After --timeout the check fails, and the workflow is removed with the rest."""
    with StandIn(tmp_path, ends=NEVER) as cluster:
        exit_code, lines = run(cluster, *ONE, "--timeout", "0.1")
    assert exit_code == 1
    assert re.fullmatch(r"workflow \S+ has not ended after 0.1 s", rows(lines)[0][2])
    assert cluster.left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_removes_everything(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C while a workflow runs: namespace, volume, workflow and files are gone, the exit code says it."""
    with StandIn(tmp_path, ends=NEVER) as cluster, start(cluster, *ONE) as process:
        deadline = time.monotonic() + 60
        while "get workflow" not in " ".join(cluster.calls) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"{number.name}: removing what was made" in output
    assert cluster.left() == [], output


def test_without_kubectl_it_says_so(tmp_path: Path) -> None:
    """One line, and the exit code of a run that could not be."""
    with StandIn(tmp_path, ()) as cluster:
        exit_code, lines = run(cluster)
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
    with StandIn(tmp_path, refuses={command: message}) as cluster:
        exit_code, lines = run(cluster, *ONE)
    assert exit_code == 2
    (error,) = [each for each in lines if each.startswith("error")]
    assert error.startswith(line)
    assert error.endswith(f": error: {message}")
    assert cluster.left() == []


def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    """A clean-up that fails goes on with the rest, says what is left, and is no success."""
    with StandIn(tmp_path, refuses={"kubectl delete namespace": "forbidden"}) as cluster:
        exit_code, lines = run(cluster, "--only", "prepare-data.yaml")
    assert exit_code == 2
    assert lines[-2] == "1 right, 0 failed, 1 not tried"
    assert lines[-1].startswith(
        "error: could not remove namespace: kubectl delete namespace aggregation-e2e-"
    )
    assert not [name for name in cluster.left() if name.startswith("persistentvolume.")]


def test_keep_keeps(tmp_path: Path) -> None:
    """--keep removes nothing and says where it is."""
    with StandIn(tmp_path) as cluster:
        exit_code, lines = run(cluster, "--only", "prepare-data.yaml", "--keep", "--storage-class", "nfs")
    assert exit_code == 0
    assert lines[-1].startswith("kept: namespace aggregation-e2e-")
    assert not [call for call in cluster.calls if call.startswith("kubectl delete")]
    (claim,) = [each for key, each in cluster.objects.items() if key[0] == "persistentvolumeclaim"]
    assert claim["spec"]["storageClassName"] == "nfs"
    assert not [name for name in cluster.left() if name.startswith("persistentvolume.")]


def test_a_namespace_that_exists_stays_with_what_was_in_it(tmp_path: Path) -> None:
    """In somebody's namespace only what this run made is removed, accounts that were there stay."""
    with StandIn(tmp_path) as cluster:
        cluster.add("Namespace", "argo")
        cluster.add("ServiceAccount", "aggregation", "argo")
        exit_code, lines = run(cluster, *ONE, "--namespace", "argo")
    assert (exit_code, lines[-1]) == (0, "2 right, 0 failed, 1 not tried"), lines
    assert cluster.left() == ["namespace.argo", "serviceaccount.aggregation"]


def test_a_claim_with_somebodys_data_is_not_touched(tmp_path: Path) -> None:
    """Where a namespace has the claim already, nothing runs and the claim stays."""
    with StandIn(tmp_path) as cluster:
        cluster.add("Namespace", "argo")
        cluster.add("PersistentVolumeClaim", "pvc-oss", "argo")
        exit_code, lines = run(cluster, *ONE, "--namespace", "argo")
    assert exit_code == 2
    assert lines[-1] == "error: namespace argo has a claim pvc-oss with data: name another one"
    assert cluster.left() == ["namespace.argo", "persistentvolumeclaim.pvc-oss"]
