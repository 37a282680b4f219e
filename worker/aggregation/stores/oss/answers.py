"""What the service answers: whether it is a success, whether asking again helps, and what an error means.

A status of 200 alone is no success: a proxy's page has it too, and OSS itself sends it before it has copied
or completed anything. So each answer is looked at for what its operation must say.
"""

import base64
import binascii
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree as ET  # expat, which bounds the expansion of entities

from aggregation.errors import ConfigurationError, MissingInputError, RefusedError

from .connection import Answer
from .interference import NoSuchUploadError, ReplacedError
from .marks import CRC_HEADER, TOKEN_HEADER
from .transport import UnansweredError

RETRIED_STATUSES = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
"""And every status from 500 on."""

RETRIED_CODES = frozenset(
    {
        "ServiceUnavailable",
        "InternalError",
        "RequestTimeout",
        "RequestTimeTooSkewed",  # a node's clock is set right within minutes of its start
        "InvalidDigest",  # the bytes that arrived are not those that were sent
        "TotalQpsLimitExceeded",
        "QpsLimitExceeded",
        "UploadTrafficRateLimitExceeded",
        "DownloadTrafficRateLimitExceeded",
        "MetaOperationQpsLimitExceeded",
        "ActiveRequestLimitExceeded",
    }
)

_LIMIT_CODES = ("QpsLimitExceeded", "RateLimitExceeded", "ActiveRequestLimitExceeded")
"""How the codes end by which OSS refuses what is beyond a limit."""

_MISSING_CODES = frozenset({"NoSuchKey", "SymlinkTargetNotExist"})
_DENIED_STATUSES = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_DENIED_CODES = frozenset(
    {"AccessDenied", "NoSuchBucket", "InvalidAccessKeyId", "InvalidSecurityToken", "InvalidBucketName"}
)
DENIED = "check the bucket in --root, OSS_ENDPOINT, OSS_REGION, the credentials and what they may do"

_REQUEST_ID = "x-oss-request-id"

_DOCUMENT_MAX = 16 * 1024**2
"""Bytes of a document: a page of 1,000 names of the longest, escaped, has 4 MB."""

_DELAY_MAX = 60.0
"""Seconds that a service may ask for: more is taken for a mistake."""

_NO_DOCUMENT = (ET.ParseError, LookupError, ValueError)
"""What reading a document raises: the last two where it names an encoding that is not known."""

_ERROR_MAX = 64 * 1024
_MESSAGE_MAX = 300
_BLOCK = 1024**2


class NoAnswerError(UnansweredError):
    """What came is not what the operation answers: a proxy's page, a document cut short, a header missing.

    It is tried again: whether the operation took place is not known.
    """


class ServiceError(Exception):
    """An answer other than success, as far as it says what it is."""

    def __init__(self, status: int, headers: Mapping[str, str], document: bytes) -> None:
        found = _error_fields(headers, document)
        super().__init__(status, found.get("Code", ""))
        self.status = status
        self.code = _one_line(found.get("Code", ""))
        self.message = _one_line(found.get("Message", "")).rstrip(".")
        self.endpoint = _one_line(found.get("Endpoint", ""))
        self.location = _one_line(headers.get("Location", "").partition("?")[0])
        self.delay = delay(headers)
        self.request_id = _one_line(headers.get(_REQUEST_ID, "") or found.get("RequestId", ""))

    def __str__(self) -> str:
        line = f"{self.status} {self.code}".rstrip()
        return f"{line} (request {self.request_id})" if self.request_id else line


class ObjectState(NamedTuple):
    """What HEAD says of an object."""

    size: int
    etag: str
    crc64: int | None
    """As the service reports it, which it may not for an object made of copied parts."""
    noted_crc64: int | None
    """As the worker noted it that made the object."""
    kind: str
    """Normal, Multipart, Appendable or Symlink."""
    modified: float
    """Seconds since the epoch; 0 where it is not said."""
    token: str
    """The mark of what made the object; "" if no worker made it."""

    @property
    def known_crc64(self) -> int | None:
        """The CRC64, from whoever knows it."""
        return self.noted_crc64 if self.crc64 is None else self.crc64

    @property
    def copyable(self) -> bool:
        """Whether the service copies ranges of it: UploadPartCopy refuses the others."""
        return self.kind not in ("Appendable", "Symlink")


def success(answer: Answer) -> None:
    """Look at an answer's status and origin.

    Raises:
        ServiceError: it is no success.
        NoAnswerError: it is one, but not OSS's.
    """
    if answer.status // 100 != 2:  # noqa: PLR2004 - HTTP's own number
        raise ServiceError(answer.status, answer.headers, body(answer, _ERROR_MAX))
    if not answer.headers.get(_REQUEST_ID):
        raise NoAnswerError(f"{answer.status} from what is not OSS: it gives no {_REQUEST_ID}")


