"""The operations of the service: what each request does, and what it answers."""

import base64
import binascii
import hashlib
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from oss_server import errors
from oss_server.body import Body, Intake
from oss_server.errors import OssError
from oss_server.settings import Settings
from oss_server.signing import Signed
from oss_server.store import (
    Entry,
    Part,
    Store,
    StoredObject,
    Upload,
    check_key,
    new_upload_id,
    opaque_etag,
    quoted_md5,
)

CRC_HEADER = "x-oss-hash-crc64ecma"
_OWNER = "<Owner><ID>1000000000000001</ID><DisplayName>1000000000000001</DisplayName></Owner>"
_MAX_DOCUMENT = 8 << 20  # 10,000 parts take about 1 MB
_KEPT_HEADERS = frozenset(
    [
        "content-type",
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "expires",
    ]
)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_COPY_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_BUCKET_OPERATIONS = {
    "GET": [
        ("bucketInfo", "GetBucketInfo"),
        ("uploads", "ListMultipartUploads"),
        ("list-type", "ListObjectsV2"),
        ("", "ListObjects"),
    ],
    "POST": [("delete", "DeleteMultipleObjects")],
}
_OBJECT_OPERATIONS = {
    "PUT": [("uploadId", "UploadPart"), ("", "PutObject")],
    "GET": [("uploadId", "ListParts"), ("", "GetObject")],
    "HEAD": [("objectMeta", "GetObjectMeta"), ("", "HeadObject")],
    "POST": [
        ("append", "AppendObject"),
        ("uploads", "InitiateMultipartUpload"),
        ("uploadId", "CompleteMultipartUpload"),
    ],
    "DELETE": [("uploadId", "AbortMultipartUpload"), ("", "DeleteObject")],
}
_COPIES = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}
_BUCKET_TAGS = ("ExtranetEndpoint", "IntranetEndpoint", "Location", "StorageClass")
# fmt: off
_PARAMETERS = frozenset([
    "append", "bucketInfo", "continuation-token", "delete", "delimiter", "encoding-type", "fetch-owner",
    "key-marker", "list-type", "marker", "max-keys", "max-parts", "max-uploads", "objectMeta",
    "part-number-marker", "partNumber", "position", "prefix", "start-after", "upload-id-marker", "uploadId",
    "uploads",
])
# A condition that is ignored would let through what the service refuses.
_CONDITIONS = frozenset([
    "if-modified-since", "if-none-match", "if-unmodified-since", "x-oss-complete-all",
    "x-oss-copy-source-if-modified-since", "x-oss-copy-source-if-none-match",
    "x-oss-copy-source-if-unmodified-since", "x-oss-forbid-overwrite",
])
# fmt: on


@dataclass(frozen=True)
class Request(Signed):
    """A request to an operation.

    Attributes:
        operation: Its name.
        read_document: Returns a small body; raises above the given size in bytes.
        receive: Moves an object's body into an intake.
        length: The body's announced length; None for a chunked one.
    """

    operation: str
    read_document: Callable[[int], bytes]
    receive: Callable[[Intake], None]
    length: int | None


