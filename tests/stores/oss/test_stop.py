"""How waits on OSS end: by a signal within seconds, by the store's closing, by another try of what stalls."""

import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from aggregation.errors import UnavailableError
from aggregation.stores.oss.client import OssClient
from aggregation.stores.oss.credentials import from_environment
from aggregation.stores.oss.objects import Objects
from oss_server import Answer, Fault, Hold, OssServer
from places import variables
from scripts import Script, command, environment

ROOT = ("--root", "oss://demo/a")
MIB = 1 << 20
BUSY = Answer(503, "ServiceUnavailable")


@pytest.fixture
def server() -> Iterator[OssServer]:
    """A server with four files that are joined in parts."""
    with OssServer(["demo"]) as server:
        for number in range(4):
            server.put_pattern("demo", f"a/l1/{number}.txt", 3 * MIB, b"%d" % number)
        yield server


class Stopped:
    """A script that got a signal once the fault had been met."""

    def __init__(self, server: OssServer, fault: Fault, *arguments: object, signum: int) -> None:
        process = subprocess.Popen(
            command(*map(str, arguments), *ROOT),
            env=environment(**server.environment()),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        fault.wait_until_hit(30)
        time.sleep(0.5)  # until it waits
        process.send_signal(signum)
        sent = time.monotonic()
        _, self.stderr = process.communicate(timeout=60)
        self.seconds = time.monotonic() - sent
        self.returncode = process.returncode


@pytest.mark.parametrize("action", [BUSY, Hold()], ids=["503", "stalled"])
@pytest.mark.parametrize(
    ("script", "operation"),
    [
        ("process.py 0 1", "HeadObject"),
        ("process.py 0 1", "InitiateMultipartUpload"),
        ("process.py 0 1", "UploadPartCopy"),
        ("process.py 0 1", "CompleteMultipartUpload"),
        ("pipeline.py --levels 1 --workers 2", "UploadPartCopy"),
    ],
)
def test_a_signal_ends_a_wait(server: OssServer, script: str, action: Answer | Hold, operation: str) -> None:
    """While a request is answered by 503 or not at all: the end within docker stop's 10 s, nothing left."""
    server.put("demo", "a/l2/0.txt", b"old")
    fault = server.faults.add(Fault(operation, action))
    stopped = Stopped(server, fault, *script.split(), signum=signal.SIGTERM)
    assert stopped.returncode == 143
    assert stopped.seconds < 10
    assert stopped.stderr.count("\n") == 1
    assert "SIGTERM: stopped; " in stopped.stderr
    assert server.get("demo", "a/l2/0.txt") == b"old"
    assert server.uploads("demo") == [] or "temporaries are removed" not in stopped.stderr
    if action == BUSY:
        assert server.uploads("demo") == []
        assert "temporaries are removed" in stopped.stderr


@pytest.mark.parametrize("script", ["process.py 0 1", "pipeline.py --levels 1 --workers 2"])
@pytest.mark.parametrize("action", [BUSY, Hold()], ids=["503", "stalled"])
def test_what_cannot_be_aborted_in_time_is_named(
    server: OssServer, script: str, action: Answer | Hold
) -> None:
    """Where the abort fails too the end comes all the same, and the line does not say that all is removed."""
    server.faults.add(Fault("AbortMultipartUpload", action))
    fault = server.faults.add(Fault("UploadPartCopy", BUSY))
    stopped = Stopped(server, fault, *script.split(), signum=signal.SIGINT)
    assert stopped.returncode == 130
    assert stopped.seconds < 10
    assert "temporaries are removed" not in stopped.stderr
    assert re.search(r"an upload to oss://demo/a/(runs/\S+/)?l2/", stopped.stderr)
    assert server.uploads("demo")


@pytest.mark.parametrize("operation", ["HeadObject", "UploadPartCopy", "ListObjects", "PutObject"])
def test_one_stalled_request_is_sent_again(run: Script, server: OssServer, operation: str) -> None:
    """A request that is not answered is sent again before --timeout is over, and the join succeeds."""
    if operation == "PutObject":
        for number in range(4):
            server.put("demo", f"a/l1/{number}.txt", b"%d" % number)
    server.faults.add(Fault(operation, Hold(), times=1))
    outcome = run("merge.py", 4, *ROOT, "--timeout", 12, **server.environment())
    assert outcome.returncode == 0, outcome.stderr
    assert server.get("demo", "a/result.txt") == b"".join(
        server.get("demo", f"a/l1/{number}.txt") for number in range(4)
    )


def test_a_wait_between_tries_ends_when_the_store_is_closed(server: OssServer) -> None:
    """Another thread's retries do not go on for their whole timeout once the store is closed."""
    with variables(server.environment()):
        client = OssClient(from_environment("testing", "demo"), "demo", connections=2, timeout=120)
    fault = server.faults.add(Fault("HeadObject", BUSY))
    found: list[BaseException] = []

    def ask() -> None:
        try:
            Objects(client).head("a/l1/0.txt")
        except UnavailableError as error:
            found.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    fault.wait_until_hit()
    client.close()
    thread.join(20)
    assert not thread.is_alive()
    assert len(found) == 1
