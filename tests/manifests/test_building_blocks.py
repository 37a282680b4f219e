"""The templates as steps of workflows that are not ours: called by templateRef, and what they put out."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from aggregation.stores.checksum import crc64_of
from oss_server import OssServer
from pages.markdown import page
from scripts import write_level
from workflows import models
from workflows.catalogue import LIBRARY, RUNNABLE, commands, parameters_of
from workflows.execution import Cluster
from workflows.expansion import expand
from workflows.parameters import Manifest, ManifestError
from workflows.pods import Outputs
from workflows.scopes import Scope

TEMPLATES = {"dir": "aggregation", "prefix": "aggregation-oss"}
FOUND = "import os; name = os.environ['RESULT']; name.startswith('oss:') or os.stat(name)"
OUTPUTS = ("result", "bytes", "crc64", "files", "missing")


def foreign(kind: str, place: str, **inputs: str) -> Manifest:
    """Somebody's workflow: a step of ours with nothing but inputs, and one of their own after it."""
    known = "steps" if kind == "steps" else "tasks"
    ours = {
        "name": "aggregate",
        "templateRef": {"name": TEMPLATES[place], "template": "aggregate"},
        "arguments": {"parameters": [{"name": key, "value": value} for key, value in inputs.items()]},
    }
    said = [
        {"name": name, "value": f"{{{{{known}.aggregate.outputs.parameters.{name}}}}}"} for name in OUTPUTS
    ]
    theirs = {"name": "report", "template": "report", "arguments": {"parameters": said}}
    calls: dict[str, Any] = {"steps": [[ours], [theirs]]}
    if kind == "dag":
        calls = {"dag": {"tasks": [ours, {**theirs, "depends": "aggregate"}]}}
    report = {
        "name": "report",
        "inputs": {"parameters": [{"name": name} for name in OUTPUTS]},
        "container": {
            "image": "theirs",
            "command": ["python3", "-c", FOUND],
            "env": [{"name": name.upper(), "value": f"{{{{inputs.parameters.{name}}}}}"} for name in OUTPUTS],
            "volumeMounts": [{"name": "theirs", "mountPath": "/mnt/vol"}],
        },
    }
    claim = {"name": "theirs", "persistentVolumeClaim": {"claimName": "pvc-oss"}}
    spec = {"entrypoint": "main", "volumes": [claim], "templates": [{"name": "main", **calls}, report]}
    return {"kind": "Workflow", "metadata": {"generateName": "theirs-", "namespace": "argo"}, "spec": spec}