def body(answer: Answer, limit: int) -> bytes:
    """The first `limit` bytes of a body, or all that there are, as stored: no Content-Encoding is undone."""
    pieces: list[bytes] = []
    left = limit
    while left and (piece := answer.read(min(left, _BLOCK))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def document(answer: Answer, root: str) -> ET.Element:
    """The XML document of an answer, whose root must be `root`.

    Raises:
        ServiceError: it is an error in spite of its status.
        NoAnswerError: it is something else.
    """
    text = body(answer, _DOCUMENT_MAX)
    try:
        found = ET.fromstring(text)  # noqa: S314 - see the import
    except _NO_DOCUMENT as error:
        raise NoAnswerError(f"{answer.status} without a document ({len(text)} bytes)") from error
    if found.tag == "Error":
        raise ServiceError(answer.status, answer.headers, text)
    if found.tag != root:
        raise NoAnswerError(f"{answer.status} with <{_one_line(found.tag)}>, not <{root}>")
    return found


def state(headers: Mapping[str, str], size: int | None = None) -> ObjectState:
    """An object's state from the headers of HEAD or GET; `size` where they do not say it.

    Raises:
        NoAnswerError: no size or no ETag.
    """
    said = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
    found = number(said, size)
    if found is None:
        raise NoAnswerError("an object without a size")
    return ObjectState(
        size=found,
        etag=etag(headers),
        crc64=crc64(headers),
        noted_crc64=_checksum(headers.get(CRC_HEADER)),
        kind=headers.get("x-oss-object-type", ""),
        modified=date(headers.get("Last-Modified", "")) or 0.0,
        token=headers.get(TOKEN_HEADER, ""),
    )


def etag(headers: Mapping[str, str]) -> str:
    """What says that an object or a part is the same as before, without its quotes.

    Raises:
        NoAnswerError: there is none, so that nothing tells that the operation took place.
    """
    found = headers.get("ETag", "").strip('"')
    if not found:
        raise NoAnswerError("an answer without an ETag")
    return found


def copy_source(bucket: str, key: str) -> str:
    """An object as a header names it."""
    return quote(f"/{bucket}/{key}", safe="/~")


def crc64(headers: Mapping[str, str]) -> int | None:
    """The CRC64 that the service says; None where it says none, or nonsense."""
    return _checksum(headers.get("x-oss-hash-crc64ecma"))


def part_crc64(part: ET.Element) -> int | None:
    """The same of a part in a listing."""
    return _checksum(part.findtext("HashCrc64ecma"))


def number(text: str | None, otherwise: int | None = None) -> int | None:
    """A number that is written in digits alone."""
    return int(text) if text and len(text) <= 20 and text.isascii() and text.isdigit() else otherwise  # noqa: PLR2004 - the digits of 2**64


@lru_cache(maxsize=1024)  # the answers of one second have the same
def date(text: str) -> float | None:
    """Seconds since the epoch of a header's date."""
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def is_retried(status: int, code: str) -> bool:
    """Whether a request that got this answer may be answered otherwise a moment later."""
    return status in RETRIED_STATUSES or status >= HTTPStatus.INTERNAL_SERVER_ERROR or code in RETRIED_CODES


def is_refused_for_now(error: ServiceError) -> bool:
    """Whether fewer requests are wanted."""
    limited = error.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
    return limited or error.code.endswith(_LIMIT_CODES)


def delay(headers: Mapping[str, str]) -> float:
    """For how many seconds the service asks to wait, or made this request wait; 0 where it does not say."""
    seconds = number(headers.get("Retry-After"), 0) or 0
    milliseconds = number(headers.get("x-oss-qos-delay-time"), 0) or 0
    return min(_DELAY_MAX, max(float(seconds), milliseconds / 1000))


def translated(error: ServiceError, doing: str) -> Exception:
    """What an answer means for the join."""
    if error.code == "NoSuchUpload":
        return NoSuchUploadError()
    if error.status == HTTPStatus.PRECONDITION_FAILED:
        return ReplacedError(doing)
    why = f"{error}: {error.message}" if error.message else str(error)
    if error.code in _MISSING_CODES:
        return MissingInputError(doing, why, "write the object, or run the step that makes it")
    if cure := _configuration_cure(error):
        where = f" to {error.location}" if error.location else ""
        return ConfigurationError(doing, f"{why}{where}", cure)
    return RefusedError(doing, why, "look the code up in OSS's documents")


def _configuration_cure(error: ServiceError) -> str:
    """What to set right, where the answer means that something is not; else empty."""
    if error.endpoint:
        return f"set OSS_ENDPOINT to {error.endpoint}"
    if not error.request_id or error.status // 100 == 3:  # noqa: PLR2004 - HTTP's own number
        return "this is not OSS: check OSS_ENDPOINT and the proxy"
    if error.code == "InvalidObjectState":
        return "it is archived: restore it first, then run again"
    denied = error.status in _DENIED_STATUSES or error.code in _DENIED_CODES
    return DENIED if denied or "signing region" in error.message else ""


def _checksum(text: str | None) -> int | None:
    value = number(text)
    return value if value is not None and value < 1 << 64 else None


def _error_fields(headers: Mapping[str, str], text: bytes) -> dict[str, str]:
    """The elements of an error's document; HEAD has it in a header."""
    try:
        root = ET.fromstring(text or base64.b64decode(headers.get("x-oss-err", "")))  # noqa: S314 - see the import
    except (binascii.Error, *_NO_DOCUMENT):
        return {}
    return {child.tag: child.text or "" for child in root} if root.tag == "Error" else {}


def _one_line(text: str) -> str:
    line = " ".join(text.split())[:_MESSAGE_MAX]
    return line if line.isprintable() else ascii(line)
