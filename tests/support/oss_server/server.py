"""The server: connections, the way of a request through faults, signatures and operations, and its answer."""

import itertools
import json
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote

from oss_server.body import Body, Extent, Intake, Pattern, crc64
from oss_server.counters import Counters, Ticket
from oss_server.errors import OssError, not_implemented
from oss_server.faults import (
    Answer,
    Call,
    Delay,
    Fault,
    Faults,
    Hold,
    Instead,
    LoseAnswer,
    OmitCrc,
    Reset,
    Truncate,
    WrongCrc,
    fault_from_json,
)
from oss_server.operations import CRC_HEADER, Request, Response, Service, classify
from oss_server.settings import Settings
from oss_server.shaping import Shaper
from oss_server.signing import Account, Accounts, Signed, claimed_key_id, verify
from oss_server.store import Store, StoredObject, Upload, opaque_etag
from oss_server.wire import BodyReader, Connection, ConnectionLost, Head, response_head

ACCESS_KEY_ID = "demo-access-key-id"
ACCESS_KEY_SECRET = "demo-access-key-secret"
REGION = "cn-hangzhou"
_CONTROL = "/-/"
_SMALL = 64 << 10  # bodies up to this size leave in one write with their head
_MAX_DOCUMENT = 8 << 20
_JOIN_SECONDS = 5


@dataclass
class _Exchange:
    """One request on its way."""

    connection: Connection
    head: Head
    signed: Signed
    operation: str
    ticket: Ticket
    body: BodyReader
    faults: list[Fault]
    request_id: str

    @property
    def host(self) -> str:
        return self.head.headers.get("host", "")


class _Dropped(Exception):  # noqa: N818 - not an error: a fault ends the connection without an answer
    """The connection is to be reset now."""


