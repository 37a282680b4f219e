"""What a request asks for, and what an answer is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from oss_server.body import Body, Intake
from oss_server.signing import Signed

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


Handlers = dict[str, Callable[[Request], Response]]
"""Which function carries out which operation."""


def classify(
    method: str, bucket: str, key: str, params: Mapping[str, str], headers: Mapping[str, str]
) -> str:
    """Return the name of the operation that a request asks for; empty for one that this server lacks."""
    if not bucket or params.keys() - _PARAMETERS or _CONDITIONS & headers.keys():
        return ""
    table = _OBJECT_OPERATIONS if key else _BUCKET_OPERATIONS
    name = next((name for param, name in table.get(method, []) if not param or param in params), "")
    return _COPIES.get(name, name) if "x-oss-copy-source" in headers else name
