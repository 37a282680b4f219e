"""Objects: looked up, read, listed, written and deleted, each operation until it is answered for good."""

import base64
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from http import HTTPStatus

import oss2

from aggregation.errors import IntegrityError, UnavailableError
from aggregation.stores.checksum import Data, crc64_of

from . import answers, listing, marks
from .answers import NoAnswerError, ObjectState, ServiceError
from .client import OssClient
from .interference import ReplacedError
from .listing import Listed

_DELETED_AT_ONCE = 1000
"""Keys of one request: the most that OSS takes."""


class Objects:
    """The objects of a client's bucket. Safe to use from several threads at once.

    Every method raises what OssClient.call does.
    """

    def __init__(self, client: OssClient) -> None:
        self._client = client

    def head(self, key: str) -> ObjectState | None:
        """The object's state; None if there is none."""

        def send() -> ObjectState | None:
            try:
                with self._client.wire.exchange("HEAD", key) as answer:
                    return answers.state(answer.headers)
            except ServiceError as error:
                # A HEAD's code comes in a header that not every answer has.
                absent = error.status == HTTPStatus.NOT_FOUND and error.code in ("", "NoSuchKey")
                if absent and error.request_id:
                    return None
                raise

        return self._client.call("HeadObject", key, send)

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
            with self._client.wire.exchange("GET", key, headers=headers) as answer:
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

        return self._client.call("GetObject", key, send)

    def read(self, key: str, limit: int | None) -> bytes:
        """The first `limit` bytes of an object, and no more of it on the wire; or all of it.

        Raises:
            MissingInputError: there is no such object.
        """

        def send() -> bytes:
            headers = {} if limit is None else {"Range": f"bytes=0-{limit - 1}"}
            with self._client.wire.exchange("GET", key, headers=headers) as answer:
                return answers.body(answer, sys.maxsize if limit is None else limit)

        return self._client.call("GetObject", key, send)

    def list(self, prefix: str, delimiter: str = "/", after: str = "") -> Iterator[Listed]:
        """The objects whose keys begin with `prefix`, 1,000 a request, each page with tries of its own.

        In the order of their keys, those behind `after` only.

        Up to the `delimiter`, the folders that follow are listed in place of what they hold.
        """
        ask = partial(self._client.ask, "ListObjects", prefix, "", "ListBucketResult")
        return listing.objects(ask, prefix, delimiter, after)

    def put(self, doing: str, key: str, data: Data) -> int:
        """Write an object whole. Returns its CRC64, which the service has too. Atomic, idempotent.

        The service compares the data with its MD5 before it publishes. Where the answer has no CRC64, the
        service's proof that it has the data, a HEAD must show the mark that this object alone has.

        Raises:
            UnavailableError: the request was answered as if it had taken place, and it has not.
            IntegrityError: see see_published.
        """
        crc64 = crc64_of(data)
        token = marks.new_token()
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        headers = {**marks.headers(key, token, crc64), "Content-MD5": digest}

        def send() -> int | None:
            with self._client.wire.exchange("PUT", key, headers=headers, data=data) as answer:
                answers.etag(answer.headers)
                return answers.crc64(answer.headers)

        found = self._client.call("PutObject", key, send)
        if found is None:
            state = self.head(key)
            if state is None or (state.token, state.size) != (token, len(data)):
                sending = f"PutObject {self._client.url(key)}"
                raise UnavailableError(sending, "it was answered, and the object is not there", "run again")
            found = state.crc64
        self.see_published(doing, key, crc64, found)
        return crc64

    def see_published(self, doing: str, key: str, expected: int | None, found: int | None) -> None:
        """Look again at an object that the answer to its making gave another CRC64 than is expected.

        What was sent or copied has been compared before, so it is likelier the answer that is wrong.

        Raises:
            IntegrityError: the service says so twice; the object is published.
        """
        if expected is None or found in (None, expected):
            return
        state = self.head(key)
        again = state.crc64 if state else None
        if again != expected:
            why = f"{self._client.url(key)} is published, with CRC64 {again}, not {expected}"
            raise IntegrityError(doing, why, "do not use it before this command has succeeded: run it again")

    def delete(self, key: str) -> None:
        """Delete an object that was made on the way. Idempotent."""
        self._client.tell("DeleteObject", key, {})

    def delete_many(self, keys: Sequence[str]) -> None:
        """Delete objects, 1,000 a request. Idempotent."""
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            self._delete_batch(keys[start : start + _DELETED_AT_ONCE])

    def _delete_batch(self, keys: Sequence[str]) -> None:
        data = oss2.xml_utils.to_batch_delete_objects_request(keys, quiet=False)
        headers = {"Content-MD5": oss2.utils.content_md5(data)}

        def send() -> None:
            params = {"delete": "", "encoding-type": "url"}
            with self._client.wire.exchange("POST", "", params=params, headers=headers, data=data) as answer:
                found = answers.document(answer, "DeleteResult")
                if (deleted := sum(1 for _ in found.iter("Deleted"))) != len(set(keys)):
                    raise NoAnswerError(f"{deleted} of {len(keys)} objects were deleted")

        self._client.call("DeleteMultipleObjects", keys[0], send)


def _is_range(headers: Mapping[str, str], start: int, etag: str) -> bool:
    """Whether a part of an object begins where it was asked for, and is of the state that was asked for."""
    said = headers.get("Content-Range", f"bytes {start}-").startswith(f"bytes {start}-")
    return said and headers.get("ETag", "").strip('"') == etag
