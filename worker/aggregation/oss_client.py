"""The OSS operations that the worker needs, retried and translated.

oss2 retries no request, so this is the one layer that does: by the table below, with exponential backoff and
jitter, for `timeout` seconds. An error names the operation, the object and the request id; never a secret.
oss2's own CRC64 is off: without its compiled extension it is a hundred times slower than anycrc.
"""

import base64
import contextlib
import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote
from xml.etree import ElementTree as ET  # the answers of the service that the credentials go to

import oss2

from . import stopping
from .errors import (
    AggregationError,
    ConfigurationError,
    MissingInputError,
    RefusedError,
    UnavailableError,
)
from .oss_credentials import Configuration
from .oss_transport import PATIENCE, TRANSPORT_ERRORS, lasting, proxy_of, reason, use_environment

CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0
"""Seconds without a byte of an answer, at most."""

_QUICK_SECONDS = 30.0
"""The same for a first try: a request that stalls is sent again while there is time. Each try gets twice as
long as the one before, since a service may be slow without being stalled."""

_QUICK_LEAST_SECONDS = 2.0

_COPY_RATE = 20 * 1024**2
"""Bytes a second that the service copies at least, as long as it is well: it answers when it has copied."""

_COMPLETE_RATE = 200
"""Parts a second, by the same reasoning."""

_CLEANING_SECONDS = 10.0
_STOPPING_SECONDS = 2.5
"""For how long a request that only cleans up is tried again, and after a signal. A leftover costs little: the
next run but a day removes it."""

_LOOK_SECONDS = 0.1
"""How often a wait looks whether the process is to end."""

_SKEW_SECONDS = 900
"""How far OSS lets this clock be from its own."""

_PAGE = 1000
"""Parts in one answer of a listing: the most that OSS gives."""

_BACKOFF_SECONDS = 0.2
_BACKOFF_MAX_SECONDS = 10.0

RETRIED_STATUSES = frozenset({408, 429})
"""And every status from 500 on."""

RETRIED_CODES = frozenset(
    {
        "ServiceUnavailable",
        "InternalError",
        "RequestTimeout",
        "RequestTimeTooSkewed",  # a node's clock is set right within minutes of its start
        "TotalQpsLimitExceeded",
        "QpsLimitExceeded",
        "UploadTrafficRateLimitExceeded",
        "DownloadTrafficRateLimitExceeded",
        "MetaOperationQpsLimitExceeded",
        "ActiveRequestLimitExceeded",
    }
)

_DENIED_CODES = frozenset({"NoSuchBucket", "InvalidAccessKeyId", "InvalidSecurityToken", "InvalidBucketName"})
_DENIED = "check the bucket in --root, OSS_ENDPOINT, OSS_REGION, the credentials and what they may do"
_TOKEN_HEADER = "x-oss-meta-aggregation-token"  # noqa: S105 - a mark, not a secret
_CRC_HEADER = "x-oss-meta-aggregation-crc64"

Answer = TypeVar("Answer")

logging.getLogger("oss2").addHandler(logging.NullHandler())
"""An error is one line, ours; without a handler Python writes a library's lines to stderr too."""


class ObjectState(NamedTuple):
    """What HEAD says of an object."""

    size: int
    etag: str
    crc64: int | None
    """As the service reports it, which it may not for an object made of copied parts."""
    noted_crc64: int | None
    """As the worker noted it that made the object."""
    appendable: bool
    modified: float
    token: str
    """The mark of the run that made the object; "" if no worker made it."""

    @property
    def known_crc64(self) -> int | None:
        """The CRC64, from whoever knows it."""
        return self.noted_crc64 if self.crc64 is None else self.crc64


class ReplacedError(Exception):
    """A source is no longer what it was when the join began."""


class NoSuchUploadError(Exception):
    """The multipart upload is gone: completed, or aborted by another run."""


class _TruncatedError(Exception):
    """A body ended before its length."""


