"""STS and an ECS instance's metadata service as a test wants them: whatever answer, one after the other."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from oss_server import Account


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes


class Reply(NamedTuple):
    """An answer; the body goes as JSON unless it is bytes."""

    status: int
    body: object = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    stall: bool = False
    """Send nothing until the server is closed."""
    length: int | None = None
    """What Content-Length says, where it is not true."""


def refused(status: int, code: str) -> Reply:
    """An error of STS or the metadata service."""
    return Reply(status, {"Code": code, "Message": "Said by a test.", "RequestId": "0"})


def fields(account: Account) -> dict[str, str]:
    """An account as these services write it."""
    expires = account.expires or time.time() + 3600
    return {
        "AccessKeyId": account.access_key_id,
        "AccessKeySecret": account.access_key_secret,
        "SecurityToken": account.security_token or "",
        "Expiration": datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Code": "Success",
    }


def granted_by_sts(account: Account) -> Reply:
    """Credentials as STS grants them."""
    return Reply(200, {"Credentials": fields(account)})


def granted_by_metadata(account: Account) -> Reply:
    """Credentials as the metadata service grants them."""
    return Reply(200, fields(account))


class IdentityServer(NamedTuple):
    """Where it listens, and what it was asked."""

    url: str
    asked: list[Asked]


@contextmanager
def identity_server(answer: Callable[[Asked], Reply]) -> Iterator[IdentityServer]:
    """A server that answers as the function says, in several threads at once."""
    asked: list[Asked] = []
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked.append(Asked(self.command, self.path, headers, body))
            reply = answer(asked[-1])
            if reply.stall:
                closing.wait(60)
                return
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content) if reply.length is None else reply.length))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_any  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            del format, args

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            del request, client_address  # a client that left is no error here

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield IdentityServer(f"http://127.0.0.1:{server.server_port}", asked)
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
