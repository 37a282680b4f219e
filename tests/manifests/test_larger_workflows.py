"""The workflows of manifests/examples that call the templates as steps of their own: docs/examples.md."""

import gzip
import hashlib
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pages.markdown import page
from scripts import environment, write_level
from workflows import models
from workflows.catalogue import FOLDER, LIBRARY, commands
from workflows.documents import effective_spec, load
from workflows.execution import Cluster
from workflows.expansion import expand
from workflows.parameters import Manifest
from workflows.pods import Outputs, Pod, Run, Stage
from workflows.scopes import Scope

ALL = {path.name: load(path)[0] for path in sorted((FOLDER / "examples").glob("*.yaml"))}
EXAMPLES = {name: each for name, each in ALL.items() if "workflowTemplateRef" not in each["spec"]}
EACH = pytest.mark.parametrize("name", EXAMPLES)
SUMMARY = {"target": "result.txt", "bytes": 5, "crc64": None, "files": 96}


def workflow(name: str) -> Manifest:
    """An example as the workflow that it submits."""
    document = EXAMPLES[name]
    spec = document["spec"]
    return {**document, "spec": spec.get("workflowSpec", spec)}


def answer(_: Pod) -> Outputs:
    """What a pod hands on where nothing is run: a summary, and 96 inputs."""
    return Outputs("96", {"summary": json.dumps(SUMMARY)})


def stages_of(
    name: str,
    given: dict[str, str] | None = None,
    *,
    run: Run = answer,
    known: dict[str, str] | None = None,
) -> list[Stage]:
    """The stages of an example that have pods; `known` are variables of the workflow."""
    stages = expand(workflow(name), LIBRARY, given or {}, run=run, known=known)
    return [stage for stage in stages if stage.pods]


@EACH
def test_it_explains_itself(name: str) -> None:
    """Each key is Argo's; the head says purpose, prerequisites and call; the page shows it."""
    document = EXAMPLES[name]
    assert models.lost(document) == []
    text = (FOLDER / "examples" / name).read_text(encoding="utf-8")
    top = text.split("apiVersion:")[0]
    assert all(line.startswith("#") for line in top.splitlines())
    version = document["metadata"]["annotations"]["workflows.argoproj.io/version"]
    assert f"Prerequisites: Argo Workflows v{version[3:].removesuffix('.0')} or later" in top
    assert f"argo submit -n argo {name}" in top or f"kubectl apply -n argo -f {name}" in top
    assert f"`{name}`" in page("docs/examples.md").text
    # Fields and functions that came later than the template's own.
    assert (version == ">= 3.6.0") == ("mutexes:" in text or "schedules:" in text)