@dataclass
class Response:
    """An answer.

    Attributes:
        status: The HTTP status.
        headers: All but those that every answer has; an empty one leaves one of those out.
        document: A small body.
        content: An object's bytes to send, in place of a document.
        offset: Where in `content` to begin.
        size: How many bytes of `content`.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    document: bytes = b""
    content: Body | None = None
    offset: int = 0
    size: int = 0


def classify(
    method: str, bucket: str, key: str, params: Mapping[str, str], headers: Mapping[str, str]
) -> str:
    """Return the name of the operation that a request asks for; empty for one that this server lacks."""
    if not bucket or params.keys() - _PARAMETERS or _CONDITIONS & headers.keys():
        return ""
    table = _OBJECT_OPERATIONS if key else _BUCKET_OPERATIONS
    name = next((name for param, name in table.get(method, []) if not param or param in params), "")
    return _COPIES.get(name, name) if "x-oss-copy-source" in headers else name


class Service:
    """Carries out operations on a store. Signatures are checked before."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._handlers: dict[str, Callable[[Request], Response]] = {
            "GetBucketInfo": self._get_bucket_info,
            "ListObjects": self._list_objects,
            "ListObjectsV2": self._list_objects_v2,
            "DeleteMultipleObjects": self._delete_multiple_objects,
            "PutObject": self._put_object,
            "CopyObject": self._copy_object,
            "AppendObject": self._append_object,
            "GetObject": self._get_object,
            "HeadObject": self._head_object,
            "GetObjectMeta": self._get_object_meta,
            "DeleteObject": self._delete_object,
            "InitiateMultipartUpload": self._initiate_multipart_upload,
            "UploadPart": self._upload_part,
            "UploadPartCopy": self._upload_part_copy,
            "CompleteMultipartUpload": self._complete_multipart_upload,
            "AbortMultipartUpload": self._abort_multipart_upload,
            "ListParts": self._list_parts,
            "ListMultipartUploads": self._list_multipart_uploads,
        }

    def carry_out(self, request: Request) -> Response:
        """Do what the request asks for.

        Raises:
            OssError: The answer is an error.
        """
        if request.key:
            check_key(request.key)
        return self._handlers[request.operation](request)

    # Listings

    def _get_bucket_info(self, request: Request) -> Response:
        # ossfs asks only whether there is a bucket; oss2 wants to read all of this.
        name = self._store.bucket(request.bucket).name
        inner = "".join(_tag(tag, "-") for tag in _BUCKET_TAGS)
        inner += f"<CreationDate>{_iso(0)}</CreationDate><Name>{name}</Name>{_OWNER}"
        inner += "<AccessControlList><Grant>private</Grant></AccessControlList>"
        return _document("BucketInfo", f"<Bucket>{inner}</Bucket>")

    def _list_objects(self, request: Request) -> Response:
        params = request.params
        marker, listing = params.get("marker", ""), _Listing(params)
        limit = _number(params, "max-keys", 100, 1, 1000)
        entries, truncated = self._store.list_objects(
            request.bucket, listing.prefix, listing.delimiter, marker, limit
        )
        inner = _tag("Name", request.bucket) + listing.header() + listing.named("Marker", marker)
        inner += _tag("MaxKeys", str(limit)) + _tag("IsTruncated", _bool(truncated))
        if truncated:
            inner += listing.named("NextMarker", entries[-1].name)
        # No xmlns: oss2 finds no element in a namespace.
        return _document("ListBucketResult", inner + listing.contents(entries, owner=True))

    def _list_objects_v2(self, request: Request) -> Response:
        params = request.params
        if params["list-type"] != "2":
            raise errors.invalid_argument("list-type should be 2", "list-type", params["list-type"])
        listing, token, start = (
            _Listing(params),
            params.get("continuation-token", ""),
            params.get("start-after", ""),
        )
        limit = _number(params, "max-keys", 100, 1, 1000)
        marker = max(_read_token(token), start)
        entries, truncated = self._store.list_objects(
            request.bucket, listing.prefix, listing.delimiter, marker, limit
        )
        inner = _tag("Name", request.bucket) + listing.header() + listing.named("StartAfter", start)
        inner += (
            _tag("ContinuationToken", token)
            + _tag("MaxKeys", str(limit))
            + _tag("KeyCount", str(len(entries)))
        )
        inner += _tag("IsTruncated", _bool(truncated))
        if truncated:
            last = base64.urlsafe_b64encode(entries[-1].name.encode()).decode()
            inner += _tag("NextContinuationToken", last)
        owner = params.get("fetch-owner") == "true"
        return _document("ListBucketResult", inner + listing.contents(entries, owner=owner))

    def _list_multipart_uploads(self, request: Request) -> Response:
        params, listing = request.params, _Listing(request.params)
        marker = (params.get("key-marker", ""), params.get("upload-id-marker", ""))
        limit = _number(params, "max-uploads", 1000, 1, 1000)
        entries, truncated = self._store.list_uploads(
            request.bucket, listing.prefix, listing.delimiter, marker, limit
        )
        last = entries[-1] if truncated else None
        item = last.item if last and isinstance(last.item, Upload) else None
        inner = _tag("Bucket", request.bucket) + listing.header()
        inner += listing.named("KeyMarker", marker[0]) + _tag("UploadIdMarker", marker[1])
        inner += listing.named("NextKeyMarker", item.key if item else last.name if last else "")
        inner += _tag("NextUploadIdMarker", item.id if item else "")
        inner += _tag("MaxUploads", str(limit)) + _tag("IsTruncated", _bool(truncated))
        for entry in entries:
            if isinstance(entry.item, Upload):
                upload = entry.item
                fields = listing.named("Key", upload.key) + _tag("UploadId", upload.id)
                inner += f"<Upload>{fields}<Initiated>{_iso(upload.initiated)}</Initiated></Upload>"
            else:
                inner += f"<CommonPrefixes>{listing.named('Prefix', entry.name)}</CommonPrefixes>"
        return _document("ListMultipartUploadsResult", inner)

    def _list_parts(self, request: Request) -> Response:
        params = request.params
        upload = self._store.upload(request.bucket, request.key, params["uploadId"])
        limit = _number(params, "max-parts", 1000, 1, 1000)
        marker = _number(params, "part-number-marker", 0, 0, self._settings.max_part_number)
        listing = _Listing(params)
        found = [part for _, part in sorted(upload.parts.items()) if part.number > marker]
        page, truncated = found[:limit], len(found) > limit
        inner = listing.encoding + _tag("Bucket", request.bucket) + listing.named("Key", request.key)
        inner += _tag("UploadId", upload.id) + _tag("StorageClass", "Standard")
        inner += _tag("PartNumberMarker", str(marker))
        inner += _tag("NextPartNumberMarker", str(page[-1].number if page else marker))
        inner += _tag("MaxParts", str(limit)) + _tag("IsTruncated", _bool(truncated))
        for part in page:
            crc = _tag("HashCrc64ecma", str(part.crc)) if self._settings.crc_in_list_parts else ""
            inner += (
                f"<Part><PartNumber>{part.number}</PartNumber><LastModified>{_iso(part.modified)}</LastModified>"
                f"<ETag>{escape(part.etag)}</ETag>{crc}<Size>{part.body.size}</Size></Part>"
            )
        return _document("ListPartsResult", inner)

    # Objects

    def _put_object(self, request: Request) -> Response:
        self._store.bucket(request.bucket)
        intake = self._receive(request, self._settings.max_put)
        body, etag = intake.finish(), quoted_md5(intake.md5)
        stored = _new_object(request, body, etag, intake.crc, "Normal")
        self._store.put(request.bucket, stored)
        return Response(
            headers={"ETag": etag, CRC_HEADER: str(intake.crc), "Content-MD5": _base64(intake.md5)}
        )

    def _append_object(self, request: Request) -> Response:
        position = _number(request.params, "position", -1, 0, 1 << 62)
        self._store.bucket(request.bucket)
        intake = self._receive(request, self._settings.max_put)
        piece = _new_object(request, intake.finish(), "", intake.crc, "Appendable")
        stored = self._store.append(request.bucket, request.key, position, piece)
        headers = {
            "ETag": stored.etag,
            CRC_HEADER: str(stored.crc),
            "x-oss-next-append-position": str(stored.size),
        }
        return Response(headers=headers)

    def _get_object(self, request: Request) -> Response:
        stored = self._store.get(request.bucket, request.key)
        headers = _object_headers(stored)
        _check_match(request.headers, "if-match", stored)
        wanted = _wanted_range(request.headers, stored.size)
        if wanted is None:
            return Response(200, headers, content=stored.body, size=stored.size)
        first, last = wanted
        headers["Content-Range"] = f"bytes {first}-{last}/{stored.size}"
        return Response(206, headers, content=stored.body, offset=first, size=last - first + 1)

    def _head_object(self, request: Request) -> Response:
        stored = self._store.get(request.bucket, request.key)
        _check_match(request.headers, "if-match", stored)
        return Response(200, _object_headers(stored), content=stored.body, size=stored.size)

    def _get_object_meta(self, request: Request) -> Response:
        stored = self._store.get(request.bucket, request.key)
        headers = {name: value for name, value in _object_headers(stored).items() if name in _META_HEADERS}
        return Response(200, headers, content=stored.body, size=stored.size)

    def _delete_object(self, request: Request) -> Response:
        self._store.delete(request.bucket, request.key)
        return Response(204)

    def _delete_multiple_objects(self, request: Request) -> Response:
        document = self._read_document(request)
        root = _parse(document, "Delete")
        keys = [node.findtext("Key") or "" for node in root.findall("Object")]
        if not keys or len(keys) > 1000:
            raise errors.malformed_xml()
        self._store.bucket(request.bucket)
        for key in keys:
            self._store.delete(request.bucket, key)
        if root.findtext("Quiet") == "true":
            return Response()
        listing = _Listing(request.params)
        deleted = "".join(f"<Deleted>{listing.named('Key', key)}</Deleted>" for key in keys)
        return _document("DeleteResult", listing.encoding + deleted)

    def _copy_object(self, request: Request) -> Response:
        source = self._copy_source(request)
        if source.size > self._settings.max_copy:
            raise errors.entity_too_large(source.size, self._settings.max_copy)
        replace = request.headers.get("x-oss-metadata-directive", "COPY").upper() == "REPLACE"
        stored = StoredObject(
            request.key,
            source.body,
            source.etag,
            source.crc,
            crc_shown=self._settings.crc_on_copies,
            kind="Normal",
            modified=time.time(),
            headers=_kept_headers(request.headers) if replace else source.headers,
        )
        self._store.put(request.bucket, stored)
        headers = {"ETag": stored.etag} | _crc_header(stored.crc, shown=stored.crc_shown)
        inner = f"<LastModified>{_iso(stored.modified)}</LastModified><ETag>{escape(stored.etag)}</ETag>"
        return _document("CopyObjectResult", inner, headers)

    # Multipart uploads

    def _initiate_multipart_upload(self, request: Request) -> Response:
        upload = Upload(
            new_upload_id(),
            request.key,
            time.time(),
            _kept_headers(request.headers),
        )
        self._store.start_upload(request.bucket, upload)
        listing = _Listing(request.params)
        inner = listing.encoding + _tag("Bucket", request.bucket) + listing.named("Key", request.key)
        return _document("InitiateMultipartUploadResult", inner + _tag("UploadId", upload.id))

    def _upload_part(self, request: Request) -> Response:
        number, upload_id = self._part_target(request)
        intake = self._receive(request, self._settings.max_part)
        etag = quoted_md5(intake.md5)
        part = Part(number, intake.finish(), etag, intake.crc, copied=False, modified=time.time())
        self._store.add_part(request.bucket, request.key, upload_id, part)
        return Response(
            headers={"ETag": etag, CRC_HEADER: str(intake.crc), "Content-MD5": _base64(intake.md5)}
        )

    def _upload_part_copy(self, request: Request) -> Response:
        number, upload_id = self._part_target(request)
        source = self._copy_source(request)
        if source.kind == "Symlink":
            raise OssError(400, "NotSupported", "UploadPartCopy from a symlink is not supported.")
        if source.kind == "Appendable" and not self._settings.copy_appendable:
            message = "The operation is not supported for this resource"
            raise OssError(400, "OperationNotSupported", message, ResourceType="Appendable")
        first, size = _copied_range(request.headers.get("x-oss-copy-source-range"), source.size)
        if size > self._settings.max_part:
            raise errors.entity_too_large(size, self._settings.max_part)
        whole = size == source.size
        body = source.body if whole else source.body.part(first, size)
        crc = source.crc if whole else body.crc()
        etag = opaque_etag(crc, size)
        part = Part(number, body, etag, crc, copied=True, modified=time.time())
        self._store.add_part(request.bucket, request.key, upload_id, part)
        headers = {"ETag": etag} | _crc_header(crc, shown=self._settings.crc_on_copies)
        inner = f"<LastModified>{_iso(part.modified)}</LastModified><ETag>{escape(etag)}</ETag>"
        return _document("CopyPartResult", inner, headers)

    def _complete_multipart_upload(self, request: Request) -> Response:
        wanted = _parse_parts(self._read_document(request))
        stored = self._store.complete(request.bucket, request.key, request.params["uploadId"], wanted)
        listing = _Listing(request.params)
        location = f"http://{request.headers.get('host', '')}/{request.bucket}/{quote(request.key)}"
        inner = listing.encoding + _tag("Location", location) + _tag("Bucket", request.bucket)
        inner += listing.named("Key", request.key) + _tag("ETag", stored.etag)
        headers = {"ETag": stored.etag} | _crc_header(stored.crc, shown=stored.crc_shown)
        return _document("CompleteMultipartUploadResult", inner, headers)

    def _abort_multipart_upload(self, request: Request) -> Response:
        self._store.abort(request.bucket, request.key, request.params["uploadId"])
        return Response(204)

    def _part_target(self, request: Request) -> tuple[int, str]:
        number = _number(request.params, "partNumber", 0, 1, self._settings.max_part_number)
        upload_id = request.params["uploadId"]
        self._store.upload(request.bucket, request.key, upload_id)
        return number, upload_id

    # Bodies and sources

    def _receive(self, request: Request, limit: int) -> Intake:
        if request.length is not None and request.length > limit:
            raise errors.entity_too_large(request.length, limit)
        if "content-length" not in request.headers and request.length is not None:
            raise OssError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        intake = Intake(self._store.directory, request.length)
        try:
            request.receive(intake)
        finally:
            intake.close()
        if intake.size > limit:
            raise errors.entity_too_large(intake.size, limit)
        _check_md5(request.headers, intake.md5)
        return intake

    def _read_document(self, request: Request) -> bytes:
        document = request.read_document(_MAX_DOCUMENT)
        if "content-md5" in request.headers:
            _check_md5(request.headers, hashlib.md5(document, usedforsecurity=False).digest())
        return document

    def _copy_source(self, request: Request) -> StoredObject:
        value = request.headers["x-oss-copy-source"]
        path, _, _ = value.partition("?")
        try:
            bucket, _, key = unquote(path, errors="strict").removeprefix("/").partition("/")
        except UnicodeDecodeError:
            bucket, key = "", ""
        if not path.startswith(("/", "%2F")) or not bucket or not key:
            raise errors.invalid_argument(
                "Copy Source must mention the source bucket and key.", "x-oss-copy-source", value
            )
        source = self._store.get(bucket, key)
        _check_match(request.headers, "x-oss-copy-source-if-match", source)
        return source


