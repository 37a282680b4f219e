"""HTTP/1.1 on the connections that urllib3 opens: a request sent in one piece, its answer's head read in one.

urllib3 keeps what is hard: the pool, proxies, TLS, timeouts, the names of errors. What http.client and email
add to each request, and urllib3 to each answer, is four fifths of the CPU time of a small GET.
"""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.client import BadStatusLine, HTTPException, LineTooLong, RemoteDisconnected
from typing import Any

from urllib3.exceptions import HTTPError, IncompleteRead, InvalidHeader, ProtocolError

from aggregation.stores.checksum import Data

_RECEIVED = 256 * 1024
"""Bytes asked for of the socket at a time."""

_RECEIVED_FIRST = 16 * 1024
"""The same for the head, with which a small body comes: the C library maps memory for more, each time."""

_SENT_TOGETHER = 64 * 1024
"""Bytes of a body that leave with its head: two small packets may wait for each other's receipt."""

_SENT = 256 * 1024
"""Bytes handed to the socket at a time: its timeout is for each of these, not for the whole body."""

_DRAINED_MAX = 4 * 1024 * 1024
"""Bytes of a body that nobody wants, read for the sake of the connection. More may never end."""

_HEADS_MAX = 16
"""Heads of an answer: the last one, and those before it (100 Continue)."""

_HEAD_MAX = 256 * 1024
_LINE_MAX = 64 * 1024

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: .*)?")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})\s*(?:;.*)?")