@EACH
def test_it_calls_the_template_and_hardens_its_own_pods(name: str) -> None:
    """A templateRef does the work; the file's own pods have no privileges and little memory."""
    spec = effective_spec(workflow(name))
    groups = [group for template in spec["templates"] for group in template.get("steps", [])]
    groups += [template["dag"]["tasks"] for template in spec["templates"] if "dag" in template]
    steps = [step for group in groups for step in group]
    assert {step["templateRef"]["name"] for step in steps if "templateRef" in step} == {"aggregation"}
    assert "volumes" not in spec
    assert spec["serviceAccountName"] == "aggregation"
    assert 1 < spec["parallelism"] <= 64
    for template in (each for each in spec["templates"] if "container" in each):
        assert template["retryStrategy"] == {"limit": "3", "retryPolicy": "OnError"}
        assert template["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
        assert template["securityContext"]["runAsNonRoot"] is True
        context = template["container"]["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert template["container"]["resources"]["limits"]["memory"] == "128Mi"


# A step of a larger workflow


def test_a_step_between_two_others(tmp_path: Path) -> None:
    """By two parameters: the step before makes the files, the next one gets the result's name and size."""
    cluster = Cluster(tmp_path)
    said: list[str] = []

    def run(pod: Pod) -> Outputs:
        outputs = cluster.run(pod)
        said.append(outputs.result)
        return outputs

    made: list[Stage] = []
    for stage in expand(workflow("step.yaml"), LIBRARY, {"files": "8"}, run=run):
        made += [stage] if stage.pods else []
        asked = stage.pods and stage.pods[0].template == "merge-data"  # run when its outputs are read
        for pod in () if asked else stage.pods:
            run(pod)
    assert commands(made)[:-1] == [["python3 prepare.py 8"], ["python3 merge.py 8 --level 1"]]
    root = cluster.volume / "step-demo"
    result = (root / "result.txt").read_bytes()
    assert result == b"".join((root / f"l1/{number}.txt").read_bytes() for number in range(8))
    assert (made[-1].pods[0].step, made[-1].pods[0].template) == ("after", "use-result")
    assert dict(made[-1].pods[0].environment) == {"RESULT": "/mnt/vol/step-demo/result.txt", "BYTES": "8"}
    assert said[-1].startswith(f"{hashlib.sha256(result).hexdigest()}  8 bytes  ")


def test_a_step_in_the_tutorials_shape() -> None:
    """Without a value of its own it is the tutorial's 32 files, and 16 + 8 + 1 pods between the others."""
    before, *levels, after = commands(stages_of("step.yaml"))
    assert before == ["python3 prepare.py 32"]
    assert [len(level) for level in levels] == [16, 8, 1]
    assert levels[-1] == ["python3 merge.py 8 --level 3"]
    assert len(after) == 1


# Each night

NIGHT = {"workflow.scheduledTime": "2026-11-27T02:30:00+08:00"}


@pytest.mark.parametrize(
    ("scheduled", "day"),
    [
        ({"workflow.scheduledTime": "2026-11-26T18:30:00Z"}, "2026-11-27"),
        ({"workflow.scheduledTime": "2026-11-27T02:30:00+08:00"}, "2026-11-27"),
        ({"workflow.creationTimestamp.RFC3339": "2026-11-27T15:59:59Z"}, "2026-11-27"),
        ({"workflow.creationTimestamp.RFC3339": "2026-11-27T16:00:00Z"}, "2026-11-28"),
    ],
)
def test_each_night_has_a_directory_of_its_own(scheduled: dict[str, str], day: str) -> None:
    """The day of the schedule, or of a submission by hand, in the time zone of the schedule."""
    first, *levels = stages_of("nightly.yaml", known=scheduled)
    assert commands([first]) == [["python3 inputs.py"]]
    assert dict(first.pods[0].environment)["AGGREGATION_GLOB"] == "*.jsonl.gz"
    assert commands(levels) == [
        [f"python3 process.py {number} 1 --files 96 --fan-in 64" for number in range(2)],
        ["python3 merge.py 2 --level 2"],
    ]
    roots = {dict(pod.environment)["AGGREGATION_ROOT"] for stage in [first, *levels] for pod in stage.pods}
    assert roots == {f"/mnt/vol/events/{day}"}


def test_a_night_counts_and_joins_what_there_is(tmp_path: Path) -> None:
    """As many files as the directory has, under names of their own; the result is one gzip file."""
    spec = EXAMPLES["nightly.yaml"]["spec"]
    assert (spec["schedules"], spec["timezone"]) == (["30 2 * * *"], "Asia/Shanghai")
    cluster = Cluster(tmp_path)
    folder = cluster.volume / "events/2026-11-27"
    folder.mkdir(parents=True)
    for hour in ("00", "01", "02"):
        (folder / f"{hour}.jsonl.gz").write_bytes(gzip.compress(f'{{"hour": "{hour}"}}\n'.encode()))
    merge = stages_of("nightly.yaml", run=cluster.run, known=NIGHT)[-1]
    assert commands([merge]) == [["python3 merge.py 3 --level 1"]]
    cluster.run(merge.pods[0])
    lines = gzip.decompress((folder / "result.gz").read_bytes()).splitlines()
    assert [json.loads(line)["hour"] for line in lines] == ["00", "01", "02"]


# The result as an artifact


def test_the_result_is_an_artifact() -> None:
    """The last pod has the file that aggregate names, on a mount of its own, and hands it on as it is."""
    last = stages_of("artifact.yaml", {"files": "8", "dir": "a b"})[-1].pods[0]
    (template,) = [
        each for each in workflow("artifact.yaml")["spec"]["templates"] if each["name"] == "publish"
    ]
    (argument,) = [
        each["value"]
        for each in workflow("artifact.yaml")["spec"]["templates"][0]["steps"][1][0]["arguments"][
            "parameters"
        ]
    ]
    assert argument == "{{steps.aggregate.outputs.parameters.result}}"
    (artifact,) = template["outputs"]["artifacts"]
    known = {"inputs.parameters.result": "/mnt/vol/a b/result.txt", "workflow.name": "artifact-x"}
    assert Scope(known).fill(artifact) == {
        "name": "result",
        "path": "/mnt/vol/a b/result.txt",
        "archive": {"none": {}},
        "oss": {"key": "results/artifact-x/result.txt"},
    }
    assert last.command == ("python3", "-c", "pass")
    assert last.mounts == (("/mnt/vol", "workdir"),)


# An exit handler


class _Webhook(HTTPServer):
    """Keeps the messages that it gets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Message)
        self.got: list[dict[str, dict[str, str]]] = []


class _Message(BaseHTTPRequestHandler):
    server: _Webhook

    def do_POST(self) -> None:
        assert self.headers["Content-Type"] == "application/json"
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def webhook() -> Iterator[_Webhook]:
    """A server that takes messages."""
    with _Webhook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def handler(**known: str) -> Pod:
    """The pod that runs when the workflow has ended so."""
    document = workflow("notify.yaml")
    variables = {f"workflow.{key.replace('__', '.')}": value for key, value in known.items()}
    (stage,) = expand(
        document, LIBRARY, entrypoint=document["spec"]["onExit"], name="notify-x", known=variables
    )
    return stage.pods[0]


def told(pod: Pod, url: str) -> str:
    """Run a handler with a webhook; what it says."""
    (secret,) = pod.secrets
    assert (secret.secret, secret.key) == ("aggregation-webhook", "url")
    variables = {**dict(pod.environment), secret.variable: url}
    done = subprocess.run(
        pod.command, env=environment(**variables), capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout + done.stderr


def quoted(failures: object) -> str:
    """Failures as `workflow.failures` holds them: JSON in a JSON string."""
    return json.dumps(json.dumps(failures))


def test_a_message_says_how_a_run_ended(webhook: _Webhook) -> None:
    """The result of a run that succeeded; the worker's own line, whatever is in it, of one that failed."""
    url = f"http://127.0.0.1:{webhook.server_address[1]}/robot"
    path = "/mnt/vol/aggregation-demo/result.txt"
    assert not told(handler(status="Succeeded", failures=quoted(None), outputs__parameters__result=path), url)
    line = 'main: Error (exit code 3): joining l1/0.txt + "l1/1.txt" into \'; $(x) \\ é\nNo such file'
    failures = [{"displayName": "process-data(0:0)", "message": line, "phase": "Failed"}]
    assert not told(handler(status="Failed", failures=quoted(failures)), url)
    assert not told(handler(status="Error", failures=quoted(failures * 1000)), url)
    *said, long = [each["text"]["content"] for each in webhook.got]
    assert said == [f"notify-x: Succeeded {path}", f"notify-x: Failed\nprocess-data(0:0): {line}"]
    assert long.count("process-data") == 20


def test_a_webhook_that_does_not_answer_fails_no_run(webhook: _Webhook) -> None:
    """The handler ends with 0 and says so, without the URL, which is a secret."""
    webhook.server_close()
    url = f"http://127.0.0.1:{webhook.server_address[1]}/robot?access_token=hidden"
    said = told(handler(status="Error", failures=quoted(None)), url)
    assert said == "nobody was told: URLError\n"


def test_what_the_handler_reads_is_an_output_of_the_workflow() -> None:
    """The entrypoint gives the result the global name that the handler asks for."""
    document = workflow("notify.yaml")
    (output,) = document["spec"]["templates"][0]["outputs"]["parameters"]
    assert output["valueFrom"] == {"parameter": "{{steps.aggregate.outputs.parameters.result}}"}
    assert f"workflow.outputs?.parameters?.{output['globalName']} ??" in repr(document)
    assert [len(stage.pods) for stage in stages_of("notify.yaml")] == [16, 8, 1]


# One run at a time


@pytest.mark.parametrize("spelt", ["logs", "logs/", "./logs", ".//logs/.", "a/../logs"])
def test_a_directory_has_one_mutex_however_it_is_spelt(spelt: str) -> None:
    """The mutex stands on the template that the whole run is in, by the directory's normal form."""
    document = workflow("in-order.yaml")
    (template,) = document["spec"]["templates"]
    (mutex,) = template["synchronization"]["mutexes"]
    assert Scope({"inputs.parameters.dir": spelt}).fill(mutex) == {"name": "aggregation-logs"}
    stages = stages_of("in-order.yaml", {"dir": spelt, "files": "8"})
    assert commands(stages) == [["python3 merge.py 8 --level 1"]]
    assert dict(stages[0].pods[0].environment)["AGGREGATION_ROOT"] == f"/mnt/vol/{spelt}"


# Resources a level


def test_each_level_has_its_resources(tmp_path: Path) -> None:
    """Small pods first, then a large one with more room; together they sort."""
    small, large = stages_of("resources.yaml")
    assert commands([small]) == [
        [f"python3 process.py {number} 1 --files 256 --fan-in 16" for number in range(16)]
    ]
    assert commands([large]) == [["python3 merge.py 16 --level 2"]]
    memory = [stage.pods[0].container["resources"]["limits"] for stage in (small, large)]
    assert memory == [{"cpu": "1", "memory": "256Mi"}, {"cpu": "4", "memory": "2Gi"}]
    assert large.pods[0].volumes["scratch"]["emptyDir"] == {"sizeLimit": "64Gi"}
    assert large.pods[0].container["securityContext"]["readOnlyRootFilesystem"] is True
    cluster = Cluster(tmp_path)
    lines = [f"{(7 * number) % 17:02}\n" for number in range(17)]
    write_level(cluster.volume / "logs", 1, [line.encode() for line in lines])
    for stage in stages_of("resources.yaml", {"files": "17"}):
        cluster.run_each(stage.pods)
    assert (cluster.volume / "logs/result.txt").read_text() == "".join(sorted(lines))
    assert not (cluster.volume / "logs/runs").exists()