class OssClient:
    """One bucket. Safe to use from several threads at once.

    `requests` counts what was sent, tries included.
    """

    def __init__(
        self, configuration: Configuration, bucket: str, *, connections: int, timeout: float
    ) -> None:
        self.bucket_name = bucket
        self.requests = 0
        self._timeout = timeout
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._session = _Session(pool_size=connections)
        try:
            self.bucket = _Bucket(configuration, bucket, self._session)
        except oss2.exceptions.ClientError as error:
            raise ConfigurationError(f"opening oss://{bucket}", str(error.body), _DENIED) from error
        url = configuration.endpoint.url(bucket, "")
        use_environment(self._session.session, url)
        proxy = proxy_of(self._session.session, url)
        self._peer = f"{url.split('/')[2]} (OSS_ENDPOINT){f' by the proxy {proxy}' if proxy else ''}"

    def close(self) -> None:
        """Let go of the connections. Requests that wait for their next try give up."""
        self._stopped.set()
        self._session.session.close()

    def head(self, key: str) -> ObjectState | None:
        """The object's state; None if there is none."""

        def send() -> ObjectState | None:
            try:
                result = self.bucket.head_object(key)
            except oss2.exceptions.NotFound as error:
                if error.code == "NoSuchBucket":
                    raise
                return None
            return _state(result.headers)

        return self.call("HeadObject", key, send)

    def get(self, key: str, start: int, size: int, etag: str | None) -> tuple[bytes, ObjectState]:
        """`size` bytes from `start` on, and the object's state; the whole object if `etag` is None.

        Raises:
            ReplacedError: the object has another ETag, or another size than `size` where it is read whole.
            MissingInputError: there is no such object.
        """
        ranged = None if etag is None or size == 0 else (start, start + size - 1)
        headers = {"If-Match": f'"{etag}"'} if etag is not None else {}

        def send() -> tuple[bytes, ObjectState]:
            with self._reading(self.bucket.get_object(key, byte_range=ranged, headers=headers)) as answer:
                length = int(answer.headers["Content-Length"])
                if length != size:
                    raise ReplacedError(key)
                data = b"".join(iter(lambda: answer.resp.read(1 << 20), b""))
                if len(data) != size:
                    raise _TruncatedError(f"{len(data)} of {size} bytes arrived")
                return data, _state(answer.headers)

        return self.call("GetObject", key, send)

    def read(self, key: str, limit: int) -> bytes:
        """The first `limit` bytes of an object, and no more of it on the wire.

        Raises:
            MissingInputError: there is no such object.
        """

        def send() -> bytes:
            with self._reading(self.bucket.get_object(key, byte_range=(0, limit - 1))) as answer:
                return bytes(answer.resp.read())

        return self.call("GetObject", key, send)

    def list(self, folder: str) -> list[dict[str, Any]]:
        """What a folder holds, as fsspec has it: name, type, size, LastModified. "" is the bucket."""
        from .oss_listing import Listing  # noqa: PLC0415 - 100 ms of start-up that most joins need not pay

        def send() -> list[dict[str, Any]]:
            try:
                return list(Listing(self.bucket).ls(f"{self.bucket_name}/{folder}", detail=True))
            except FileNotFoundError as error:
                if isinstance(error.__cause__, oss2.exceptions.OssError):
                    raise error.__cause__ from error
                return []
            except OSError as error:
                if isinstance(error.__cause__, oss2.exceptions.OssError):
                    raise error.__cause__ from error
                raise

        return self.call("ListObjects", folder, send)

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys of all objects that begin with `prefix`, whatever folders they are in; 1,000 a request."""
        marker = ""
        while True:
            send = partial(self.bucket.list_objects, prefix=prefix, marker=marker, max_keys=_PAGE)
            page = self.call("ListObjects", prefix, send)
            yield from (str(entry.key) for entry in page.object_list)
            if not page.is_truncated:
                return
            marker = page.next_marker

    def put(self, key: str, data: bytes, crc64: int, token: str) -> int | None:
        """Write an object whole. Returns the CRC64 that the service computed. Atomic, idempotent.

        The service compares the data with its MD5 before it publishes.
        """
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()

        def send() -> int | None:
            headers = {_TOKEN_HEADER: token, _CRC_HEADER: str(crc64), "Content-MD5": digest}
            with self._reading(self.bucket.put_object(key, data, headers=headers)) as answer:
                return _crc64(answer.headers)

        return self.call("PutObject", key, send)

    def initiate(self, key: str, token: str, crc64: int | None, register: Callable[[str], None]) -> str:
        """Begin a multipart upload; `token` and `crc64` become the object's metadata.

        Its id is handed to `register`, then returned, so that no interruption comes between. A try whose
        answer was lost may have begun one too: such strays are aborted before this returns.
        """
        tries = 0
        headers = {_TOKEN_HEADER: token}
        if crc64 is not None:
            headers[_CRC_HEADER] = str(crc64)

        def send() -> str:
            nonlocal tries
            tries += 1
            return str(self.bucket.init_multipart_upload(key, headers=headers).upload_id)

        began = time.time()
        try:
            upload = self.call("InitiateMultipartUpload", key, send)
            register(upload)
        except BaseException:
            if tries:
                self._abort_strays(key, began, keep="")
            raise
        if tries > 1:
            self._abort_strays(key, began, keep=upload)
        return upload

    def _abort_strays(self, key: str, began: float, keep: str) -> None:
        # A run of the same step on another node may have begun one at the same time. It finds its upload gone
        # and begins again, which costs less than parts that nobody completes and somebody pays for.
        try:
            for upload in self.uploads(key, cleaning=True):
                if upload.key == key and upload.id != keep and upload.began >= began - _SKEW_SECONDS:
                    self.abort(key, upload.id)
        except AggregationError:  # a leftover that `sweep` aborts
            stopping.leave(f"an upload to oss://{self.bucket_name}/{key}")

    def upload_part(self, key: str, upload: str, number: int, data: bytes) -> tuple[str, int | None]:
        """Upload one part. Returns its ETag and the CRC64 that the service computed.

        Raises:
            NoSuchUploadError: the upload is gone.
        """

        def send() -> tuple[str, int | None]:
            with self._reading(self.bucket.upload_part(key, upload, number, data)) as answer:
                return str(answer.etag), _crc64(answer.headers)

        return self.call("UploadPart", key, send)

    def copy_part(
        self, source: str, etag: str, start: int, end: int, key: str, upload: str, number: int
    ) -> tuple[str, int | None]:
        """Let the service copy bytes `start` to `end` (without it) of `source`, which must have that ETag.

        Returns the part's ETag, and its CRC64 where the service says it.

        Raises:
            ReplacedError: the source has another ETag now.
            NoSuchUploadError: the upload is gone.
        """
        headers = {"x-oss-copy-source-if-match": f'"{etag}"'}

        def send() -> tuple[str, int | None]:
            answer = self.bucket.upload_part_copy(
                self.bucket_name, source, (start, end - 1), key, upload, number, headers=headers
            )
            with self._reading(answer):  # oss2 leaves the body unread, which would cost a connection each
                return str(answer.etag), _crc64(answer.headers)

        return self.call("UploadPartCopy", source, send, work=(end - start) / _COPY_RATE)

    def part_checksums(self, key: str, upload: str) -> dict[int, int | None]:
        """The CRC64 of each part that the service holds, by part number; None where it does not say."""
        found: dict[int, int | None] = {}
        marker = ""
        while True:
            page = self.call("ListParts", key, partial(self.bucket.part_list, key, upload, marker))
            for part in page.iter("Part"):
                checksum = part.findtext("HashCrc64ecma")
                found[int(part.findtext("PartNumber") or 0)] = int(checksum) if checksum else None
            if page.findtext("IsTruncated") != "true":
                return found
            marker = page.findtext("NextPartNumberMarker") or ""

    def complete(self, key: str, upload: str, etags: Sequence[str]) -> int | None:
        """Publish the parts as the object. Returns its CRC64 where the service says it.

        Raises:
            NoSuchUploadError: the upload is gone. After a lost answer that may mean that it was completed.
        """
        parts = [oss2.models.PartInfo(number, etag) for number, etag in enumerate(etags, start=1)]

        def send() -> int | None:
            with self._reading(self.bucket.complete_multipart_upload(key, upload, parts)) as answer:
                return _crc64(answer.headers)

        return self.call("CompleteMultipartUpload", key, send, work=len(parts) / _COMPLETE_RATE)

    def abort(self, key: str, upload: str) -> None:
        """Drop a multipart upload and its parts. Idempotent."""
        with contextlib.suppress(NoSuchUploadError):
            self.call(
                "AbortMultipartUpload",
                key,
                lambda: self.bucket.abort_multipart_upload(key, upload),
                cleaning=True,
            )

    def delete(self, key: str) -> None:
        """Delete an object that was made on the way. Idempotent."""
        self.call("DeleteObject", key, lambda: self.bucket.delete_object(key), cleaning=True)

    def delete_many(self, keys: Sequence[str]) -> None:
        """Delete objects, 1,000 a request. Idempotent."""
        for start in range(0, len(keys), _PAGE):
            batch = list(keys[start : start + _PAGE])
            self.call("DeleteMultipleObjects", batch[0], partial(self.bucket.batch_delete_objects, batch))

    class Unfinished(NamedTuple):
        """A multipart upload that was begun and neither completed nor aborted."""

        key: str
        id: str
        began: float

    def uploads(self, prefix: str, *, cleaning: bool = False) -> Iterator[Unfinished]:
        """The unfinished uploads of keys that begin with `prefix`."""
        key_marker = id_marker = ""
        while True:
            page = self.call(
                "ListMultipartUploads",
                prefix,
                partial(
                    self.bucket.list_multipart_uploads,
                    prefix=prefix,
                    key_marker=key_marker,
                    upload_id_marker=id_marker,
                ),
                cleaning=cleaning,
            )
            for found in page.upload_list:
                yield self.Unfinished(found.key, found.upload_id, float(found.initiation_date))
            if not page.is_truncated:
                return
            key_marker, id_marker = page.next_key_marker, page.next_upload_id_marker

    def call(
        self,
        operation: str,
        key: str,
        send: Callable[[], Answer],
        *,
        work: float = 0.0,
        cleaning: bool = False,
    ) -> Answer:
        """Send a request until it is answered for good.

        `work` is how many seconds the service may be busy with it before it answers. What only cleans up is
        tried for less long, and is all that is still sent after a signal.

        Raises:
            AggregationError: the translation of the service's answer; UnavailableError after `timeout`.
            ReplacedError, NoSuchUploadError: what these two answers mean.
        """
        doing = f"{operation} oss://{self.bucket_name}/{key}"
        tries = _Tries(min(self._timeout, _CLEANING_SECONDS) if cleaning else self._timeout, work)
        while True:
            self._go_on(doing, cleaning=cleaning)
            with self._lock:
                self.requests += 1
            try:
                PATIENCE.seconds = tries.patience(cleaning=cleaning)
                return send()
            except _TRANSPORT_ERRORS as error:
                if found := lasting(error):
                    raise ConfigurationError(doing, f"{self._peer}: {found.why}", found.cure) from None
                why = f"{self._peer}: {reason(error)}"
                cause: Exception = error
            except oss2.exceptions.OssError as error:
                if not is_retried(error.status, error.code):
                    raise _translated(error, doing) from error
                why = f"{error.status} {error.code} (request {error.request_id})"
                cause = error
            if not self._wait(tries, cleaning=cleaning):
                raise UnavailableError(
                    doing, f"{why}, for {tries.seconds:g} seconds", "run again, or allow more with --timeout"
                ) from cause

    def _go_on(self, doing: str, *, cleaning: bool) -> None:
        left = stopping.seconds_left()
        if left is not None and not (cleaning and left):
            raise UnavailableError(doing, "the process is to end", "run again")

    def _wait(self, tries: "_Tries", *, cleaning: bool) -> bool:
        """Wait until the next try; False if there is to be none."""
        until = time.monotonic() + tries.pause()
        while (now := time.monotonic()) < until:
            stopped = self._stopped.is_set() or (not cleaning and stopping.seconds_left() is not None)
            if stopped or until > tries.deadline(cleaning=cleaning):
                return False
            self._stopped.wait(min(_LOOK_SECONDS, until - now))
        return True

    @contextlib.contextmanager
    def _reading(self, answer: Any) -> Iterator[Any]:
        """Read an answer to its end, so that its connection serves the next request; close it on failure."""
        try:
            yield answer
            answer.resp.read()
        except BaseException:
            answer.resp.response.close()
            raise


class _Tries:
    """The times of one request: when the next try is sent, and how long its answer may take."""

    def __init__(self, seconds: float, work: float) -> None:
        self.seconds = seconds
        self._began = time.monotonic()
        self._pause = _BACKOFF_SECONDS
        self._patience = work + min(_QUICK_SECONDS, max(_QUICK_LEAST_SECONDS, seconds / 4))
        self._stopping: float | None = None

    def deadline(self, *, cleaning: bool) -> float:
        """When the last try may begin; after a signal, for what cleans up, seconds from the first look."""
        if cleaning and self._stopping is None and stopping.seconds_left() is not None:
            self._stopping = time.monotonic() + _STOPPING_SECONDS
        return min(self._began + self.seconds, self._stopping or float("inf"))

    def patience(self, *, cleaning: bool) -> float:
        """Seconds without a byte that this try is given."""
        given = min(self._patience, READ_SECONDS)
        self._patience *= 2
        if cleaning and stopping.seconds_left() is not None:
            given = min(given, max(0.5, self.deadline(cleaning=True) - time.monotonic()))
        return given

    def pause(self) -> float:
        """Seconds until the next try: exponential, with jitter."""
        wait = self._pause * (0.5 + random.random() / 2)  # noqa: S311 - jitter needs no secrecy
        self._pause = min(2 * self._pause, _BACKOFF_MAX_SECONDS)
        return wait


class _Session(oss2.Session):  # type: ignore[misc]  # oss2 ships no types
    """oss2's session, in which each thread says how long the answer to its next request may take."""

    def do_request(self, req: Any, timeout: Any) -> Any:
        """See oss2."""
        del timeout  # the bucket's, which is one for all
        return super().do_request(req, (min(CONNECT_SECONDS, PATIENCE.seconds), PATIENCE.seconds))


