"""What is foreseen of a run on OSS, and --shape auto, as the scripts say them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from oss_server import OssServer
from scripts import Outcome, Script, command, environment, finished, write_level

GET_TYPE = {"GetObject", "HeadObject"}


@pytest.fixture(scope="module")
def server() -> Iterator[OssServer]:
    """A server with 150 objects of 1 KiB in level 1."""
    with OssServer(["demo"]) as server:
        for number in range(150):
            server.put("demo", f"a/l1/{number}.txt", bytes(1024))
        yield server


def on_oss(server: OssServer, *call: object) -> Outcome:
    """A script's call with that root."""
    variables = environment(AGGREGATION_ROOT="oss://demo/a", **server.environment())
    return finished(command(str(call[0]), *call[1:]), env=variables)


def test_the_requests_that_are_shown_are_sent(server: OssServer) -> None:
    """A pod's, by the classes in which they are charged: of the level, of the merge, and of a flat one."""
    shown = on_oss(server, "pipeline.py", "--fan-in", 50, "--levels", 1, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    head, level, merge, _, flat, times = shown.stdout.splitlines()
    assert head.split()[4:9] == ["PUT-TYPE", "GET-TYPE", "THROUGH", "PODS", "REQUESTS/S"]
    assert "20 ms a request and 48 MiB/s" in times
    calls: dict[str, list[tuple[object, ...]]] = {
        level: [("process.py", number, 1, "--fan-in", 50, "--files", 150) for number in range(3)],
        merge: [("merge.py", 3, "--level", 2)],
        flat: [("merge.py", 150, "--level", 1)],
    }
    for line, commands in calls.items():
        server.counters.reset()
        for call in commands:
            assert on_oss(server, *call, "--run", "r").returncode == 0
        counted = {name: tally.requests for name, tally in server.counters.operations.items()}
        gets = sum(count for name, count in counted.items() if name in GET_TYPE)
        puts, found = (int(word) for word in line.partition("KiB")[2].split()[:2])
        assert found == pytest.approx(gets, rel=0.02)
        assert puts == pytest.approx(sum(counted.values()) - gets, rel=0.02)


def test_what_a_level_s_pods_will_ask_for(server: OssServer) -> None:
    """plan.py says it on stderr: stdout is for Argo."""
    planned = on_oss(server, "plan.py", 1, "--fan-in", 50, "--parallelism", 3, "--latency", 0.1)
    assert json.loads(planned.stdout) == [0, 1, 2]
    assert "on OSS: 3 PUT-type and 301 GET-type requests, 300 KiB through pods" in planned.stderr
    assert "of the bucket's 2,000" in planned.stderr
    assert "with 3 at a time, 100 ms a request" in planned.stderr


def test_a_command_s_requests_are_not_guessed(server: OssServer) -> None:
    """What a program reads is not known."""
    shown = on_oss(server, "pipeline.py", "--dry-run", "--command", "sort {inputs}")
    assert "PUT-TYPE" not in shown.stdout


def test_a_shape_is_chosen(run: Script, root: Path, tmp_path: Path) -> None:
    """A plain join is flat, a command's is not; each says so in a line and gives the same bytes."""
    contents = [b"%d\n" % number for number in range(40)]
    write_level(root, 1, contents)
    flat = run("pipeline.py", "--shape", "auto", "--keep")
    assert "shape: flat, one merge of 40 files" in flat.stdout
    assert (root / "result.txt").read_bytes() == b"".join(contents)
    assert not list(root.glob("runs/*/l2"))
    tree = run("pipeline.py", "--shape", "auto", "--keep", "--command", "cat {inputs}")
    assert "shape: fan-in 7 and 1 level; a command gets 16 files at a time" in tree.stdout
    assert (root / "result.txt").read_bytes() == b"".join(contents)
    summary = tmp_path / "summary.json"
    planned = run("plan.py", 1, "--shape", "auto", "--summary-file", summary)
    assert (json.loads(planned.stdout), json.loads(summary.read_text())["fan_in"]) == ([], 40)
    many = run("plan.py", 1, "--shape", "auto", "--files", 500_000)
    assert len(json.loads(many.stdout)) == 707
    assert "shape: fan-in 708 and 1 level" in many.stderr


@pytest.mark.parametrize("option", ["--fan-in", "--levels"])
def test_a_shape_is_said_once(run: Script, option: str) -> None:
    """--shape auto beside an option that says the shape is wrong usage."""
    outcome = run("pipeline.py", "--files", 9, "--shape", "auto", option, 3)
    assert outcome.returncode == 2
    assert f"{option} says the shape too; give one of them" in outcome.stderr
