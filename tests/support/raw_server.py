"""A server that answers each request by the bytes that it is given: what OSS says, or anything else."""

import re
import socket
import threading
from contextlib import suppress

ENDLESS = 128 * 1024**2
DATE = "Fri, 27 Nov 2026 10:00:00 GMT"


class RawServer:
    """Answers each request by what `answers` has for its operation; counts the connections."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | list[bytes]] = {}
        self.endless = False
        """Whether an answer goes on for as long as somebody takes it, but for `ENDLESS` bytes."""
        self.sent = 0
        """Bytes beyond the answers."""
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with connection, suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                if not (piece := connection.recv(1 << 16)):
                    return
                request += piece
            head, _, body = request.partition(b"\r\n\r\n")
            found = re.search(rb"content-length: ([0-9]+)", head, re.IGNORECASE)
            left = int(found[1]) - len(body) if found else 0
            while left > 0 and (piece := connection.recv(1 << 16)):
                left -= len(piece)
            answers = self.answers.get(operation(head.decode("latin-1")), GOOD["HEAD"])
            if isinstance(answers, list):  # each in its turn
                answers.append(answers.pop(0))
                answers = answers[-1]
            connection.sendall(answers)
            while self.endless and self.sent < ENDLESS:
                connection.sendall(b"x" * 65_536)
                self.sent += 65_536


def operation(head: str) -> str:
    """What a request asks for, as `GOOD` has it."""
    method, target, *_ = head.split(" ")
    query = target.partition("?")[2]
    if method == "GET":
        kinds = (("uploads", "uploads"), ("uploadId", "parts"), ("prefix", "listing"))
        return next((name for sign, name in kinds if sign in query), "GET")
    if method == "POST":
        kinds = (("delete", "delete"), ("uploads", "initiate"), ("uploadId", "complete"))
        return next((name for sign, name in kinds if sign in query), "POST")
    return "copy" if "x-oss-copy-source:" in head.lower() else method


def answer(
    headers: dict[str, str], body: bytes = b"", status: str = "200 OK", *, length: bool = True
) -> bytes:
    """An answer as it goes over the wire."""
    said = {"x-oss-request-id": "1", "Date": DATE, "ETag": '"e"', **headers, "Connection": "close"}
    if length:
        said = {"Content-Length": str(len(body))} | said
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("utf-8", "replace") + body


def _page(root: str, of: str, **fields: str) -> bytes:
    """A page of a listing with one item."""
    item = "".join(f"<{field}>{value}</{field}>" for field, value in fields.items())
    end = "<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"
    return f'<?xml version="1.0"?><{root}><{of}>{item}</{of}>{end}</{root}>'.encode()


_TIME = "2026-01-01T10:00:00.000Z"
_TEMPORARY = "a/l2/.0.txt.h.1.aggregation000000001.tmp"

BODIES = {
    "listing": _page("ListBucketResult", of="Contents", Key="a/l1/0.txt", Size="1", LastModified=_TIME),
    "uploads": _page(
        "ListMultipartUploadsResult", of="Upload", Key=_TEMPORARY, UploadId="u", Initiated=_TIME
    ),
    "parts": _page("ListPartsResult", of="Part", PartNumber="1", HashCrc64ecma="1"),
    "initiate": b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
    "complete": b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>",
    "copy": b"<CopyPartResult><ETag>e</ETag></CopyPartResult>",
    "delete": b"<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>",
    "HEAD": b"",
    "GET": b"A",
    "PUT": b"",
    "DELETE": b"",
}
GOOD = {name: answer({}, body) for name, body in BODIES.items()} | {"HEAD": answer({"Content-Length": "1"})}
