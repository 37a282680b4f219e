"""What the headers of a request say about bytes: which range, of which version, with which MD5."""

import base64
import binascii
import re
from collections.abc import Mapping

from oss_server import errors
from oss_server.errors import OssError
from oss_server.objects import StoredObject

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_COPY_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


def wanted_range(headers: Mapping[str, str], size: int) -> tuple[int, int] | None:
    """Return the first and last byte to send, or None for all.

    The service ignores a range that is not wholly inside the object, and only with
    `x-oss-range-behavior: standard` cuts it (206) or refuses it (416) as HTTP has it.

    Raises:
        OssError: 416 InvalidRange.
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


def copied_range(header: str | None, size: int) -> tuple[int, int]:
    """Return offset and size of the range to copy.

    Raises:
        OssError: 400 InvalidArgument; 416 InvalidRange for one that the source does not hold.
    """
    if header is None:
        return 0, size
    match = _COPY_RANGE.fullmatch(header)
    if match is None or int(match[1]) > int(match[2]):
        raise errors.invalid_argument("The copy range is invalid.", "x-oss-copy-source-range", header)
    first, last = int(match[1]), int(match[2])
    if last >= size:
        raise OssError(416, "InvalidRange", "The requested range cannot be satisfied", RangeRequested=header)
    return first, last - first + 1


def check_match(headers: Mapping[str, str], name: str, stored: StoredObject) -> None:
    """Refuse an object that has another ETag than the header of this name says, if there is one.

    Raises:
        OssError: 412 PreconditionFailed.
    """
    wanted = headers.get(name)
    if wanted is not None and wanted.strip().strip('"').upper() not in (stored.etag.strip('"'), "*"):
        raise errors.precondition_failed(name)


def check_md5(headers: Mapping[str, str], digest: bytes) -> None:
    """Refuse a body that has another MD5 than Content-MD5 says, if it is there.

    Raises:
        OssError: 400 InvalidDigest.
    """
    expected = headers.get("content-md5")
    if expected is None:
        return
    try:
        matches = base64.b64decode(expected, validate=True) == digest
    except binascii.Error:
        matches = False
    if not matches:
        raise OssError(400, "InvalidDigest", "The Content-MD5 you specified did not match what we received.")
