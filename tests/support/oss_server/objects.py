"""What the server keeps: versions of objects, multipart uploads and their parts, buckets."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from oss_server.body import Body
from oss_server.errors import OssError

_MAX_KEY = 1023  # bytes of UTF-8


@dataclass(frozen=True)
class StoredObject:
    """One version of an object.

    Attributes:
        key: Its name.
        body: Its bytes.
        etag: With the quotes that the header has.
        crc: The CRC64 of all bytes, always known here.
        crc_shown: Whether the service tells it.
        kind: `Normal`, `Multipart` or `Appendable`.
        modified: Unix time.
        headers: `content-type`, `x-oss-meta-…` and the other headers that come back with the object.
    """

    key: str
    body: Body
    etag: str
    crc: int
    crc_shown: bool
    kind: str
    modified: float
    headers: Mapping[str, str]

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.body.size


@dataclass(frozen=True)
class Part:
    """One part of a multipart upload; `copied` tells whether UploadPartCopy made it."""

    number: int
    body: Body
    etag: str
    crc: int
    copied: bool
    modified: float


@dataclass
class Upload:
    """A multipart upload that is neither complete nor aborted."""

    id: str
    key: str
    initiated: float
    headers: Mapping[str, str]
    parts: dict[int, Part] = field(default_factory=dict)


@dataclass
class Bucket:
    """A bucket; `keys` holds the names of `objects` in order."""

    name: str
    objects: dict[str, StoredObject] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    uploads: dict[str, Upload] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One line of a listing: an object or an upload, or the common prefix of several."""

    name: str
    item: StoredObject | Upload | None


def check_key(key: str) -> None:
    """Refuse a key that the service refuses.

    Raises:
        OssError: 400 InvalidObjectName.
    """
    if not key or len(key.encode()) > _MAX_KEY or key[0] in "/\\":
        raise OssError(400, "InvalidObjectName", "The specified object is not valid.", ObjectName=key)


def opaque_etag(crc: int, size: int) -> str:
    """Return the ETag of bytes that no client sent here.

    The service's would be an MD5; that of a 5 GB range takes seconds, and clients must not rely on it.
    """
    return quoted_md5(hashlib.md5(f"{crc} {size}".encode(), usedforsecurity=False).digest())


def quoted_md5(digest: bytes) -> str:
    """Return an MD5 digest as an ETag."""
    return f'"{digest.hex().upper()}"'


def new_upload_id() -> str:
    """Return an id that no other upload has."""
    return secrets.token_hex(16).upper()