class OssServer:
    """An OSS that lives on 127.0.0.1 while the `with` block runs.

    Attributes:
        host: Always 127.0.0.1.
        port: The port that it listens on.
        endpoint: The URL that clients take as endpoint; path style.
        region: The region that V4 signatures must name.
        settings: Switches and limits; may be changed at any time.
        accounts: Who may sign; the first is the one that the constructor was given.
        faults: Rules that change answers.
        counters: What was asked for.
        access_key_id: Of the first account.
        access_key_secret: Of the first account.
    """

    def __init__(
        self,
        buckets: Iterable[str] = ("demo",),
        *,
        access_key_id: str = ACCESS_KEY_ID,
        access_key_secret: str = ACCESS_KEY_SECRET,
        region: str = REGION,
        directory: Path | None = None,
        port: int = 0,
        settings: Settings | None = None,
    ) -> None:
        """Prepare a server; `start()` or `with` lets it answer.

        Args:
            buckets: Names of the buckets to begin with.
            access_key_id: The account that may sign.
            access_key_secret: Its secret.
            region: For V4 signatures, such as `cn-hangzhou`.
            directory: Where bodies above 64 KiB are kept; None: memory. Nothing outlives the server.
            port: The port to listen on; 0 picks a free one.
            settings: Switches and limits.

        Raises:
            OssError: A bucket's name is invalid.
            OSError: The port is taken, or the directory cannot be written.
        """
        self.access_key_id = access_key_id
        self.access_key_secret = access_key_secret
        self.region = region
        self.settings = settings or Settings()
        self.accounts = Accounts()
        self.accounts.add(Account(access_key_id, access_key_secret))
        self.faults = Faults()
        self.counters = Counters()
        self._store = Store(self.settings, directory)
        for bucket in buckets:
            self._store.create_bucket(bucket)
        self._service = Service(self._store, self.settings)
        self._shaper = Shaper(self.settings)
        self._request_ids = itertools.count(int(time.time()) << 32)
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._threads: set[threading.Thread] = set()
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.host, self.port = self._listener.getsockname()[:2]
        self.endpoint = f"http://{self.host}:{self.port}"
        self._acceptor = threading.Thread(target=self._accept, name="oss-server", daemon=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Begin to answer; returns the server."""
        self._acceptor.start()
        return self

    def close(self) -> None:
        """Stop: end all waiting, close all connections, drop all objects."""
        with self._lock:
            self._closing = True
        # shutdown() wakes accept(); close() alone would leave it waiting for one more client.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._acceptor.ident is not None:
            self._acceptor.join(_JOIN_SECONDS)
        self._shaper.close()
        self.faults.clear()
        with self._lock:
            connections, threads = list(self._connections), list(self._threads)
        for connection in connections:
            connection.shutdown()
        for thread in threads:
            thread.join(_JOIN_SECONDS)
        self._store.close()

    # For tests in the same process. None of this is counted, delayed or subject to faults.

    @property
    def latency(self) -> float:
        """Seconds added to every request."""
        return self.settings.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self.settings.latency = seconds

    @property
    def bandwidth(self) -> float | None:
        """Bytes of object data a second, all connections and both directions together; None: no limit."""
        return self.settings.bandwidth

    @bandwidth.setter
    def bandwidth(self, rate: float | None) -> None:
        self.settings.bandwidth = rate

    def create_bucket(self, bucket: str) -> None:
        """Create a bucket, if it does not exist.

        Raises:
            OssError: The name is invalid.
        """
        self._store.create_bucket(bucket)

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        kind: str = "Normal",
        headers: Mapping[str, str] | None = None,
        modified: float | None = None,
    ) -> StoredObject:
        """Store an object; returns it.

        Args:
            bucket: An existing bucket.
            key: Any key; the service's rules for keys are not checked.
            data: Its bytes.
            kind: `Normal`, `Multipart`, `Appendable` or `Symlink`; the last stands for what it leads to.
            headers: By lower-case name, such as `x-oss-meta-token`.
            modified: Unix time; None: now.

        Raises:
            OssError: NoSuchBucket.
        """
        return self._put(bucket, key, Body.of(data), crc64(data), kind, headers, modified)

    def put_pattern(self, bucket: str, key: str, size: int, block: bytes = b"\0") -> StoredObject:
        """Store an object that repeats `block` up to `size` bytes; takes no memory, so `size` may be any.

        Raises:
            OssError: NoSuchBucket.
            ValueError: `block` is empty.
        """
        body = Body([Extent(Pattern(block), 0, size)])
        return self._put(bucket, key, body, body.crc(), "Normal", None)

    def get(self, bucket: str, key: str) -> bytes:
        """Return an object's bytes.

        Raises:
            OssError: NoSuchBucket or NoSuchKey.
        """
        return self._store.get(bucket, key).body.read()

    def head(self, bucket: str, key: str) -> StoredObject:
        """Return an object: size, ETag, CRC64, kind, headers, body.

        Raises:
            OssError: NoSuchBucket or NoSuchKey.
        """
        return self._store.get(bucket, key)

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object, if it exists.

        Raises:
            OssError: NoSuchBucket.
        """
        self._store.delete(bucket, key)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the keys that start with `prefix`, in order.

        Raises:
            OssError: NoSuchBucket.
        """
        return self._store.keys(bucket, prefix)

    def uploads(self, bucket: str) -> list[Upload]:
        """Return the multipart uploads that are neither complete nor aborted, oldest first.

        Raises:
            OssError: NoSuchBucket.
        """
        return self._store.uploads(bucket)

    def issue_credentials(self) -> Account:
        """Return temporary credentials, valid for `Settings.credential_seconds` on the server's clock."""
        return self.accounts.issue(self._now() + self.settings.credential_seconds)

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a client here."""
        return {
            "OSS_ENDPOINT": self.endpoint,
            "OSS_REGION": self.region,
            "OSS_ACCESS_KEY_ID": self.access_key_id,
            "OSS_ACCESS_KEY_SECRET": self.access_key_secret,
        }

    def _put(
        self,
        bucket: str,
        key: str,
        body: Body,
        crc: int,
        kind: str,
        headers: Mapping[str, str] | None,
        modified: float | None = None,
    ) -> StoredObject:
        stored = StoredObject(
            key,
            body,
            opaque_etag(crc, body.size),
            crc,
            crc_shown=True,
            kind=kind,
            modified=time.time() if modified is None else modified,
            headers={"content-type": "application/octet-stream", **(headers or {})},
        )
        self._store.put(bucket, stored)
        return stored

    # Connections

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            connection = Connection(sock)
            thread = threading.Thread(
                target=self._serve, args=(connection,), name="oss-connection", daemon=True
            )
            with self._lock:
                if self._closing:
                    connection.close()
                    return
                self._connections.add(connection)
                self._threads.add(thread)
            thread.start()

    def _serve(self, connection: Connection) -> None:
        used = False
        try:
            while (head := connection.read_head()) is not None:
                path, _, query = head.target.partition("?")
                if path.startswith(_CONTROL):
                    going = self._serve_control(connection, head, path)
                else:
                    if not used:
                        used = True
                        self.counters.connection_used()
                    going = self._serve_request(connection, head, path, query)
                if not going:
                    break
        except ConnectionLost:
            pass
        except _Dropped:
            connection.reset()
        finally:
            connection.close()
            with self._lock:
                self._connections.discard(connection)
                self._threads.discard(threading.current_thread())

    def _serve_request(self, connection: Connection, head: Head, path: str, query: str) -> bool:
        params = dict(parse_qsl(query, keep_blank_values=True))
        bucket, key = self._split(head.headers.get("host", ""), path)
        operation = classify(head.method, bucket, key, params, head.headers)
        signed = Signed(head.method, bucket, key, params, head.headers)
        ticket = self.counters.begin(claimed_key_id(signed), operation or "NotImplemented")
        try:
            ticket.received(head.size)
            exchange = _Exchange(
                connection,
                head,
                signed,
                operation,
                ticket,
                connection.body(head),
                self.faults.pick(operation, key),
                f"{next(self._request_ids):024X}",
            )
            return self._answer(exchange)
        finally:
            ticket.finish()

    def _split(self, host: str, path: str) -> tuple[str, str]:
        """Return bucket and key of a request by its Host header and its undecoded path."""
        name = host.partition(":")[0]
        if self.settings.bound_bucket:
            bucket, key = self.settings.bound_bucket, path.removeprefix("/")
        elif name.endswith(".localhost"):
            bucket, key = name.removesuffix(".localhost"), path.removeprefix("/")
        else:
            bucket, _, key = path.removeprefix("/").partition("/")
        return unquote(bucket), unquote(key)

    def _answer(self, exchange: _Exchange) -> bool:
        body, faults = exchange.body, exchange.faults
        self._shaper.wait(self.settings.latency)
        try:
            self._act_before(exchange)
            response = self._instead(exchange, after=False) or self._carry_out(exchange)
            self._act_after(exchange, response)
            response = self._instead(exchange, after=True) or response
        except OssError as err:
            response = self._error_response(exchange, err)
        before = body.size
        reusable = body.drain()
        exchange.ticket.received(body.size - before)
        if any(isinstance(fault.action, LoseAnswer) for fault in faults):
            self._note(faults, LoseAnswer)
            raise _Dropped
        return self._send(exchange, response, keep_alive=reusable and exchange.head.keep_alive)

    def _carry_out(self, exchange: _Exchange) -> Response:
        signed, operation = exchange.signed, exchange.operation
        if not operation:  # before the signature, of which V1 covers the parameters of served operations only
            raise not_implemented(f"{signed.method} with {', '.join(signed.params) or 'these headers'}")
        verify(signed, self.accounts, self.region, self._now())
        request = Request(
            signed.method,
            signed.bucket,
            signed.key,
            signed.params,
            signed.headers,
            operation,
            lambda limit: self._read_document(exchange, limit),
            lambda intake: self._receive(exchange, intake),
            exchange.body.length,
        )
        return self._service.carry_out(request)

    def _read_document(self, exchange: _Exchange, limit: int) -> bytes:
        document = exchange.body.read_all(limit)
        exchange.ticket.received(len(document))
        return document

    def _receive(self, exchange: _Exchange, intake: Intake) -> None:
        while count := exchange.body.read_into(intake.room, self._shaper.piece()):
            intake.took(count)
            exchange.ticket.received(count)
            self._shaper.take(count)

    def _now(self) -> float:
        return time.time() + self.settings.clock_offset

    # Faults

    def _act_before(self, exchange: _Exchange) -> None:
        for fault in exchange.faults:
            action = fault.action
            if isinstance(action, Delay):
                fault.reach()
                self._shaper.wait(action.seconds)
            elif isinstance(action, Hold) and not action.after:
                fault.reach()
                fault.wait_for_release()
            elif isinstance(action, Call) and not action.after:
                fault.reach()
                action.function(exchange.signed.bucket, exchange.signed.key)
            elif isinstance(action, Answer):
                fault.reach()
                raise OssError(action.status, action.code, action.message)
            elif isinstance(action, Reset):
                exchange.body.drain()
                fault.reach()
                raise _Dropped

    def _instead(self, exchange: _Exchange, *, after: bool) -> Response | None:
        for fault in exchange.faults:
            action = fault.action
            if isinstance(action, Instead) and action.after == after:
                fault.reach()
                return Response(action.status, dict(action.headers), action.document)
        return None

    def _act_after(self, exchange: _Exchange, response: Response) -> None:
        for fault in exchange.faults:
            action = fault.action
            if isinstance(action, Hold) and action.after:
                fault.reach()
                fault.wait_for_release()
            elif isinstance(action, Call) and action.after:
                fault.reach()
                action.function(exchange.signed.bucket, exchange.signed.key)
            elif isinstance(action, OmitCrc):
                fault.reach()
                response.headers.pop(CRC_HEADER, None)
            elif isinstance(action, WrongCrc) and CRC_HEADER in response.headers:
                fault.reach()
                response.headers[CRC_HEADER] = str(int(response.headers[CRC_HEADER]) ^ 1)

    def _note(self, faults: list[Fault], kind: type[LoseAnswer | Truncate]) -> None:
        for fault in faults:
            if isinstance(fault.action, kind):
                fault.reach()

    # Answers

    def _error_response(self, exchange: _Exchange, error: OssError) -> Response:
        headers = dict(error.headers)
        if exchange.head.method == "HEAD":
            headers["x-oss-err"] = error.header(exchange.request_id, exchange.host)
            return Response(error.status, headers)
        headers["Content-Type"] = "application/xml"
        document = b"" if error.status == 304 else error.document(exchange.request_id, exchange.host)
        return Response(error.status, headers, document)

    def _send(self, exchange: _Exchange, response: Response, *, keep_alive: bool) -> bool:
        connection, ticket = exchange.connection, exchange.ticket
        size = len(response.document) if response.content is None else response.size
        headers = {
            "Server": "AliyunOSS",
            "Date": formatdate(self._now(), usegmt=True),
            "Connection": "keep-alive" if keep_alive else "close",
            "x-oss-request-id": exchange.request_id,
            "Content-Length": str(size),
            **response.headers,
        }
        if not headers["Content-Length"]:  # then the connection's end is the body's
            keep_alive, headers["Connection"] = False, "close"
        head = response_head(response.status, {name: value for name, value in headers.items() if value})
        if response.content is None or exchange.head.method == "HEAD" or response.status == 304:
            data = head if exchange.head.method == "HEAD" else head + response.document
            ticket.sending(len(data))
            ticket.finish()
            connection.send(data)
            return keep_alive
        cut = self._cut(exchange.faults, size)
        self._send_content(exchange, head, response.content, response.offset, size if cut is None else cut)
        return keep_alive and cut is None

    def _cut(self, faults: list[Fault], size: int) -> int | None:
        for fault in faults:
            if isinstance(fault.action, Truncate):
                fault.reach()
                after = fault.action.after
                return size // 2 if after is None else min(after, size)
        return None

    def _send_content(self, exchange: _Exchange, head: bytes, content: Body, offset: int, size: int) -> None:
        connection, ticket, shaper = exchange.connection, exchange.ticket, self._shaper
        left = size
        waiting = head
        if size > _SMALL:
            ticket.sending(len(head))
            connection.send(head)
            waiting = b""
        # A small body leaves with its head: two writes cost a client about 40 ms by its delayed ACK.
        for view in content.pieces(offset, size, shaper.piece()):
            left -= len(view)
            data: bytes | memoryview = waiting + view if waiting or size <= _SMALL else view
            shaper.take(len(view))
            ticket.sending(len(data) if size > _SMALL or not left else 0)
            if size <= _SMALL and left:
                waiting = bytes(data)
                continue
            waiting = b""
            if not left:
                ticket.finish()
            connection.send(data)
        if waiting:
            ticket.sending(len(waiting))
            ticket.finish()
            connection.send(waiting)

    # Control

    def _serve_control(self, connection: Connection, head: Head, path: str) -> bool:
        try:
            text = connection.body(head).read_all(_MAX_DOCUMENT)
            value = json.loads(text) if text else {}
            status, answer = self._control(head.method, path, value)
        except (OssError, ValueError, TypeError) as err:
            status, answer = 400, {"error": str(err)}
        data = json.dumps(answer, indent=2).encode() + b"\n"
        headers = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        connection.send(response_head(status, headers) + data)
        return head.keep_alive

    def _control(self, method: str, path: str, value: dict[str, Any]) -> tuple[int, Any]:
        command = f"{method} {path}"
        if command == "GET /-/counters":
            return 200, self.counters.as_json()
        if command == "POST /-/reset":
            self.counters.reset()
            self.faults.clear()
        elif command == "POST /-/faults":
            self.faults.add(fault_from_json(value))
        elif command == "DELETE /-/faults":
            self.faults.clear()
        elif command == "POST /-/settings":
            self._change_settings(value)
        if path == "/-/faults":
            return 200, self.faults.as_json()
        if path in ("/-/settings", "/-/reset"):
            return 200, asdict(self.settings) if path == "/-/settings" else {}
        return 404, {"error": f"no {command}"}

    def _change_settings(self, value: dict[str, Any]) -> None:
        known = {field.name for field in fields(Settings)}
        if unknown := value.keys() - known:
            raise ValueError(
                f"no settings: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}"
            )
        for name, setting in value.items():
            setattr(self.settings, name, setting)