_META_HEADERS = frozenset(["ETag", "Last-Modified", CRC_HEADER])


class _Listing:
    """The parameters that all listings share, and how they encode names."""

    def __init__(self, params: Mapping[str, str]) -> None:
        self.prefix = params.get("prefix", "")
        self.delimiter = params.get("delimiter", "")
        kind = params.get("encoding-type", "")
        if kind not in ("", "url"):
            raise errors.invalid_argument(
                "Invalid Encoding Method specified in Request.", "encoding-type", kind
            )
        self._url = kind == "url"
        self.encoding = _tag("EncodingType", kind) if kind else ""

    def named(self, tag: str, text: str) -> str:
        """Return an element whose text is a key or a piece of one."""
        return _tag(tag, quote(text, safe="") if self._url else text)

    def header(self) -> str:
        """Return the elements that repeat the parameters."""
        return self.named("Prefix", self.prefix) + self.named("Delimiter", self.delimiter) + self.encoding

    def contents(self, entries: Iterable[Entry], *, owner: bool) -> str:
        """Return objects and common prefixes."""
        parts = []
        for entry in entries:
            if isinstance(entry.item, StoredObject):
                item = entry.item
                size = 0 if item.kind == "Symlink" else item.size
                parts.append(
                    f"<Contents>{self.named('Key', item.key)}"
                    f"<LastModified>{_iso(item.modified)}</LastModified><ETag>{escape(item.etag)}</ETag>"
                    f"<Type>{item.kind}</Type><Size>{size}</Size>"
                    f"<StorageClass>Standard</StorageClass>{_OWNER if owner else ''}</Contents>"
                )
            else:
                parts.append(f"<CommonPrefixes>{self.named('Prefix', entry.name)}</CommonPrefixes>")
        return "".join(parts)


