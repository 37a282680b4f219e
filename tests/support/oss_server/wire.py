"""HTTP/1.1 on a socket: heads and bodies in, bytes out.

Unlike `http.server`, it reads a body straight into the place where it stays, and can reset a connection or
end one within a body.
"""

import io
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from oss_server.errors import OssError

_MAX_LINE = 64 << 10
_LINGER_OFF = b"\x01\0\0\0\0\0\0\0"  # struct linger {1, 0}: close() resets the connection


class ConnectionLost(Exception):  # noqa: N818 - an event, and what the reader of a traceback looks for
    """The client went away within a request."""


@dataclass(frozen=True)
class Head:
    """A request's head.

    Attributes:
        method: Such as `GET`.
        target: Path and query as they came.
        version: Such as `HTTP/1.1`.
        headers: By lower-case name; latin-1.
        size: Bytes of the head.
    """

    method: str
    target: str
    version: str
    headers: Mapping[str, str]
    size: int

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants to send more requests."""
        return self.version == "HTTP/1.1" and self.headers.get("connection", "").lower() != "close"


class Connection:
    """One client's socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._reader = io.BufferedReader(sock.makefile("rb", buffering=0), 64 << 10)

    def read_head(self) -> Head | None:
        """Return the next request's head; None when the client has closed between requests.

        Raises:
            ConnectionLost: It closed within the head, or does not speak HTTP.
        """
        try:
            line = self._reader.readline(_MAX_LINE)
        except OSError as err:
            raise ConnectionLost from err
        if not line:
            return None
        size = len(line)
        words = line.decode("latin-1").split()
        if len(words) != 3 or not line.endswith(b"\r\n"):
            raise ConnectionLost(line)
        headers: dict[str, str] = {}
        while (line := self._line()) != b"\r\n":
            size += len(line)
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return Head(words[0], words[1], words[2], headers, size + 2)

    def body(self, head: Head) -> "BodyReader":
        """Return the reader of the body that follows `head`.

        Raises:
            OssError: 400 for a Content-Length that is no number.
        """
        chunked = head.headers.get("transfer-encoding", "").lower() == "chunked"
        length = head.headers.get("content-length", "0")
        if not length.isdigit():
            raise OssError(400, "InvalidArgument", "Content-Length is not a number.")
        expects = head.headers.get("expect", "").lower() == "100-continue"
        return BodyReader(self, None if chunked else int(length), expects_continue=expects)

    def read_into(self, view: memoryview) -> int:
        """Fill `view` as far as one read goes; returns the bytes read, at least one.

        Raises:
            ConnectionLost: The client has closed.
        """
        try:
            count = self._reader.readinto1(view)
        except OSError as err:
            raise ConnectionLost from err
        if not count:
            raise ConnectionLost("closed within a body")
        return count

    def read_line(self) -> bytes:
        """Return a line of a chunked body's framing.

        Raises:
            ConnectionLost: The client has closed.
        """
        return self._line()

    def send(self, data: bytes | memoryview) -> None:
        """Send bytes.

        Raises:
            ConnectionLost: The client has closed.
        """
        try:
            self._socket.sendall(data)
        except OSError as err:
            raise ConnectionLost from err

    def reset(self) -> None:
        """Close with a TCP reset: the client's next read fails, as when a load balancer dies."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        self.close()

    def shutdown(self) -> None:
        """Wake the thread that reads from or writes to this connection."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close; once more does nothing."""
        self._reader.close()
        self._socket.close()

    def _line(self) -> bytes:
        try:
            line = self._reader.readline(_MAX_LINE)
        except OSError as err:
            raise ConnectionLost from err
        if not line.endswith(b"\n"):
            raise ConnectionLost("closed within a head")
        return line


class BodyReader:
    """Reads one request's body, by its length or chunked.

    Attributes:
        length: Bytes announced; None for a chunked body.
        size: Bytes read so far.
    """

    def __init__(self, connection: Connection, length: int | None, *, expects_continue: bool) -> None:
        self.length = length
        self.size = 0
        self._connection = connection
        self._left = length or 0  # of the body, or of the current chunk
        self._over = length == 0
        self._first_chunk = length is None
        self._expects_continue = expects_continue

    def read_into(self, room: Callable[[int], memoryview], limit: int) -> int:
        """Read up to `limit` bytes into what `room(n)` returns; 0 at the body's end.

        Raises:
            ConnectionLost: The body is shorter than announced.
        """
        if self._expects_continue:
            self._expects_continue = False
            if not self._over:
                self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.length is None and not self._over and not self._left:
            self._next_chunk()
        if self._over:
            return 0
        count = self._connection.read_into(room(min(limit, self._left)))
        self._left -= count
        self.size += count
        if self.length is not None and not self._left:
            self._over = True
        return count

    def read_all(self, limit: int) -> bytes:
        """Return the whole body.

        Raises:
            ConnectionLost: The body is shorter than announced.
            OssError: 400 EntityTooLarge above `limit` bytes.
        """
        data = bytearray()
        block = memoryview(bytearray(64 << 10))
        while count := self.read_into(lambda size: block[:size], len(block)):
            data += block[:count]
            if len(data) > limit:
                raise OssError(400, "EntityTooLarge", f"The document is above {limit} bytes.")
        return bytes(data)

    def drain(self) -> bool:
        """Read the rest and drop it, so that an early answer reaches a client that is still sending.

        Returns:
            Whether the connection can carry another request. It cannot when the client still waits for leave
            to send its body: it may send it or not.

        Raises:
            ConnectionLost: The body is shorter than announced.
        """
        if self._expects_continue and not self._over:
            return False
        block = memoryview(b"")
        while not self._over:
            block = block or memoryview(bytearray(256 << 10))
            self.read_into(lambda size, block=block: block[:size], len(block))  # type: ignore[misc]
        return True

    def _next_chunk(self) -> None:
        if not self._first_chunk:
            self._connection.read_line()
        self._first_chunk = False
        try:
            self._left = int(self._connection.read_line().split(b";")[0], 16)
        except ValueError as err:
            raise ConnectionLost("not a chunk") from err
        if not self._left:
            self._over = True
            while self._connection.read_line() != b"\r\n":
                pass


def response_head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return a status line and headers, ready to send."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}\r\n".encode("latin-1")
