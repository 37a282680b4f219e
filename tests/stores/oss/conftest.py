"""What the tests of OSS share."""

from collections.abc import Iterator

import pytest

from oss_server import OssServer


@pytest.fixture
def server() -> Iterator[OssServer]:
    """A server with two letters to join."""
    with OssServer(["demo"], access_key_id="the-key", access_key_secret="the-secret") as server:
        for number, letter in enumerate([b"a", b"b"]):
            server.put("demo", f"data/l1/{number}.txt", letter)
        yield server
