"""HTTP as answers bring it: each way to end a body, over real connections; which of them are used again."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader, ProtocolError

from aggregation.stores.oss.connection import Answer, make_lean
from raw_server import RawServer

HEAD = b"HTTP/1.1 200 OK\r\n"


class Scripted(RawServer):
    """A server that answers each request of a connection by the next of the given bytes, then closes it."""

    def __init__(self, answers: list[bytes]) -> None:
        self.requests: list[bytes] = []
        self._scripted = answers
        super().__init__()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with connection, suppress(OSError):
            while self._scripted:
                request = b""
                while b"\r\n\r\n" not in request:
                    if not (piece := connection.recv(65536)):
                        return
                    request += piece
                head, _, body = request.partition(b"\r\n\r\n")
                length = re.search(rb"Content-Length: (\d+)", head)
                while len(body) < int(length[1] if length else 0):
                    body += connection.recv(65536)
                self.requests.append(head + b"\r\n\r\n" + body)
                for byte in (answer := self._scripted.pop(0))[:40]:  # in pieces, as a network may cut it
                    connection.sendall(bytes([byte]))
                connection.sendall(answer[40:])


Ask = Callable[..., Answer]
Serve = Callable[..., tuple[Scripted, Ask]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a scripted server; gives it, and what asks it over one pool."""
    begun = []
    asked: list[Answer] = []

    def start(*answers: bytes) -> tuple[Scripted, Ask]:
        server = Scripted(list(answers))
        pool = urllib3.HTTPConnectionPool("127.0.0.1", server.port, maxsize=1)
        make_lean(pool)
        begun.append((server, pool))

        def ask(method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
            options = {"redirect": False, "retries": False, "preload_content": False, "timeout": 5.0}
            found = pool.urlopen(method, "/key", body=body, headers=headers, **options)  # type: ignore[arg-type]  # as one dictionary
            assert isinstance(found, Answer)
            asked.append(found)
            return found

        return server, ask

    yield start
    for answer in asked:
        answer.close()
    for server, pool in begun:
        pool.close()
        server.close()


ENDED = [
    pytest.param(HEAD + b"Content-Length: 5\r\n\r\nhello", b"hello", id="length"),
    pytest.param(HEAD + b"Content-Length: 0\r\n\r\n", b"", id="empty"),
    pytest.param(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: t\r\n\r\n",
        b"hello",
        id="chunks",
    ),
    pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"", id="no-chunk"),
    pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", id="204"),
    pytest.param(
        b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 5\r\n\r\nhello", b"hello", id="after-100"
    ),
    pytest.param(b"HTTP/1.1 200\nContent-Length: 5\n\nhello", b"hello", id="bare-line-ends"),
]


@pytest.mark.parametrize(("answer", "body"), ENDED)
def test_a_body_ends_where_it_says_and_its_connection_serves_the_next_request(
    serve: Serve, answer: bytes, body: bytes
) -> None:
    """Each way to say where it ends, read to there, in two requests over one connection."""
    server, ask = serve(answer, HEAD + b"Content-Length: 2\r\n\r\nok")
    first = ask()
    assert (first.read(100), first.read(100)) == (body, b"")
    first.drain()
    assert ask().read(2) == b"ok"
    assert server.connections == 1


def test_the_rest_of_a_body_is_read_before_its_connection_is_used_again(serve: Serve) -> None:
    """A body of which a part is wanted leaves nothing in the next answer's way."""
    server, ask = serve(HEAD + b"Content-Length: 5\r\n\r\nhello", HEAD + b"Content-Length: 2\r\n\r\nok")
    first = ask()
    assert first.read(2) == b"he"
    first.drain()
    assert ask().read(2) == b"ok"
    assert server.connections == 1


def test_head_has_no_body_whatever_its_length(serve: Serve) -> None:
    """The length of HEAD's answer is the object's."""
    server, ask = serve(HEAD + b"Content-Length: 5\r\n\r\n", HEAD + b"Content-Length: 2\r\n\r\nok")
    first = ask("HEAD")
    assert (first.headers["content-length"], first.read(9)) == ("5", b"")
    first.drain()
    assert ask().read(9) == b"ok"
    assert server.connections == 1


NOT_USED_AGAIN = [
    pytest.param(HEAD + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", id="close"),
    pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", id="http-1.0"),
    pytest.param(HEAD + b"Content-Length: 5\r\n\r\nhello, and more", id="more-than-it-says"),
]


@pytest.mark.parametrize("answer", NOT_USED_AGAIN)
def test_a_connection_that_is_not_to_be_trusted_is_not_used_again(serve: Serve, answer: bytes) -> None:
    """What comes beyond an answer would be taken for the next one."""
    server, ask = serve(answer, HEAD + b"Content-Length: 2\r\n\r\nok")
    first = ask()
    assert first.read(100) == b"hello"
    first.drain()
    assert ask().read(2) == b"ok"
    assert server.connections == 2


CUT = [
    pytest.param(HEAD + b"Content-Length: 50\r\n\r\nhello", id="length"),
    pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", id="between-chunks"),
    pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhello", id="within-a-chunk"),
    pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n", id="chunk-too-long"),
    pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\nsome\r\nhello\r\n0\r\n\r\n", id="no-size"),
]


@pytest.mark.parametrize("answer", CUT)
def test_a_body_that_is_cut_is_never_taken_for_whole(serve: Serve, answer: bytes) -> None:
    """The connection ends, or the chunks make no sense, before the body has ended."""
    _, ask = serve(answer)
    with pytest.raises(HTTPError):
        ask().read(100)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-", b"SSH-2.0-x\r\n\r\n"])
def test_no_answer_is_an_error_of_the_connection(serve: Serve, answer: bytes) -> None:
    """Nothing, half a head, another protocol."""
    _, ask = serve(answer)
    with pytest.raises(ProtocolError):
        ask()


def test_headers_are_found_in_any_case_and_joined_where_they_come_twice(serve: Serve) -> None:
    """As HTTP has them."""
    _, ask = serve(HEAD + b'ETag: "a"\r\nx-a: 1\r\nX-A: 2\r\nX-Long: b\r\n  c\r\nContent-Length: 0\r\n\r\n')
    headers = ask().headers
    assert [headers.get(name) for name in ("etag", "ETAG", "X-a", "x-long", "none")] == [
        '"a"',
        '"a"',
        "1, 2",
        "b c",
        None,
    ]


@pytest.mark.parametrize("size", [0, 1, 70_000, 1_000_000])
def test_a_body_arrives_whole(serve: Serve, size: int) -> None:
    """With its head, or in pieces after it."""
    server, ask = serve(HEAD + b"Content-Length: 0\r\n\r\n")
    ask("PUT", bytes(size)).drain()
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert f"Content-Length: {size}".encode() in head
    assert body == bytes(size)


@pytest.mark.parametrize("value", ["a\r\nHost: other", "a\nb", "a\rb"])
def test_a_header_cannot_end_its_line(serve: Serve, value: str) -> None:
    """Nothing is sent then."""
    server, ask = serve(HEAD + b"Content-Length: 0\r\n\r\n")
    with pytest.raises(InvalidHeader):
        ask(Name=value)
    assert not server.requests
