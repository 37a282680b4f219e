"""Clients of the OSS server that share no code with it, and requests made by hand."""

import base64
import hashlib
import hmac
import http.client
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import oss2
import pytest

from oss_server import OssServer


class ClosingSession(oss2.Session):  # type: ignore[misc]
    """A session that can close the answers, too: oss2 leaves some unread, and their sockets open."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Any] = []

    def do_request(self, req: Any, timeout: Any) -> Any:
        """Send a request and remember its answer."""
        answer = super().do_request(req, timeout)
        self.answers.append(answer.response)
        return answer


SESSIONS: list[ClosingSession] = []


@contextmanager
def sessions() -> Iterator[None]:
    """Close in the end what `connect` opened in between."""
    yield
    while SESSIONS:
        session = SESSIONS.pop()
        for answer in session.answers:
            answer.close()
        session.session.close()


def connect(
    server: OssServer, auth: Any = None, *, name: str = "demo", region: str = "", **options: Any
) -> Any:
    """Return an oss2 bucket that uses V4 signatures, or the given auth; `sessions` closes it."""
    auth = auth or oss2.AuthV4(server.access_key_id, server.access_key_secret)
    SESSIONS.append(ClosingSession())
    region = region or server.region
    return oss2.Bucket(auth, server.endpoint, name, region=region, session=SESSIONS[-1], **options)


def refused(code: str, call: Callable[..., object], *args: Any, **options: Any) -> Any:
    """Check that the service refuses a call with this code; return the error."""
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        call(*args, **options)
    assert caught.value.code == code
    return caught.value


def send(server: OssServer, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Send a request as it stands; return the answer's body, or what `x-oss-err` says."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    connection.request(method, path, body, dict(headers))
    answer = connection.getresponse()
    read = answer.read() or base64.b64decode(answer.headers.get("x-oss-err", ""))
    connection.close()
    return read


def signed(server: OssServer, method: str, key: str = "", query: str = "") -> dict[str, str]:
    """Headers with a V4 signature over this canonical query."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = [stamp[:8], server.region, "oss", "aliyun_v4_request"]
    canonical = f"{method}\n/demo/{key}\n{query}\nx-oss-date:{stamp}\n\n\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    secret = ("aliyun_v4" + server.access_key_secret).encode()
    for part in scope:
        secret = hmac.digest(secret, part.encode(), "sha256")
    text = "\n".join(["OSS4-HMAC-SHA256", stamp, "/".join(scope), digest])
    signature = hmac.digest(secret, text.encode(), "sha256").hex()
    credential = "/".join([server.access_key_id, *scope])
    return {
        "x-oss-date": stamp,
        "Authorization": f"OSS4-HMAC-SHA256 Credential={credential},Signature={signature}",
    }
