"""Operations on multipart uploads."""

import time
from urllib.parse import quote
from xml.sax.saxutils import escape

from oss_server import errors
from oss_server.conditions import copied_range
from oss_server.documents import Names, integer, iso, parse, tag, xml_response
from oss_server.errors import OssError
from oss_server.incoming import (
    CRC_HEADER,
    base64_text,
    copy_source,
    crc_header,
    kept_headers,
    read_document,
    receive,
)
from oss_server.objects import Part, Upload, new_upload_id, opaque_etag, quoted_md5
from oss_server.requests import Handlers, Request, Response
from oss_server.settings import Settings
from oss_server.store import Store


class Multiparts:
    """Operations on a multipart upload."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self.handlers: Handlers = {
            "InitiateMultipartUpload": self._initiate_multipart_upload,
            "UploadPart": self._upload_part,
            "UploadPartCopy": self._upload_part_copy,
            "CompleteMultipartUpload": self._complete_multipart_upload,
            "AbortMultipartUpload": self._abort_multipart_upload,
        }

    def _initiate_multipart_upload(self, request: Request) -> Response:
        upload = Upload(
            new_upload_id(),
            request.key,
            time.time(),
            kept_headers(request.headers),
        )
        self._store.start_upload(request.bucket, upload)
        listing = Names(request.params)
        inner = listing.encoding + tag("Bucket", request.bucket) + listing.named("Key", request.key)
        return xml_response("InitiateMultipartUploadResult", inner + tag("UploadId", upload.id))

    def _upload_part(self, request: Request) -> Response:
        number, upload_id = self._part_target(request)
        intake = receive(self._store, request, self._settings.max_part)
        etag = quoted_md5(intake.md5)
        part = Part(number, intake.finish(), etag, intake.crc, copied=False, modified=time.time())
        self._store.add_part(request.bucket, request.key, upload_id, part)
        return Response(
            headers={"ETag": etag, CRC_HEADER: str(intake.crc), "Content-MD5": base64_text(intake.md5)}
        )

    def _upload_part_copy(self, request: Request) -> Response:
        number, upload_id = self._part_target(request)
        source = copy_source(self._store, request)
        if source.kind == "Symlink":
            raise OssError(400, "NotSupported", "UploadPartCopy from a symlink is not supported.")
        if source.kind == "Appendable" and not self._settings.copy_appendable:
            message = "The operation is not supported for this resource"
            raise OssError(400, "OperationNotSupported", message, ResourceType="Appendable")
        first, size = copied_range(request.headers.get("x-oss-copy-source-range"), source.size)
        if size > self._settings.max_part:
            raise errors.entity_too_large(size, self._settings.max_part)
        whole = size == source.size
        body = source.body if whole else source.body.part(first, size)
        crc = source.crc if whole else body.crc()
        etag = opaque_etag(crc, size)
        part = Part(number, body, etag, crc, copied=True, modified=time.time())
        self._store.add_part(request.bucket, request.key, upload_id, part)
        headers = {"ETag": etag} | crc_header(crc, shown=self._settings.crc_on_copies)
        inner = f"<LastModified>{iso(part.modified)}</LastModified><ETag>{escape(etag)}</ETag>"
        return xml_response("CopyPartResult", inner, headers)

    def _complete_multipart_upload(self, request: Request) -> Response:
        wanted = _parse_parts(read_document(request))
        stored = self._store.complete(request.bucket, request.key, request.params["uploadId"], wanted)
        listing = Names(request.params)
        location = f"http://{request.headers.get('host', '')}/{request.bucket}/{quote(request.key)}"
        inner = listing.encoding + tag("Location", location) + tag("Bucket", request.bucket)
        inner += listing.named("Key", request.key) + tag("ETag", stored.etag)
        headers = {"ETag": stored.etag} | crc_header(stored.crc, shown=stored.crc_shown)
        return xml_response("CompleteMultipartUploadResult", inner, headers)

    def _abort_multipart_upload(self, request: Request) -> Response:
        self._store.abort(request.bucket, request.key, request.params["uploadId"])
        return Response(204)

    def _part_target(self, request: Request) -> tuple[int, str]:
        number = integer(request.params, "partNumber", 0, 1, self._settings.max_part_number)
        upload_id = request.params["uploadId"]
        self._store.upload(request.bucket, request.key, upload_id)
        return number, upload_id


def _parse_parts(document: bytes) -> list[tuple[int, str]]:
    root = parse(document, "CompleteMultipartUpload")
    try:
        return [
            (int(node.findtext("PartNumber", "")), node.findtext("ETag", "")) for node in root.findall("Part")
        ]
    except ValueError as err:
        raise errors.malformed_xml() from err
