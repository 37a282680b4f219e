"""The server: what a test holds in its hands, and how connections come to their answers."""

import itertools
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, unquote

from oss_server import control
from oss_server.answering import Answering
from oss_server.body import Body, Extent, Pattern, crc64
from oss_server.counters import Counters
from oss_server.exchange import Dropped, Exchange
from oss_server.faults import Faults
from oss_server.listener import Listener
from oss_server.objects import StoredObject, Upload, opaque_etag
from oss_server.operations import Service
from oss_server.requests import classify
from oss_server.settings import Settings
from oss_server.shaping import Shaper
from oss_server.signing import Account, Accounts, Signed, claimed_key_id
from oss_server.store import Store
from oss_server.wire import Connection, ConnectionLost, Head

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"
ACCESS_KEY_ID = "demo-access-key-id"
ACCESS_KEY_SECRET = "demo-access-key-secret"
REGION = "cn-hangzhou"


class OssServer:
    """An OSS that lives while the `with` block runs, on 127.0.0.1 unless told otherwise.

    Attributes:
        host: The address that it listens on.
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
        host: str = LOOPBACK,
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
            host: The address to listen on; 0.0.0.0 for all, as in a container.
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
        self._shaper = Shaper(self.settings)
        service = Service(self._store, self.settings)
        self._answering = Answering(service, self.accounts, self.settings, self._shaper, region)
        self._control = control.Control(self.counters, self.faults, self.settings)
        self._request_ids = itertools.count(int(time.time()) << 32)
        self._listener = Listener(host, port, self._serve)
        self.host, self.port = self._listener.address
        self.endpoint = f"http://{LOOPBACK if self.host == EVERYWHERE else self.host}:{self.port}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Begin to answer; returns the server."""
        self._listener.start()
        return self

    def close(self) -> None:
        """Stop: end all waiting, close all connections, drop all objects."""
        self._listener.stop_accepting()
        self._shaper.close()
        self.faults.clear()
        self._listener.close()
        self._store.close()

    # For tests in the same process. None of this is counted, delayed or subject to faults.

    @property
    def latency(self) -> float:
        """Seconds added to every request."""
        return self.settings.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self.settings.latency = seconds

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
        now = time.time() + self.settings.clock_offset
        return self.accounts.issue(now + self.settings.credential_seconds)

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

    def _serve(self, connection: Connection) -> None:
        used = False
        try:
            while (head := connection.read_head()) is not None:
                path, _, query = head.target.partition("?")
                if path.startswith(control.PREFIX):
                    going = self._control.serve(connection, head, path)
                else:
                    if not used:
                        used = True
                        self.counters.connection_used()
                    going = self._serve_request(connection, head, path, query)
                if not going:
                    break
        except ConnectionLost:
            pass
        except Dropped:
            connection.reset()

    def _serve_request(self, connection: Connection, head: Head, path: str, query: str) -> bool:
        params = dict(parse_qsl(query, keep_blank_values=True))
        bucket, key = self._split(head.headers.get("host", ""), path)
        operation = classify(head.method, bucket, key, params, head.headers)
        signed = Signed(head.method, bucket, key, params, head.headers)
        ticket = self.counters.begin(claimed_key_id(signed), operation or "NotImplemented")
        try:
            ticket.received(head.size)
            body, faults = connection.body(head), self.faults.pick(operation, key)
            request_id = f"{next(self._request_ids):024X}"
            exchange = Exchange(connection, head, signed, operation, ticket, body, faults, request_id)
            return self._answering.answer(exchange)
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
