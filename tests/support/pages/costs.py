"""What joins cost on OSS, in requests: counted on the server of the tests."""

import subprocess
from collections.abc import Iterator
from typing import NamedTuple

from oss_server import OssServer
from scripts import command, environment

MB = 1_000_000


class Cost(NamedTuple):
    """The requests of one call."""

    call: str
    objects: str
    requests: dict[str, int]
    """By operation."""


_CALLS = [
    ("process.py 0 1", 2, 1, "2 of 1 byte"),
    ("process.py 0 1", 2, 5 * MB, "2 large ones"),
    ("merge.py 100 --level 1", 100, 4096, "100 of 4 KiB"),
    ("merge.py 100 --level 1", 100, MB, "100 of 1 MB"),
]


def requests_of(call: str, count: int, size: int) -> dict[str, int]:
    """The requests of a call by operation, run on `count` new objects of `size` bytes.

    Raises:
        CalledProcessError: the call failed.
    """
    with OssServer(["demo"]) as server:
        for number in range(count):
            server.put("demo", f"a/l1/{number}.txt", bytes(size))
        subprocess.run(
            command(*call.split()),
            env=environment(AGGREGATION_ROOT="oss://demo/a", **server.environment()),
            capture_output=True,
            check=True,
        )
        operations = server.counters.operations
        return {name: tally.requests for name, tally in operations.items() if tally.requests}


def counted() -> Iterator[Cost]:
    """Each call, run once. Raises as `requests_of`."""
    for call, count, size, objects in _CALLS:
        yield Cost(call, objects, requests_of(call, count, size))
