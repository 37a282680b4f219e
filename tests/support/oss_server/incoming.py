"""What comes with a request: its body, the object that it copies, the headers that stay with an object."""

import base64
import hashlib
from collections.abc import Mapping
from urllib.parse import unquote

from oss_server import errors
from oss_server.body import Intake
from oss_server.conditions import check_match, check_md5
from oss_server.errors import OssError
from oss_server.objects import StoredObject
from oss_server.requests import Request
from oss_server.store import Store

CRC_HEADER = "x-oss-hash-crc64ecma"
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


def receive(store: Store, request: Request, limit: int) -> Intake:
    """Take an object's body in.

    Raises:
        OssError: 400 EntityTooLarge above `limit` bytes, or InvalidDigest; 411 MissingContentLength.
    """
    if request.length is not None and request.length > limit:
        raise errors.entity_too_large(request.length, limit)
    if "content-length" not in request.headers and request.length is not None:
        raise OssError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    intake = Intake(store.directory, request.length)
    try:
        request.receive(intake)
    finally:
        intake.close()
    if intake.size > limit:
        raise errors.entity_too_large(intake.size, limit)
    check_md5(request.headers, intake.md5)
    return intake


def read_document(request: Request) -> bytes:
    """Return a small body.

    Raises:
        OssError: 400 EntityTooLarge or InvalidDigest.
    """
    document = request.read_document(_MAX_DOCUMENT)
    if "content-md5" in request.headers:
        check_md5(request.headers, hashlib.md5(document, usedforsecurity=False).digest())
    return document


def copy_source(store: Store, request: Request) -> StoredObject:
    """Return the object to copy, as `x-oss-copy-source` names it and its if-match wants it.

    Raises:
        OssError: 400 InvalidArgument; 404 NoSuchBucket or NoSuchKey; 412 PreconditionFailed.
    """
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
    source = store.get(bucket, key)
    check_match(request.headers, "x-oss-copy-source-if-match", source)
    return source


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that come back with an object."""
    kept = {n: v for n, v in headers.items() if n in _KEPT_HEADERS or n.startswith("x-oss-meta-")}
    return {"content-type": "application/octet-stream", **kept}


def crc_header(crc: int, *, shown: bool) -> dict[str, str]:
    """Return the CRC64's header, or nothing."""
    return {CRC_HEADER: str(crc)} if shown else {}


def base64_text(data: bytes) -> str:
    """Return bytes as a header has them."""
    return base64.b64encode(data).decode("ascii")