_WITHOUT_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class Headers(Mapping[str, str]):
    """The headers of an answer; case does not matter, and what comes twice is joined by a comma."""

    def __init__(self, lines: list[bytes]) -> None:
        self._found: dict[str, str] = {}
        name = ""
        for line in lines:
            if name and line[:1] in b" \t":  # goes on, as it may in HTTP/1.0
                self._found[name] = f"{self._found[name]} {line.decode('latin-1').strip()}"
                continue
            key, _, value = line.decode("latin-1").partition(":")
            name, value = key.lower(), value.strip()
            before = self._found.get(name)
            self._found[name] = value if before is None else f"{before}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._found[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class Answer:
    """An answer whose head has been read, and its body as it arrives.

    Every method but `close` raises what a socket and HTTP can: OSError, HTTPException, urllib3's HTTPError.
    """

    version_string = "HTTP/1.1"
    retries: object = None
    _connection: Any = None
    _pool: Any = None
    # urllib3's pool reads or sets these four.

    def __init__(self, sock: Any, method: str) -> None:
        self._sock = sock
        self._ahead = b""
        self._reused = True
        self._arrived = 0
        for _ in range(_HEADS_MAX):
            minor, self.status, self.headers = self._head()
            if self.status >= HTTPStatus.OK:  # else an answer follows
                break
        else:
            raise ProtocolError("an answer that only says that one follows")
        self._chunked = False
        self.length_remaining: int | None = 0
        """Bytes of the body, or of its chunk, that are still to come; None: up to the connection's end."""
        self._frame(method)
        said = self.headers.get("Connection", "").lower()
        if "close" in said or (minor == b"0" and "keep-alive" not in said):
            self._reused = False

    def read(self, most: int) -> bytes:
        """The next bytes of the body, as they are sent: as many as `most` unless it ends before."""
        pieces = []
        while most and (piece := self._some(most)):
            pieces.append(piece)
            most -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def drain(self) -> None:
        """Read the rest and give the connection back, for the next request; one that fails is closed."""
        left = _DRAINED_MAX
        try:
            while left > 0 and (piece := self._some(_RECEIVED)):
                left -= len(piece)
        except (OSError, HTTPException, HTTPError):
            self._reused = False
        self._give_back()

    def close(self) -> None:
        """End the connection: nobody wants what is still to come."""
        self._reused = False
        self._give_back()

    def _give_back(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        # What came beyond the answer belongs to no request of ours.
        if not self._reused or self._ahead or self.length_remaining != 0 or self._chunked:
            connection.close()
        self._pool._put_conn(connection)  # noqa: SLF001 - as urllib3's own answers do

    def _head(self) -> tuple[bytes, int, Headers]:
        while (end := _HEAD_END.search(self._ahead)) is None:
            if len(self._ahead) > _HEAD_MAX:
                raise LineTooLong("header")
            piece = self._sock.recv(_RECEIVED_FIRST)
            if not piece and self._ahead:
                raise IncompleteRead(len(self._ahead), 1)
            if not piece:
                raise RemoteDisconnected("Remote end closed connection without response")
            self._ahead += piece
        first, *lines = self._ahead[: end.start()].splitlines() or [b""]
        self._ahead = self._ahead[end.end() :]
        match = _STATUS_LINE.fullmatch(first)
        if match is None:
            raise BadStatusLine(repr(first[:80]))
        return match[1], int(match[2]), Headers(lines)

    def _frame(self, method: str) -> None:
        """Find out how the body's end is known."""
        if method == "HEAD" or self.status in _WITHOUT_BODY:
            return
        length = self.headers.get("Content-Length")
        if self.headers.get("Transfer-Encoding", "identity").lower() != "identity":
            self._chunked = True
        elif length is not None and length.isascii() and length.isdigit() and len(length) < 20:  # noqa: PLR2004 - the digits of 2**64
            self.length_remaining = int(length)
        else:
            self.length_remaining = None
            self._reused = False

    def _some(self, most: int) -> bytes:
        """Some bytes of the body; none at its end."""
        if self._chunked and self.length_remaining == 0:
            self._next_chunk()
        left = self.length_remaining
        if left == 0:
            return b""
        most = most if left is None else min(most, left)
        if self._ahead:
            piece, self._ahead = self._ahead[:most], self._ahead[most:]
        else:
            piece = self._sock.recv(min(most, _RECEIVED))
        self._arrived += len(piece)
        if left is not None:
            if not piece:
                raise IncompleteRead(self._arrived, left)
            self.length_remaining = left - len(piece)
        return piece

    def _next_chunk(self) -> None:
        """Read up to the next chunk; after the last one to the end of the message."""
        if self._arrived and self._line():
            raise ProtocolError("a chunk that is longer than it says")
        match = _CHUNK_SIZE.fullmatch(self._line())
        if match is None:
            raise ProtocolError("a chunk without its size")
        self.length_remaining = int(match[1], 16)
        if not self.length_remaining:
            while self._line():
                pass
            self._chunked = False

    def _line(self) -> bytes:
        while b"\n" not in self._ahead:
            if len(self._ahead) > _LINE_MAX:
                raise LineTooLong("chunk")
            piece = self._sock.recv(_RECEIVED)
            if not piece:
                raise IncompleteRead(self._arrived, 1)
            self._ahead += piece
        line, _, self._ahead = self._ahead.partition(b"\n")
        return line.removesuffix(b"\r")


class _Lean:
    """A connection of urllib3's that writes requests and reads answers by itself."""

    sock: Any
    timeout: float | None
    connect: Any
    _method = ""

    def request(
        self, method: str, url: str, body: Data | None, headers: Mapping[str, str], **_: object
    ) -> None:
        """Send a request; the headers are all that it has, but for the length of its body.

        Raises:
            InvalidHeader: a header's value would end its line.
            OSError: the connection cannot be made, or has ended.
        """
        if self.sock is None:
            self.connect()  # else it has the timeout of its last answer
        self._method = method
        fields = dict(headers)
        if body is not None or method in ("PUT", "POST"):
            fields["Content-Length"] = str(len(body or b""))
        values = "".join(fields.values())
        if "\n" in values or "\r" in values:
            raise InvalidHeader("a value of more than one line")
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        head = f"{method} {url} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
        rest = memoryview(body or b"")
        if len(rest) <= _SENT_TOGETHER:
            head, rest = head + rest, rest[:0]
        self.sock.sendall(head)
        for start in range(0, len(rest), _SENT):
            self.sock.sendall(rest[start : start + _SENT])

    def getresponse(self) -> Answer:
        """The head of the answer."""
        if self.sock.gettimeout() != self.timeout:
            self.sock.settimeout(self.timeout)  # a call of the system, even where nothing changes
        return Answer(self.sock, self._method)


def make_lean(pool: Any) -> None:
    """Let a pool of urllib3's open connections whose requests and answers are ours."""
    kind = pool.ConnectionCls
    pool.ConnectionCls = type(f"Lean{kind.__name__}", (_Lean, kind), {})
