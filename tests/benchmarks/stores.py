"""Cases on OSS: against the server of the tests in a process of its own, at once and as slow as a network."""

import contextlib
import json
import shlex
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import oss2

from benchmarks.case import (
    HERE,
    KIB,
    MIB,
    Case,
    Command,
    Gauge,
    Options,
    Quantity,
    Target,
    rival,
    size_text,
)
from benchmarks.volumes import MERGE, WORKER

STREAMING = "GET and PUT, oss2"
ONE_BY_ONE = "GET one after the other, oss2"
SHAPES: dict[str, dict[str, float | None]] = {
    "20 ms, 50 MB/s": {"latency": 0.02, "bandwidth": 50e6},
    "20 ms": {"latency": 0.02, "bandwidth": None},
    "unshaped": {"latency": 0.0, "bandwidth": None},
}
_BUCKET = "demo"
SERVER = HERE.parent / "support" / "oss_server"


class Server:
    """The server, seen from another process."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = variables
        self._endpoint = variables["OSS_ENDPOINT"]
        keys = oss2.Auth(variables["OSS_ACCESS_KEY_ID"], variables["OSS_ACCESS_KEY_SECRET"])
        self._bucket = oss2.Bucket(keys, self._endpoint, _BUCKET, enable_crc=False)
        self.gauge = Gauge(lambda: self._ask("reset", {}), self._traffic)

    def url(self, prefix: str) -> str:
        """The root of a case."""
        return f"oss://{_BUCKET}/{prefix}"

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        self._bucket.put_object(key, data)

    def shape(self, name: str) -> None:
        """Be as slow as SHAPES says."""
        self._ask("settings", SHAPES[name])

    def _ask(self, what: str, body: object) -> None:
        request = urllib.request.Request(f"{self._endpoint}/-/{what}", json.dumps(body).encode())
        urllib.request.urlopen(request).close()

    def _traffic(self) -> dict[Quantity, float]:
        with urllib.request.urlopen(f"{self._endpoint}/-/counters") as answer:
            total = json.load(answer)["total"]
        return {"requests": total["requests"], "up": total["bytes_in"], "down": total["bytes_out"]}


@contextmanager
def oss_server(folder: Path) -> Iterator[Server]:
    """A server that keeps its objects below the folder."""
    with tempfile.TemporaryDirectory(dir=folder) as objects, contextlib.ExitStack() as stack:
        serving = stack.enter_context(
            subprocess.Popen(
                [sys.executable, SERVER, "--directory", objects, "--bucket", _BUCKET],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
        stack.callback(serving.terminate)
        assert serving.stdout is not None
        # It prints `export NAME=VALUE` for each of these.
        lines = [next(serving.stdout).removeprefix("export ") for _ in range(4)]
        variables = dict(shlex.split(line)[0].split("=", 1) for line in lines)
        yield Server(variables)


def oss(options: Options) -> Generator[Case]:
    """Two large objects, and many small ones."""
    size = (8 if options.quick else 64) * MIB
    many = 1000
    with oss_server(options.folder) as server:
        for number in range(2):
            server.put(f"large/l1/{number}.txt", bytes(size))
        for count in (100,) if options.quick else (100, many):
            for number in range(count):
                server.put(f"small-{count}/l1/{number}.txt", bytes(4 * KIB))
        for shape in ("20 ms, 50 MB/s", "unshaped"):
            server.shape(shape)
            yield _two(options, server, f"2 x {size_text(size)}, {shape}")
        yield _one_get(options, server)
        yield _many(options, server, 100, f"100 x 4 KiB, {shape}", 1)
        if options.quick:
            return
        yield _many(options, server, many, f"{many:,} x 4 KiB, {shape}", 2)
        server.shape("20 ms")
        yield _many(options, server, many, f"{many:,} x 4 KiB, 20 ms", 25)


def _two(options: Options, server: Server, title: str) -> Case:
    keys = ["large/l1/0.txt", "large/l1/1.txt", "large/l2/0.txt"]
    worker = options.script("process.py", "0", "1", "--root", server.url("large"))
    rivals = {STREAMING: "stream", "one part a file, as s3fs.merge": "parts", "ossfs": "ossfs"}
    return Case(
        f"oss: {title}",
        [
            Command(WORKER, worker, server.variables),
            *(Command(name, rival("over_oss", way, *keys), server.variables) for name, way in rivals.items()),
        ],
        STREAMING,
        2 if options.quick else 3,
        lambda: None,
        lambda: None,
        [Target(f"{title}: at most 6 requests", WORKER, at_most=6, quantity="requests")],
        gauge=server.gauge,
        drawn="ms" in title,
    )


def _one_get(options: Options, server: Server) -> Case:
    """What a small request costs the client's CPU, in one thread and past the imports."""
    variables = {**server.variables, "PYTHONPATH": str(options.worker)}
    ways = {WORKER: "worker", "get_object, oss2": "oss2"}
    title = "GET of 4 KiB, CPU time of a thousand"
    return Case(
        f"oss: {title}",
        [
            Command(name, rival("gets", way, "1000", "small-100/l1/0.txt"), variables, inside=True)
            for name, way in ways.items()
        ],
        "get_object, oss2",
        5,
        lambda: None,
        lambda: None,
        [Target(f"{title}: at most 0.5 x get_object's", WORKER, "get_object, oss2", at_most=0.5)],
        drawn=False,
    )


def _many(options: Options, server: Server, count: int, title: str, faster: int) -> Case:
    """Small objects, all that their level holds, and how many times faster than one by one that has to be."""
    worker = options.script("merge.py", str(count), "--root", server.url(f"small-{count}"))
    keys = [f"small-{count}/l1/{number}.txt" for number in range(count)]
    argv = rival("over_oss", "one-by-one", *keys, f"small-{count}/result.txt")
    is_slow = "ms" in title
    if faster == 1:
        target = Target(f"{title}: no slower than one by one", MERGE, ONE_BY_ONE, at_most=1)
    else:
        promise = f"{title}: at least {faster} times faster than one by one"
        target = Target(promise, MERGE, ONE_BY_ONE, at_least=faster)
    return Case(
        f"oss: {title}",
        [
            Command(MERGE, worker, server.variables),
            Command(ONE_BY_ONE, argv, server.variables, once=is_slow),
        ],
        ONE_BY_ONE,
        2 if options.quick else 5,
        lambda: None,
        lambda: None,
        [target],
        server.gauge,
        drawn=is_slow,
    )