def _new_object(request: Request, body: Body, etag: str, crc: int, kind: str) -> StoredObject:
    return StoredObject(
        request.key,
        body,
        etag,
        crc,
        crc_shown=True,
        kind=kind,
        modified=time.time(),
        headers=_kept_headers(request.headers),
    )


def _kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    kept = {n: v for n, v in headers.items() if n in _KEPT_HEADERS or n.startswith("x-oss-meta-")}
    return {"content-type": "application/octet-stream", **kept}


def _object_headers(stored: StoredObject) -> dict[str, str]:
    headers = {
        "ETag": stored.etag,
        "Last-Modified": formatdate(stored.modified, usegmt=True),
        "Accept-Ranges": "bytes",
        "x-oss-object-type": stored.kind,
        "x-oss-storage-class": "Standard",
        **_crc_header(stored.crc, shown=stored.crc_shown),
        **stored.headers,
    }
    if stored.kind == "Appendable":
        headers["x-oss-next-append-position"] = str(stored.size)
    return headers


def _crc_header(crc: int, *, shown: bool) -> dict[str, str]:
    return {CRC_HEADER: str(crc)} if shown else {}


def _wanted_range(headers: Mapping[str, str], size: int) -> tuple[int, int] | None:
    """Return the first and last byte to send, or None for all.

    The service ignores a range that is not wholly inside the object, and only with
    `x-oss-range-behavior: standard` cuts it (206) or refuses it (416) as HTTP has it.
    """
    if "range" not in headers:
        return None
    match = _RANGE.fullmatch(headers["range"].replace(" ", ""))
    if match is None or match[0] == "bytes=-":
        return None
    if match[1]:
        first, last = int(match[1]), int(match[2]) if match[2] else max(size - 1, int(match[1]))
    else:
        first, last = size - int(match[2]), size - 1
    if first > last and match[1]:
        return None
    if 0 <= first <= last < size:
        return first, last
    if headers.get("x-oss-range-behavior", "").lower() != "standard":
        return None
    if first >= size:
        header = {"Content-Range": f"bytes */{size}"}
        raise OssError(416, "InvalidRange", "The requested range cannot be satisfied", headers=header)
    return max(first, 0), min(last, size - 1)


