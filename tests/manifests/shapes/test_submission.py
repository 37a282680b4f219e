"""--submit, against a server that answers as Argo's does."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from aggregation import errors
from workflows.generated import documents, program, refused


class ArgoServer(ThreadingHTTPServer):
    """Answers as Argo's server does when it creates something, and records what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.requests: list[tuple[str, str, str | None, dict[str, Any]]] = []
        self.refusals: dict[str, tuple[int, str]] = {}


class _Answer(BaseHTTPRequestHandler):
    server: ArgoServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = self.path.split("/")[3]
        self.server.requests.append((self.command, self.path, self.headers["Authorization"], body))
        status, answer = 200, dict(body.get("workflow") or body["template"])
        answer["metadata"] = {**answer["metadata"], "name": "aggregate-x7k2p"}
        text = json.dumps(answer)
        if kind in self.server.refusals:
            status, text = self.server.refusals[kind]
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def argo_server() -> Iterator[ArgoServer]:
    """A server for the length of a test."""
    with ArgoServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_submit_sends_what_would_be_printed() -> None:
    """--submit creates the children's template, then the workflow, with the token, in the namespace."""
    arguments = ("--files", "5000", "--namespace", "tiles", "--memory", "1=1Gi")
    with argo_server() as server:
        done = program(*arguments, "--submit", ARGO_SERVER=server.address, ARGO_TOKEN="Bearer secret")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "aggregate-x7k2p is submitted; watch it with: argo watch -n tiles aggregate-x7k2p\n"
    assert [request[:3] for request in server.requests] == [
        ("POST", "/api/v1/workflow-templates/tiles", "Bearer secret"),
        ("POST", "/api/v1/workflows/tiles", "Bearer secret"),
    ]
    sent = [server.requests[0][3]["template"], server.requests[1][3]["workflow"]]
    assert sent == documents(*arguments)


def test_a_template_that_is_there_already_is_no_error() -> None:
    """A second submission of a shape finds its children's template: it is the same, by its name."""
    with argo_server() as server:
        server.refusals["workflow-templates"] = (409, '{"code": 6, "message": "already exists"}')
        done = program("--files", "5000", "--submit", "--server", server.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(server.requests) == 2


@pytest.mark.filterwarnings("ignore:The `json` method is deprecated")  # which Hera calls
@pytest.mark.parametrize(
    ("status", "body", "exit_code", "line"),
    [
        (401, '{"message": "token not valid"}', 5, "token not valid`; set ARGO_TOKEN"),
        (403, '{"message": "workflows is forbidden"}', 5, "forbidden`; set ARGO_TOKEN"),
        (
            400,
            '{"message": "templates.main is bad"}',
            5,
            "is bad`; check the namespace and the server's version",
        ),
        (503, "busy", 75, "busy`; try again"),
        (404, "{}", 5, "the answer is not a workflow; name an Argo server"),
        (200, "<html>", 5, "the answer is not a workflow; name an Argo server"),
    ],
)
def test_a_refused_submission_is_one_line(
    status: int, body: str, exit_code: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server says becomes an error with its place in the table of exit codes."""
    monkeypatch.setenv("ARGO_TOKEN", "secret")
    with argo_server() as server:
        server.refusals["workflows"] = (status, body)
        error = refused("--files", 8, "--submit", "--server", server.address)
    assert isinstance(error, errors.AggregationError)
    assert error.exit_code == exit_code
    assert line in str(error)
    assert str(error).startswith(f"submitting to {server.address}: ")
    assert "secret" not in str(error)


def test_a_server_that_is_not_there() -> None:
    """Nothing listens: one line, and the exit code of what another try may cure."""
    with argo_server() as server:
        address = server.address
    done = program("--files", "8", "--submit", ARGO_SERVER=address)
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr == (
        f"generate.py: error: submitting to {address}: no answer (ConnectionError); "
        "check ARGO_SERVER, and that the server runs\n"
    )