@pytest.mark.parametrize("kind", ["steps", "dag"])
def test_a_step_with_dir_and_files_alone(kind: str, tmp_path: Path) -> None:
    """The right commands in hardened pods, on the claim; the next step finds the result by its path."""
    cluster = Cluster(tmp_path)
    write_level(cluster.volume / "tiles", 1, contents := [b"%d " % number for number in range(19)])
    stages, _ = cluster.finish(foreign(kind, "dir", dir="tiles", files="19"), LIBRARY)
    assert commands(stages)[:3] == [
        [f"python3 process.py {number} 1 --files 19 --fan-in 2" for number in range(10)],
        [f"python3 process.py {number} 2 --files 10 --fan-in 2" for number in range(5)],
        ["python3 merge.py 5 --level 3"],
    ]
    assert (cluster.volume / "tiles/result.txt").read_bytes() == b"".join(contents)
    for pod in (pod for stage in stages for pod in stage.pods if pod.template != "report"):
        assert pod.volumes["workdir"]["persistentVolumeClaim"] == {"claimName": "pvc-oss"}
        assert pod.spec["securityContext"]["runAsUser"] == 1000
        assert pod.spec["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
        assert pod.retry
    (report,) = stages[-1].pods
    told = dict(report.environment)
    assert told == {
        "RESULT": "/mnt/vol/tiles/result.txt",
        "BYTES": "47",
        "CRC64": "",
        "FILES": "19",
        "MISSING": "0",
    }


def test_a_step_on_oss_with_frames(tmp_path: Path) -> None:
    """By aggregation-oss, after a pod that lists the inputs: URL, CRC64, counts reach the next step."""
    with OssServer(["my-bucket"]) as server:
        cluster = Cluster(tmp_path, {"akId": server.access_key_id, "akSecret": server.access_key_secret})
        for number in (1, 2, 4, 5):
            server.put("my-bucket", f"film/shot_{number:02}.exr", b"%d " % number)
        frames = {"frames": "1-5", "name": "shot_{number:02}.exr", "missing": "skip", "final-width": "2"}
        given = {
            "prefix": "film",
            "bucket": "my-bucket",
            "endpoint": server.endpoint,
            "files": "99",
            **frames,
        }
        stages, _ = cluster.finish(foreign("steps", "prefix", **given), LIBRARY)
        assert server.get("my-bucket", "film/result.txt") == b"1 2 4 5 "
    assert [len(stage.pods) for stage in stages if stage.pods] == [1, 2, 1, 1]
    (report,) = stages[-1].pods
    assert dict(report.environment) == {
        "RESULT": "oss://my-bucket/film/result.txt",
        "BYTES": "8",
        "CRC64": str(crc64_of(b"1 2 4 5 ")),
        "FILES": "4",
        "MISSING": "1",
    }
    for pod in (pod for stage in stages[:-1] for pod in stage.pods):
        assert dict(pod.mounts) == {"/tmp": "tmp", "/scratch": "scratch"}
        assert len(pod.secrets) == 3


@pytest.mark.parametrize("place", TEMPLATES)
def test_each_parameter_is_an_input(place: str) -> None:
    """The step takes what the workflow takes, by the same names, with the same defaults."""
    document = RUNNABLE[f"{TEMPLATES[place]}.yaml"]
    (template,) = [each for each in document["spec"]["templates"] if each["name"] == "aggregate"]
    inputs = {each["name"]: each for each in template["inputs"]["parameters"]}
    declared = {each["name"]: each for each in document["spec"]["arguments"]["parameters"]}
    assert inputs.keys() == declared.keys()
    assert inputs[place] == {"name": place}
    for name in inputs.keys() - {place, "files"}:
        assert inputs[name] == declared[name], name
    assert [each["name"] for each in template["outputs"]["parameters"]] == list(OUTPUTS)
    assert parameters_of(document)["files"] == "32"


def test_each_input_reaches_the_pods() -> None:
    """What is given besides place and count: the claim, the image, resources, room, and each variable."""
    given = {"claim": "mine", "image": 'me/"it":1', "cpu": "2", "memory": "3Gi", "scratch-size": "9Gi"} | {
        "command": "sort {inputs}",
        "final-command": "wc",
        "allow-empty": "true",
        "partial": "true",
        "suffix": ".osm.pbf",
        "scratch": "/scratch",
        "run": "old",
        "keep-levels": "true",
    }
    theirs = foreign("steps", "dir", dir='a "b" \\ c', files="4", **given)
    theirs["spec"]["templates"][0]["steps"].pop()
    pods = [pod for stage in expand(theirs, LIBRARY) for pod in stage.pods]
    assert [pod.command[1] for pod in pods] == ["merge.py"]
    for pod in pods:
        assert pod.image == given["image"]
        assert pod.container["resources"]["requests"] == {"cpu": "2", "memory": "3Gi"}
        assert pod.container["resources"]["limits"] == {"cpu": "2", "memory": "3Gi"}
        assert pod.volumes["scratch"]["emptyDir"] == {"sizeLimit": "9Gi"}
        assert pod.volumes["workdir"]["persistentVolumeClaim"] == {"claimName": "mine"}
        variables = {key.removeprefix("AGGREGATION_"): value for key, value in pod.environment}
        assert variables["ROOT"] == '/mnt/vol/a "b" \\ c'
        told = [
            variables[key]
            for key in ("COMMAND", "ALLOW_EMPTY", "PARTIAL", "SUFFIX", "SCRATCH", "RUN", "CLEAN")
        ]
        assert told == ["wc", "true", "true", ".osm.pbf", "/scratch", "old", ""]


def test_the_result_of_a_skipped_step_is_not_waited_for() -> None:
    """Argo 4.1 waits for ever for an output that a skipped step does not declare a default for."""
    step = {"name": "b", "template": "pod", "arguments": {"parameters": [{"name": "x"}]}}
    pod = {
        "name": "pod",
        "inputs": {"parameters": [{"name": "x", "value": ""}]},
        "container": {"image": "i", "command": ["{{inputs.parameters.x}}"]},
        "outputs": {"parameters": [{"name": "summary", "valueFrom": {"path": "/tmp/s", "default": "{}"}}]},
    }
    skipped = {"name": "a", "template": "pod", "when": "false"}
    for read, known in (("result", False), ("parameters.summary", True)):
        text = f"{{{{=steps.a.status == 'Skipped' ? 'nothing' : steps.a.outputs.{read}}}}}"
        step["arguments"]["parameters"][0]["value"] = text  # type: ignore[index]
        spec = {"entrypoint": "main", "templates": [{"name": "main", "steps": [[skipped], [step]]}, pod]}
        stages = expand({"kind": "Workflow", "metadata": {}, "spec": spec})
        if known:
            assert [pod.command for stage in stages for pod in stage.pods] == [("nothing",)]
        else:
            with pytest.raises(ManifestError, match="would wait"):
                list(stages)


def test_they_survive_heras_models() -> None:
    """A foreign workflow of this kind is one that Argo knows."""
    for kind in ("steps", "dag"):
        assert models.lost({"apiVersion": "argoproj.io/v1alpha1", **foreign(kind, "dir", dir="a")}) == []


def test_the_page_s_step_is_one() -> None:
    """The lines of docs/argo.md call the template, and hand the result's path to a step of the reader's."""
    step, _ = (yaml.safe_load(block.text) for block in page("docs/argo.md").blocks("yaml"))
    publish = {"image": "theirs", "command": ["publish", "{{inputs.parameters.result}}"]}
    templates = [
        {"name": "main", "steps": step},
        {"name": "publish", "inputs": {"parameters": [{"name": "result"}]}, "container": publish},
    ]
    theirs = {"kind": "Workflow", "metadata": {}, "spec": {"entrypoint": "main", "templates": templates}}
    said = json.dumps({"target": "result.txt", "bytes": 3})
    stages = list(expand(theirs, LIBRARY, run=lambda _: Outputs("", {"summary": said})))
    assert [len(stage.pods) for stage in stages if stage.pods] == [256, 128, 64, 32, 16, 8, 1, 1]
    assert commands(stages)[-1] == ["publish /mnt/vol/tiles/result.txt"]


def test_the_page_s_mutex_is_one_for_a_directory() -> None:
    """However a directory is written, its name is the same, and no other's."""
    _, mutex = (yaml.safe_load(block.text) for block in page("docs/argo.md").blocks("yaml"))
    (name,) = [each["name"] for each in mutex["synchronization"]["mutexes"]]
    names = {
        Scope({"workflow.parameters.dir": text}).fill(name): text
        for text in ("logs", "logs/", "./logs", "a/b", "a//b", "a/./b/", "b")
    }
    assert list(names) == ["aggregation-logs", "aggregation-a.b", "aggregation-b"]
