"""Multipart uploads: begun, given parts, completed or aborted, each step until it is answered for good."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import oss2

from aggregation import stopping
from aggregation.errors import AggregationError
from aggregation.stores.checksum import Data

from . import answers, listing, marks
from .answers import NoAnswerError
from .client import OssClient
from .interference import NoSuchUploadError
from .listing import ListedUpload

_COPY_RATE = 20 * 1024**2
"""Bytes a second that the service copies at least, as long as it is well: it answers when it has copied."""

_COMPLETE_RATE = 200
"""Parts a second, by the same reasoning."""

_TOLERANCE_SECONDS = 2.0
"""Between two clocks that are compared by an answer's date, which has whole seconds."""


class Uploads:
    """The multipart uploads to a client's bucket. Safe to use from several threads at once.

    Every method raises what OssClient.call does.
    """

    def __init__(self, client: OssClient) -> None:
        self._client = client

    def initiate(self, key: str, token: str, crc64: int | None, register: Callable[[str], None]) -> str:
        """Begin a multipart upload; `token` and `crc64` become the object's metadata.

        Its id is handed to `register`, then returned, so that no interruption comes between. A try whose
        answer was lost may have begun one too: such strays are aborted before this returns.
        """
        tries = 0
        headers = marks.headers(key, token, crc64)

        def send() -> str:
            nonlocal tries
            tries += 1
            with self._client.wire.exchange("POST", key, params={"uploads": ""}, headers=headers) as answer:
                found = answers.document(answer, "InitiateMultipartUploadResult").findtext("UploadId")
                if not found:
                    raise NoAnswerError("no id of an upload")
                return found

        began = time.time()
        try:
            upload_id = self._client.call("InitiateMultipartUpload", key, send)
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
            for upload in self.list(key, cleaning=True):
                since = began + self._client.wire.ahead - _TOLERANCE_SECONDS
                if upload.key == key and upload.id != keep and upload.began >= since:
                    self.abort(key, upload.id)
        except AggregationError:  # a leftover that the bucket's lifecycle rule aborts
            stopping.leave(f"an upload to {self._client.url(key)}")

    def upload_part(self, key: str, upload_id: str, number: int, data: Data) -> tuple[str, int | None]:
        """Upload one part. Returns its ETag and the CRC64 that the service computed.

        Raises:
            NoSuchUploadError: the upload is gone.
        """
        params = {"partNumber": str(number), "uploadId": upload_id}

        def send() -> tuple[str, int | None]:
            with self._client.wire.exchange("PUT", key, params=params, data=data) as answer:
                return answers.etag(answer.headers), answers.crc64(answer.headers)

        return self._client.call("UploadPart", key, send)

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
            "x-oss-copy-source": answers.copy_source(self._client.bucket_name, source),
            "x-oss-copy-source-range": f"bytes={start}-{end - 1}",
            "x-oss-copy-source-if-match": f'"{etag}"',
        }

        def send() -> tuple[str, int | None]:
            with self._client.wire.exchange("PUT", key, params=params, headers=headers) as answer:
                found = answers.document(answer, "CopyPartResult").findtext("ETag")
                return answers.etag({"ETag": found or ""}), answers.crc64(answer.headers)

        return self._client.call("UploadPartCopy", source, send, work=(end - start) / _COPY_RATE)

    def part_checksums(self, key: str, upload_id: str) -> dict[int, int | None]:
        """The CRC64 of each part that the service holds, by part number; None where it does not say."""
        ask = partial(self._client.ask, "ListParts", key, key, "ListPartsResult")
        return dict(listing.part_checksums(ask, upload_id))

    def complete(self, key: str, upload_id: str, etags: Sequence[str]) -> int | None:
        """Publish the parts as the object. Returns its CRC64 where the service says it.

        Raises:
            NoSuchUploadError: the upload is gone. After a lost answer that may mean that it was completed.
        """
        parts = [oss2.models.PartInfo(number, etag) for number, etag in enumerate(etags, start=1)]
        data = oss2.xml_utils.to_complete_upload_request(parts)

        def send() -> int | None:
            with self._client.wire.exchange("POST", key, params={"uploadId": upload_id}, data=data) as answer:
                found = answers.document(answer, "CompleteMultipartUploadResult").findtext("ETag")
                answers.etag({"ETag": found or ""})
                return answers.crc64(answer.headers)

        return self._client.call("CompleteMultipartUpload", key, send, work=len(parts) / _COMPLETE_RATE)

    def abort(self, key: str, upload_id: str) -> None:
        """Drop a multipart upload and its parts. Idempotent."""
        with contextlib.suppress(NoSuchUploadError):
            self._client.tell("AbortMultipartUpload", key, {"uploadId": upload_id})

    def list(self, prefix: str, delimiter: str = "", *, cleaning: bool = False) -> Iterator[ListedUpload]:
        """The unfinished uploads of keys that begin with `prefix`; with a `delimiter`, none in folders."""
        root = "ListMultipartUploadsResult"
        ask = partial(self._client.ask, "ListMultipartUploads", prefix, "", root, cleaning=cleaning)
        return listing.uploads(ask, prefix, delimiter)