_TRANSPORT_ERRORS = (*TRANSPORT_ERRORS, _TruncatedError)


class _Bucket(oss2.Bucket):  # type: ignore[misc]  # oss2 ships no types
    """oss2's bucket, with our endpoint, and with the one answer that its own parser drops."""

    def __init__(self, configuration: Configuration, name: str, session: _Session) -> None:
        super().__init__(
            configuration.auth(),
            "http://localhost",  # oss2's own reading of an endpoint knows no IPv6, and no bucket in it
            name,
            session=session,
            enable_crc=False,
            region=configuration.region or None,
        )
        self.endpoint = str(configuration.endpoint)
        self._make_url = lambda bucket, key: configuration.endpoint.url(bucket, quote(key, safe=""))

    def part_list(self, key: str, upload: str, after: str) -> ET.Element:
        """ListParts, as it came: its parts' HashCrc64ecma is what oss2 leaves out."""
        params = {"uploadId": upload, "max-parts": str(_PAGE), "part-number-marker": after or "0"}
        answer = self._do("GET", self.bucket_name, key, params=params)
        return ET.fromstring(answer.read())  # noqa: S314 - the service is trusted with the credentials too


def is_retried(status: int, code: str) -> bool:
    """Whether a request that got this answer may be answered otherwise a moment later."""
    return status in RETRIED_STATUSES or status >= 500 or code in RETRIED_CODES  # noqa: PLR2004 - HTTP's own number


