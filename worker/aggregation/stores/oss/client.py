"""The OSS operations that the worker needs, each sent until it is answered for good.

Nothing below retries, so this is the one layer that does: by the table of `oss_answers`, with exponential
backoff and jitter, for `timeout` seconds. An error names the operation, the object and the request id, and
never a secret.
"""

import base64
import contextlib
import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import TypeVar

import oss2

from aggregation import stopping
from aggregation.errors import AggregationError, ConfigurationError, UnavailableError

from . import answers, listing
from .answers import (
    CRC_HEADER,
    TOKEN_HEADER,
    NoAnswerError,
    NoSuchUploadError,
    ObjectState,
    ReplacedError,
    ServiceError,
)
from .credentials import Configuration
from .listing import Item, Listed, ListedUpload, Read
from .transport import PATIENCE, TRANSPORT_ERRORS, lasting, reason
from .wire import Wire

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

_TOLERANCE_SECONDS = 2.0
"""Between two clocks that are compared by an answer's date, which has whole seconds."""

_DELETED_AT_ONCE = 1000
"""Keys of one request: the most that OSS takes."""

_BACKOFF_SECONDS = 0.2
_BACKOFF_MAX_SECONDS = 10.0

Answer = TypeVar("Answer")

logging.getLogger("oss2").addHandler(logging.NullHandler())
"""An error is one line, ours; without a handler Python writes a library's lines to stderr too."""


