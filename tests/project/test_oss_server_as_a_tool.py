"""The OSS server of the tests as a tool: its faults, counters and control, and how it starts and ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anycrc
import oss2
import pytest
import requests
from oss2.models import PartInfo

import oss_server
from oss_clients import connect, refused, send, signed
from oss_server import Answer, Call, Fault, Hold, OssServer, WrongCrc
from oss_server.body import Body, Extent, Pattern

CRC64 = anycrc.Model("CRC64-XZ").calc
GIB = 1 << 30


def test_faults(server: OssServer) -> None:
    """A rule hits the chosen occurrences of the chosen key; others pass."""
    bucket = connect(server)
    fault = server.faults.add(
        Fault("PutObject", Answer(503, "ServiceUnavailable"), key="l1/", skip=1, times=2)
    )
    bucket.put_object("l1/0.txt", b"1")
    for _ in range(2):
        assert refused("ServiceUnavailable", bucket.put_object, "l1/0.txt", b"2").status == 503
    assert server.get("demo", "l1/0.txt") == b"1"
    bucket.put_object("l1/0.txt", b"3")
    bucket.put_object("l2/0.txt", b"1")
    assert (fault.seen, fault.hits) == (4, 2)
    server.faults.add(Fault("PutObject", WrongCrc(), times=1))
    with pytest.raises(oss2.exceptions.InconsistentError):
        bucket.put_object("a", b"data")
    server.faults.add(Fault("UploadPartCopy", Call(lambda name, _: server.put(name, "a", b"new")), times=1))
    upload_id = bucket.init_multipart_upload("m").upload_id
    match = {"x-oss-copy-source-if-match": server.head("demo", "a").etag}
    refused(
        "PreconditionFailed", bucket.upload_part_copy, "demo", "a", None, "m", upload_id, 1, headers=match
    )


@pytest.mark.parametrize(
    "framing", ["Content-Length: 9\r\n\r\nshort", "Transfer-Encoding: chunked\r\n\r\n9\r\nshort"]
)
def test_a_body_cut_short_is_never_published(server: OssServer, framing: str) -> None:
    """Fewer bytes than announced leave the old object as it was."""
    server.put("demo", "a", b"old")
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(server, "PUT", "a").items())
    with socket.create_connection((server.host, server.port)) as sock:
        sock.sendall(f"PUT /demo/a HTTP/1.1\r\nHost: {server.host}\r\n{head}{framing}".encode())
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""
    assert server.get("demo", "a") == b"old"


def test_refused_bodies_and_waiting_ones(server: OssServer) -> None:
    """A refused upload's body is read, so that its answer arrives; one that waits for leave gets it."""
    assert b"AccessDenied" in send(server, "PUT", "/demo/a", {}, bytes(1 << 20))
    assert b"<Code>AccessDenied</Code>" in send(server, "HEAD", "/demo/a", {})
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(server, "PUT", "a").items())
    with socket.create_connection((server.host, server.port)) as sock:
        sock.sendall(f"PUT /a HTTP/1.1\r\nHost: demo.localhost\r\n{head}".encode())
        sock.sendall(b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"data")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    assert server.get("demo", "a") == b"data"


def test_counters(server: OssServer) -> None:
    """Requests and bytes are counted per operation and per client, and how many came at once."""
    bucket, other = connect(server), server.issue_credentials()
    keys = (other.access_key_id, other.access_key_secret, other.security_token)
    theirs = connect(server, oss2.StsAuth(*keys))
    bucket.put_object("a", bytes(1000))
    held = server.faults.add(Fault("GetObject", Hold()))
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(lambda: theirs.get_object("a").read()) for _ in range(4)]
        while server.counters.total.concurrent < 4:
            time.sleep(0.005)
        held.release()
        assert {len(call.result(10)) for call in calls} == {1000}
    counters = server.counters
    puts, gets = counters.operations["PutObject"], counters.operations["GetObject"]
    assert (puts.requests, gets.requests, gets.max_concurrent, counters.connections) == (1, 4, 4, 5)
    assert 1000 < puts.bytes_in < 2000
    assert 4000 < gets.bytes_out < 6000
    assert counters.clients[other.access_key_id].operations["GetObject"].requests == 4
    assert counters.operations["DeleteObject"].requests == counters.clients["nobody"].total.requests == 0
    counters.reset()
    assert (counters.total.requests, counters.connections, counters.clients) == (0, 0, {})