def _translated(error: oss2.exceptions.OssError, doing: str) -> Exception:
    where = f"{error.status} {error.code or type(error).__name__} (request {error.request_id})"
    if error.code == "NoSuchUpload":
        return NoSuchUploadError(doing)
    if error.status == 412:  # noqa: PLR2004 - HTTP's own number
        return ReplacedError(doing)
    if error.code == "NoSuchKey":
        return MissingInputError(doing, where, "write the object, or run the step that makes it")
    if error.status < 0:  # oss2's own complaint about what it was given; nothing was sent
        return ConfigurationError(doing, str(error.body), _DENIED)
    denied = error.status in (401, 403) or error.code in _DENIED_CODES
    if denied or "signing region" in error.message:
        return ConfigurationError(doing, where, _DENIED)
    return RefusedError(doing, f"{where}: {error.message}", "look the code up in OSS's documents")


def _crc64(headers: Any) -> int | None:
    value = headers.get("x-oss-hash-crc64ecma")
    return int(value) if value else None


def _state(headers: Any) -> ObjectState:
    noted = headers.get(_CRC_HEADER)
    content_range = headers.get("Content-Range", "")
    size = content_range.rpartition("/")[2] if content_range else headers.get("Content-Length", "0")
    return ObjectState(
        size=int(size),
        etag=headers.get("ETag", "").strip('"'),
        crc64=_crc64(headers),
        noted_crc64=int(noted) if noted else None,
        appendable=headers.get("x-oss-object-type") == "Appendable",
        modified=float(oss2.utils.http_to_unixtime(headers["Last-Modified"])),
        token=headers.get(_TOKEN_HEADER, ""),
    )