class OssClient:
    """One bucket. Safe to use from several threads at once.

    `requests` counts what was sent, tries included.
    """

    def __init__(
        self,
        configuration: Configuration,
        bucket: str,
        *,
        connections: int,
        timeout: float,
        parallel: int = 32,
    ) -> None:
        self.bucket_name = bucket
        self.requests = 0
        self._timeout = timeout
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(parallel)
        self._stopped = threading.Event()
        self._wire = Wire(configuration, bucket, connections)

    def close(self) -> None:
        """Let go of the connections. Requests that wait for their next try give up."""
        self._stopped.set()
        self._wire.close()

    def now(self) -> float:
        """Seconds since the epoch by the service's clock, as its last answer showed it."""
        return time.time() + self._wire.ahead

    def head(self, key: str) -> ObjectState | None:
        """The object's state; None if there is none."""

        def send() -> ObjectState | None:
            try:
                with self._wire.exchange("HEAD", key) as answer:
                    return answers.state(answer.headers)
            except ServiceError as error:
                # A HEAD's code comes in a header that not every answer has.
                absent = error.status == HTTPStatus.NOT_FOUND and error.code in ("", "NoSuchKey")
                if absent and error.request_id:
                    return None
                raise

        return self.call("HeadObject", key, send)

    def get(self, key: str, start: int, size: int, etag: str | None) -> tuple[bytes, ObjectState]:
        """`size` bytes from `start` on, as they are stored, and the object's state.

        The whole object if `etag` is None.

        Raises:
            ReplacedError: the object has another ETag, or another size than `size` where it is read whole.
            MissingInputError: there is no such object.
        """
        headers = {} if etag is None else {"If-Match": f'"{etag}"'}
        ranged = etag is not None and size > 0
        if ranged:
            headers["Range"] = f"bytes={start}-{start + size - 1}"

        def send() -> tuple[bytes, ObjectState]:
            with self._wire.exchange("GET", key, headers=headers) as answer:
                length = answers.number(answer.headers.get("Content-Length"))
                if ranged and answer.status != HTTPStatus.PARTIAL_CONTENT and length != size:
                    raise NoAnswerError(f"{answer.status} without the range that was asked for")
                if length is not None and length != size:
                    raise ReplacedError(key)
                if ranged and not _is_range(answer.headers, start, etag or ""):
                    raise NoAnswerError("another range than was asked for")
                data = answers.body(answer, size + 1)
                if len(data) != size:
                    if length is None and not ranged:
                        raise ReplacedError(key)
                    raise NoAnswerError(f"{len(data)} of {size} bytes arrived")
                return data, answers.state(answer.headers, size)

        return self.call("GetObject", key, send)

    def read(self, key: str, limit: int) -> bytes:
        """The first `limit` bytes of an object, and no more of it on the wire.

        Raises:
            MissingInputError: there is no such object.
        """

        def send() -> bytes:
            headers = {"Range": f"bytes=0-{limit - 1}"}
            with self._wire.exchange("GET", key, headers=headers) as answer:
                return answers.body(answer, limit)

        return self.call("GetObject", key, send)

    def list(self, prefix: str, delimiter: str = "/") -> Iterator[Listed]:
        """The objects whose keys begin with `prefix`, 1,000 a request, each page with tries of its own.

        Up to the `delimiter`, the folders that follow are listed in place of what they hold.
        """
        ask = partial(self._ask, "ListObjects", prefix, "", "ListBucketResult")
        return listing.objects(ask, prefix, delimiter)

    def put(self, key: str, data: bytes, crc64: int, token: str) -> int | None:
        """Write an object whole. Returns the CRC64 that the service computed. Atomic, idempotent.

        The service compares the data with its MD5 before it publishes. `token` is the mark of this object
        alone: where an answer has no CRC64, the service's proof that it has the data, a HEAD must show it.

        Raises:
            UnavailableError: the request was answered as if it had taken place, and it has not.
        """
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        headers = {TOKEN_HEADER: token, CRC_HEADER: str(crc64), "Content-MD5": digest, **_type_of(key)}

        def send() -> int | None:
            with self._wire.exchange("PUT", key, headers=headers, data=data) as answer:
                answers.etag(answer.headers)
                return answers.crc64(answer.headers)

        found = self.call("PutObject", key, send)
        if found is not None:
            return found
        state = self.head(key)
        if state is None or (state.token, state.size) != (token, len(data)):
            doing = f"PutObject oss://{self.bucket_name}/{key}"
            raise UnavailableError(doing, "it was answered, and the object is not there", "run again")
        return state.crc64

    def initiate(self, key: str, token: str, crc64: int | None, register: Callable[[str], None]) -> str:
        """Begin a multipart upload; `token` and `crc64` become the object's metadata.

        Its id is handed to `register`, then returned, so that no interruption comes between. A try whose
        answer was lost may have begun one too: such strays are aborted before this returns.
        """
        tries = 0
        headers = {TOKEN_HEADER: token, **_type_of(key)}
        if crc64 is not None:
            headers[CRC_HEADER] = str(crc64)

        def send() -> str:
            nonlocal tries
            tries += 1
            with self._wire.exchange("POST", key, params={"uploads": ""}, headers=headers) as answer:
                found = answers.document(answer, "InitiateMultipartUploadResult").findtext("UploadId")
                if not found:
                    raise NoAnswerError("no id of an upload")
                return found

        began = time.time()
        try:
            upload_id = self.call("InitiateMultipartUpload", key, send)
            register(upload_id)
        except BaseException:
            if tries:
                self._abort_strays(key, began, keep="")
            raise
        if tries > 1:
            self._abort_strays(key, began, keep=upload_id)
        return upload_id

    def _abort_strays(self, key: str, began: float, keep: str) -> None:
        # A listing shows an upload's key and time only. One into this key since this very second is ours, or
        # of a run of the same step on another node. That run finds its upload gone and begins again, which
        # costs less than parts that nobody completes and somebody pays for.
        try:
            for upload in self.list_uploads(key, cleaning=True):
                since = began + self._wire.ahead - _TOLERANCE_SECONDS
                if upload.key == key and upload.id != keep and upload.began >= since:
                    self.abort(key, upload.id)
        except AggregationError:  # a leftover that the bucket's lifecycle rule aborts
            stopping.leave(f"an upload to oss://{self.bucket_name}/{key}")

    def upload_part(self, key: str, upload_id: str, number: int, data: bytes) -> tuple[str, int | None]:
        """Upload one part. Returns its ETag and the CRC64 that the service computed.

        Raises:
            NoSuchUploadError: the upload is gone.
        """
        params = {"partNumber": str(number), "uploadId": upload_id}

        def send() -> tuple[str, int | None]:
            with self._wire.exchange("PUT", key, params=params, data=data) as answer:
                return answers.etag(answer.headers), answers.crc64(answer.headers)

        return self.call("UploadPart", key, send)

    def copy_part(
        self, source: str, etag: str, start: int, end: int, key: str, upload_id: str, number: int
    ) -> tuple[str, int | None]:
        """Let the service copy bytes `start` to `end` (without it) of `source`, which must have that ETag.

        Returns the part's ETag, and its CRC64 where the service says it.

        Raises:
            ReplacedError: the source has another ETag now.
            NoSuchUploadError: the upload is gone.
        """
        params = {"partNumber": str(number), "uploadId": upload_id}
        headers = {
            "x-oss-copy-source": answers.copy_source(self.bucket_name, source),
            "x-oss-copy-source-range": f"bytes={start}-{end - 1}",
            "x-oss-copy-source-if-match": f'"{etag}"',
        }

        def send() -> tuple[str, int | None]:
            with self._wire.exchange("PUT", key, params=params, headers=headers) as answer:
                found = answers.document(answer, "CopyPartResult").findtext("ETag")
                return answers.etag({"ETag": found or ""}), answers.crc64(answer.headers)

        return self.call("UploadPartCopy", source, send, work=(end - start) / _COPY_RATE)

    def part_checksums(self, key: str, upload_id: str) -> dict[int, int | None]:
        """The CRC64 of each part that the service holds, by part number; None where it does not say."""

        def ask(params: Mapping[str, str], read: Read[Item]) -> Item:
            return self._ask(
                "ListParts", key, key, "ListPartsResult", {"uploadId": upload_id, **params}, read
            )

        return dict(listing.part_checksums(ask))

    def complete(self, key: str, upload_id: str, etags: Sequence[str]) -> int | None:
        """Publish the parts as the object. Returns its CRC64 where the service says it.

        Raises:
            NoSuchUploadError: the upload is gone. After a lost answer that may mean that it was completed.
        """
        parts = [oss2.models.PartInfo(number, etag) for number, etag in enumerate(etags, start=1)]
        data = oss2.xml_utils.to_complete_upload_request(parts)

        def send() -> int | None:
            with self._wire.exchange("POST", key, params={"uploadId": upload_id}, data=data) as answer:
                found = answers.document(answer, "CompleteMultipartUploadResult").findtext("ETag")
                answers.etag({"ETag": found or ""})
                return answers.crc64(answer.headers)

        return self.call("CompleteMultipartUpload", key, send, work=len(parts) / _COMPLETE_RATE)

    def abort(self, key: str, upload_id: str) -> None:
        """Drop a multipart upload and its parts. Idempotent."""
        with contextlib.suppress(NoSuchUploadError):
            self._tell("AbortMultipartUpload", key, {"uploadId": upload_id})

    def delete(self, key: str) -> None:
        """Delete an object that was made on the way. Idempotent."""
        self._tell("DeleteObject", key, {})

    def _tell(self, operation: str, key: str, params: Mapping[str, str]) -> None:
        """Send a DELETE, whose answer says nothing but that it took place."""

        def send() -> None:
            with self._wire.exchange("DELETE", key, params=params):
                pass

        self.call(operation, key, send, cleaning=True)

    def delete_many(self, keys: Sequence[str]) -> None:
        """Delete objects, 1,000 a request. Idempotent."""
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            self._delete_batch(keys[start : start + _DELETED_AT_ONCE])

    def _delete_batch(self, keys: Sequence[str]) -> None:
        data = oss2.xml_utils.to_batch_delete_objects_request(keys, quiet=False)
        headers = {"Content-MD5": oss2.utils.content_md5(data)}

        def send() -> None:
            params = {"delete": "", "encoding-type": "url"}
            with self._wire.exchange("POST", "", params=params, headers=headers, data=data) as answer:
                found = answers.document(answer, "DeleteResult")
                if (deleted := sum(1 for _ in found.iter("Deleted"))) != len(set(keys)):
                    raise NoAnswerError(f"{deleted} of {len(keys)} objects were deleted")

        self.call("DeleteMultipleObjects", keys[0], send)

    def list_uploads(
        self, prefix: str, delimiter: str = "", *, cleaning: bool = False
    ) -> Iterator[ListedUpload]:
        """The unfinished uploads of keys that begin with `prefix`; with a `delimiter`, none in folders."""

        def ask(params: Mapping[str, str], read: Read[Item]) -> Item:
            root = "ListMultipartUploadsResult"
            params = {"uploads": "", **params}
            return self._ask("ListMultipartUploads", prefix, "", root, params, read, cleaning=cleaning)

        return listing.uploads(ask, prefix, delimiter)

    def _ask(
        self,
        operation: str,
        about: str,
        key: str,
        root: str,
        params: Mapping[str, str],
        read: Read[Item],
        *,
        cleaning: bool = False,
    ) -> Item:
        """Send a GET until it is answered by a document with that root element that `read` can read."""

        def send() -> Item:
            with self._wire.exchange("GET", key, params=params) as answer:
                return read(answers.document(answer, root))

        return self.call(operation, about, send, cleaning=cleaning)

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
            try:
                # What cleans up after a signal does not wait for requests that nobody needs any more.
                with contextlib.nullcontext() if cleaning else self._slots:
                    self._go_on(doing, cleaning=cleaning)
                    with self._lock:
                        self.requests += 1
                    PATIENCE.seconds = tries.patience(cleaning=cleaning)
                    return send()
            except TRANSPORT_ERRORS as error:
                if found := lasting(error):
                    raise ConfigurationError(doing, f"{self._wire.peer}: {found.why}", found.cure) from None
                why = f"{self._wire.peer}: {reason(error)}"
                cause: Exception = error
            except ServiceError as error:
                if not answers.is_retried(error.status, error.code):
                    raise answers.translated(error, doing) from error
                why = str(error)
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


def _is_range(headers: Mapping[str, str], start: int, etag: str) -> bool:
    """Whether a part of an object begins where it was asked for, and is of the state that was asked for."""
    said = headers.get("Content-Range", f"bytes {start}-").startswith(f"bytes {start}-")
    return said and headers.get("ETag", "").strip('"') == etag


def _type_of(key: str) -> dict[str, str]:
    """The Content-Type that the key's ending stands for, as oss2 sets it."""
    return dict(oss2.utils.set_content_type({}, key))


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
