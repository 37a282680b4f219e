"""What the tests of the OSS server share."""

from collections.abc import Iterator
from typing import Any

import oss2
import pytest

from oss_clients import connect, sessions
from oss_server import OssServer


@pytest.fixture
def server() -> Iterator[OssServer]:
    """A server with the bucket `demo`; what the test opens to it is closed."""
    with sessions(), OssServer(["demo"]) as running:
        yield running


@pytest.fixture(params=[oss2.Auth, oss2.AuthV4], ids=["v1", "v4"])
def bucket(request: pytest.FixtureRequest, server: OssServer) -> Any:
    """The bucket `demo` through oss2, once with each signature."""
    return connect(server, request.param(server.access_key_id, server.access_key_secret))
