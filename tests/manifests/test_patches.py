"""What is laid over the template aggregation: metrics with their Grafana board, and spot nodes."""

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import machine
from oss_server import OssServer
from workflows import models
from workflows.catalogue import FOLDER, LIBRARY, RUNNABLE
from workflows.execution import Cluster
from workflows.expansion import expand
from workflows.metrics import PREFIX, Controller, Sample, parsed
from workflows.parameters import Manifest
from workflows.pods import Pod
from workflows.retries import is_retried
from workflows.scopes import Scope

TEMPLATE = RUNNABLE["aggregation.yaml"]


def patched(name: str) -> Manifest:
    """The template with a patch over it, by the command that the patch's head says, without a cluster."""
    command = ["patch", "-n", "argo", "--local", "-f", FOLDER / "aggregation.yaml", "-o", "yaml"]
    patch = ["--type", "json", "--patch-file", FOLDER / "patches" / name]
    words = [machine.kubectl(), *map(str, [*command, *patch])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    document: Manifest = yaml.safe_load(done.stdout)
    return document


def templates_of(document: Manifest) -> dict[str, Manifest]:
    """A document's templates by name."""
    return {template["name"]: template for template in document["spec"]["templates"]}


PODS = sorted(name for name, template in templates_of(TEMPLATE).items() if "container" in template)
"""The templates that are pods: each of them has to be patched."""


# Metrics


@pytest.fixture
def server() -> Iterator[OssServer]:
    """A server with a bucket."""
    with OssServer(["my-bucket"]) as each:
        yield each


def level_of(pod: Pod) -> str:
    """The level that a pod reads."""
    return pod.command[pod.command.index("--level") + 1] if "--level" in pod.command else pod.command[3]


def test_a_scrape_shows_the_numbers_of_a_run(server: OssServer, tmp_path: Path) -> None:
    """Bytes, files, seconds, requests and gaps of each step of a run on OSS, and the tries that failed."""
    document = patched("metrics.yaml")
    assert models.lost(document) == []
    templates = templates_of(document)
    cluster = Cluster(tmp_path, {"akId": server.access_key_id, "akSecret": server.access_key_secret})
    sizes = {1: 1, 2: 2, 4: 4, 5: 2_000_000}
    for number, size in sizes.items():
        server.put("my-bucket", f"tiles/shot_{number}.exr", b"x" * size)
    library = [document, *(each for each in LIBRARY if each is not TEMPLATE)]
    given = {"bucket": "my-bucket", "prefix": "tiles", "endpoint": server.endpoint, "final-width": "2"}
    given |= {"frames": "1-5", "name": "shot_{number}.exr", "missing": "skip", "at-most-missing": "1"}
    told: list[tuple[str, str, dict[str, Any]]] = []
    with Controller() as controller:
        for stage in expand(RUNNABLE["aggregation-oss.yaml"], library, given, run=cluster.run):
            for pod in stage.pods:
                if pod.template != "plan-inputs":  # that one was run, since its output was asked for
                    summary = cluster.run(pod).parameters["summary"]
                    told.append((pod.template, level_of(pod), json.loads(summary)))
                    known = {"status": "Succeeded", "duration": "2.500000"}
                    known |= {"inputs__parameters__level": level_of(pod)}
                    controller.ended(templates[pod.template], **known, outputs__parameters__summary=summary)
        first = {"inputs__parameters__level": "1"}
        failed = {
            "status": "Failed",
            "duration": "1.5",
            "outputs__parameters__summary": "{}",
        }
        controller.ended(templates["process-data"], **failed, **first)
        controller.ended(templates["process-data"], status="Error", duration="9.0", **first)  # a lost node
        with urllib.request.urlopen(controller.url, timeout=30) as reply:
            samples = parsed(reply.read().decode())
        # What Argo writes into the workflow's conditions: a pod that was lost has no summary.
        assert len(controller.problems) == 5
        assert all("'outputs' is not known here" in problem for problem in controller.problems)
    assert [(step, level) for step, level, _ in told] == ([("process-data", "1")] * 2 + [("merge-data", "2")])

    def sample(name: str, **labels: str) -> float:
        return samples[Sample(PREFIX + name, frozenset(labels.items()))]

    for step, level in {(step, level) for step, level, _ in told}:
        mine = [summary for each, on, summary in told if (each, on) == (step, level)]
        for field in ("bytes", "files", "seconds", "requests", "missing"):
            wanted = sum(summary.get(field) or 0 for summary in mine)
            assert sample(f"aggregation_{field}_sum", step=step, level=level) == pytest.approx(wanted)
            assert sample(f"aggregation_{field}_count", step=step, level=level) == len(mine)
    assert sample("aggregation_bytes_sum", step="merge-data", level="2") == sum(sizes.values())
    assert sample("aggregation_missing_sum", step="merge-data", level="2") == 1
    assert sample("aggregation_requests_sum", step="process-data", level="1") >= 2
    for status, count in {"Succeeded": 2, "Failed": 1, "Error": 1}.items():
        assert sample("aggregation_try_seconds_count", step="process-data", status=status) == count


def test_the_board_asks_for_metrics_that_there_are() -> None:
    """Each query names metrics and labels of the patch; no two panels overlap; each metric is shown."""
    metrics = {
        each["name"]: {label["key"] for label in each["labels"]} | {"le"}
        for template in templates_of(patched("metrics.yaml")).values()
        for each in template.get("metrics", {}).get("prometheus", [])
    }
    board = json.loads((FOLDER / "examples/grafana.json").read_text(encoding="utf-8"))
    shown = set()
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        mine = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not mine & cells
        assert {x for x, _ in mine} <= set(range(24))
        cells |= mine
        for target in panel["targets"]:
            (name,) = re.findall(rf"{PREFIX}(\w+?)_(?:sum|count|bucket)\b", target["expr"])
            grouped = re.findall(r"by \((.*?)\)", target["expr"])
            labels = {label for text in grouped for label in text.split(", ")}
            labels |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert labels <= metrics[name], target["expr"]
            shown.add(name)
    assert shown == metrics.keys()


# Spot nodes

TRIES = 9


def spot() -> dict[str, Manifest]:
    """The templates of aggregation-spot that are pods."""
    document = patched("spot.yaml")
    assert document["metadata"]["name"] == "aggregation-spot"
    assert models.lost(document) == []
    return {name: each for name, each in templates_of(document).items() if "container" in each}


def test_every_pod_goes_to_spot_nodes_and_its_last_try_does_not() -> None:
    """Label, annotation, tolerations and priority of each pod, try by try; all else is the template's."""
    plain = templates_of(TEMPLATE)
    templates = spot()
    assert sorted(templates) == PODS
    for name, template in templates.items():
        strategies = []
        for number in range(TRIES):
            known = Scope({"retries": str(number)})
            nodes = known.fill(template["nodeSelector"])
            (annotation,) = known.fill(template["metadata"]["annotations"]).items()
            assert annotation[0] == "k8s.aliyun.com/eci-spot-strategy"
            strategies.append((nodes["karpenter.sh/capacity-type"], annotation[1]))
            assert nodes["kubernetes.io/arch"] == "amd64"
        assert strategies == [("spot", "SpotAsPriceGo")] * (TRIES - 1) + [("on-demand", "NoSpot")]
        assert template["retryStrategy"]["limit"] == str(TRIES - 1)
        assert {taint["key"] for taint in template["tolerations"]} == {"virtual-kubelet.io/provider", "spot"}
        assert template["priorityClassName"] == "aggregation-batch"
        changed = {"nodeSelector", "metadata", "tolerations", "priorityClassName", "retryStrategy"}
        rest = {key: value for key, value in template.items() if key not in changed}
        assert rest == {key: value for key, value in plain[name].items() if key not in changed}


LOST = [
    ("Error", "-1", "pod deleted"),
    ("Failed", "-1", "Pod was active on the node longer than the specified deadline"),
    ("Failed", "143", "Error (exit code 143)"),
    ("Failed", "137", "Error (exit code 137)"),
    ("Failed", "64", "Error (exit code 64)"),
]
FINAL = [
    ("Failed", "3", "Error (exit code 3)"),
    ("Failed", "6", "Error (exit code 6)"),
    ("Failed", "137", "OOMKilled (exit code 137)"),
    ("Failed", "143", 'Usage of EmptyDir volume "scratch" exceeds the limit "8Gi". '),
]


def test_a_lost_pod_has_more_tries_than_one_that_saw_wrong_bytes() -> None:
    """Evictions are tried again up to the limit, 4 and 75 as often as elsewhere, the rest never."""
    for template in spot().values():
        strategy = template["retryStrategy"]

        def again(
            status: str, exit_code: str, message: str, retries: int, strategy: Manifest = strategy
        ) -> bool:
            return is_retried(strategy, status=status, exit_code=exit_code, message=message, retries=retries)

        for retries in range(TRIES):
            assert all(again(*how, retries) for how in LOST)
            assert not any(again(*how, retries) for how in FINAL)
            for code in ("4", "75"):
                assert again("Failed", code, f"Error (exit code {code})", retries) is (retries < 3)