def _copied_range(header: str | None, size: int) -> tuple[int, int]:
    """Return offset and size of the range to copy; one that the source does not hold is refused."""
    if header is None:
        return 0, size
    match = _COPY_RANGE.fullmatch(header)
    if match is None or int(match[1]) > int(match[2]):
        raise errors.invalid_argument("The copy range is invalid.", "x-oss-copy-source-range", header)
    first, last = int(match[1]), int(match[2])
    if last >= size:
        raise OssError(416, "InvalidRange", "The requested range cannot be satisfied", RangeRequested=header)
    return first, last - first + 1


def _check_match(headers: Mapping[str, str], name: str, stored: StoredObject) -> None:
    wanted = headers.get(name)
    if wanted is not None and wanted.strip().strip('"').upper() not in (stored.etag.strip('"'), "*"):
        raise errors.precondition_failed(name)


def _check_md5(headers: Mapping[str, str], digest: bytes) -> None:
    expected = headers.get("content-md5")
    if expected is None:
        return
    try:
        matches = base64.b64decode(expected, validate=True) == digest
    except binascii.Error:
        matches = False
    if not matches:
        raise OssError(400, "InvalidDigest", "The Content-MD5 you specified did not match what we received.")


def _parse(document: bytes, root_tag: str) -> ET.Element:
    try:
        root = ET.fromstring(document)
    except ET.ParseError as err:
        raise errors.malformed_xml() from err
    if root.tag != root_tag:
        raise errors.malformed_xml()
    return root


def _parse_parts(document: bytes) -> list[tuple[int, str]]:
    root = _parse(document, "CompleteMultipartUpload")
    try:
        return [
            (int(node.findtext("PartNumber", "")), node.findtext("ETag", "")) for node in root.findall("Part")
        ]
    except ValueError as err:
        raise errors.malformed_xml() from err


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError as err:
        raise errors.invalid_argument(
            "The continuation-token is invalid.", "continuation-token", token
        ) from err


def _number(params: Mapping[str, str], name: str, default: int, lowest: int, highest: int) -> int:
    text = params.get(name) or str(default)
    if not text.isdecimal() or not lowest <= int(text) <= highest:
        message = f"Argument {name} must be an integer between {lowest} and {highest}."
        raise errors.invalid_argument(message, name, text)
    return int(text)


def _document(root: str, inner: str, headers: Mapping[str, str] | None = None) -> Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{inner}</{root}>'
    return Response(headers={"Content-Type": "application/xml", **(headers or {})}, document=text.encode())


def _tag(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>" if text else f"<{name}></{name}>"


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _iso(stamp: float) -> str:
    return datetime.fromtimestamp(stamp, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