def test_control_endpoint(server: OssServer) -> None:
    """Another process sets faults and switches and reads counters over HTTP, uncounted."""

    def control(method: str, path: str, value: object = None) -> Any:
        data = b"" if value is None else json.dumps(value).encode()
        return json.loads(send(server, method, path, {}, data))

    action = {"kind": "answer", "status": 500, "code": "InternalError"}
    control("POST", "/-/faults", {"operation": "PutObject", "key": "a", "times": 1, "action": action})
    refused("InternalError", connect(server).put_object, "a", b"1")
    rule = control("GET", "/-/faults")[0]
    assert (rule["hits"], rule["action"]["kind"]) == (1, "answer")
    counters = control("GET", "/-/counters")
    assert counters["total"]["requests"] == counters["operations"]["PutObject"]["requests"] == 1
    assert counters["clients"][server.access_key_id]["total"]["requests"] == counters["connections"] == 1
    assert control("POST", "/-/settings", {"latency": 0.01})["latency"] == server.latency == 0.01
    assert control("DELETE", "/-/faults") == []
    control("POST", "/-/reset", {})
    assert server.counters.total.requests == 0
    for path, value in (("faults", {"action": {"kind": "?"}}), ("settings", {"speed": 1}), ("none", {})):
        assert control("POST", f"/-/{path}", value)["error"]


def test_huge_objects_cost_nothing(server: OssServer) -> None:
    """64 GiB made of part copies of a patterned object has the right CRC64 and reads at any offset."""
    bucket, block = connect(server), bytes(range(251))
    server.put_pattern("demo", "source", 16 * GIB, block)
    upload_id = bucket.init_multipart_upload("huge").upload_id
    parts = []
    for number in range(16):
        first = number % 4 * 4 * GIB
        span = (first, first + 4 * GIB - 1)
        copied = bucket.upload_part_copy("demo", "source", span, "huge", upload_id, number + 1)
        parts.append(PartInfo(number + 1, copied.etag))
    done = bucket.complete_multipart_upload("huge", upload_id, parts)
    assert done.crc == Body([Extent(Pattern(block), 0, 16 * GIB)] * 4).crc()
    offset = 40 * GIB + 7
    got = bucket.get_object("huge", (offset, offset + 9)).resp.read()
    assert got == bytes((offset % (16 * GIB) + i) % 251 for i in range(10))


def test_directory_mode(tmp_path: Path) -> None:
    """Large bodies live in files, which go with their objects and with the server."""

    def sizes() -> list[int]:
        return sorted(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())

    with OssServer(directory=tmp_path) as server:
        bucket, data = connect(server), os.urandom(3 << 20)
        bucket.put_object("a", data)
        bucket.put_object("chunked", iter([data, data]))
        bucket.put_object("small", b"in memory")
        assert sizes() == [3 << 20, 6 << 20]
        upload_id = bucket.init_multipart_upload("m").upload_id
        copied = bucket.upload_part_copy("demo", "a", (7, 2 << 20), "m", upload_id, 1)
        bucket.complete_multipart_upload("m", upload_id, [PartInfo(1, copied.etag)])
        bucket.batch_delete_objects(["a", "chunked"])
        assert bucket.get_object("m").read() == data[7 : (2 << 20) + 1]
        bucket.delete_object("m")
        assert sizes() == []
        bucket.put_object("a", data)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_line(number: signal.Signals, tmp_path: Path) -> None:
    """Started by its path it prints lines for a shell, serves, and ends with exit code 0 by a signal."""
    argv = [sys.executable, str(Path(oss_server.__file__).parent), "--bucket", "one", "--bucket", "two"]
    with subprocess.Popen(
        [*argv, "--directory", str(tmp_path), "--latency", "0.001", "--bandwidth", "1e9"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        wanted = "echo $OSS_ENDPOINT $OSS_REGION $OSS_ACCESS_KEY_ID $OSS_ACCESS_KEY_SECRET"
        shell = subprocess.run(
            ["sh", "-c", "".join(lines) + wanted], capture_output=True, text=True, check=True
        )
        endpoint, region, key, secret = shell.stdout.split()
        with requests.Session() as session:
            here = oss2.Session()
            here.session = session
            bucket = oss2.Bucket(oss2.AuthV4(key, secret), endpoint, "two", region=region, session=here)
            assert bucket.put_object("a", b"1").status == 200
        process.send_signal(number)
        assert process.wait(10) == 0
    assert list(tmp_path.iterdir()) == []
