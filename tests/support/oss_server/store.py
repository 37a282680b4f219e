"""Buckets, objects and multipart uploads: what is kept, and the rules for changing it.

Objects never change: a write puts a new one in the old one's place, under one lock, so that readers see all
of one version. Bytes are checked and counted before the lock is taken.
"""

import hashlib
import re
import tempfile
import threading
import time
from bisect import bisect_left, insort
from itertools import pairwise
from pathlib import Path

from oss_server import errors
from oss_server.body import Body, crc64_combine
from oss_server.errors import OssError
from oss_server.objects import Bucket, Entry, Part, StoredObject, Upload, opaque_etag
from oss_server.paging import after_prefix, page
from oss_server.settings import Settings

_BUCKET_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9]")


class Store:
    """All buckets; every method may be called from any thread."""

    def __init__(self, settings: Settings, directory: Path | None = None) -> None:
        """Keep bodies in memory, or in files below `directory`, which are deleted by `close()`."""
        self._settings = settings
        self._lock = threading.RLock()
        self._buckets: dict[str, Bucket] = {}
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self.directory: Path | None = None
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self._temporary = tempfile.TemporaryDirectory(dir=directory, prefix="oss-server-")
            self.directory = Path(self._temporary.name)

    def close(self) -> None:
        """Drop everything."""
        with self._lock:
            self._buckets.clear()
        if self._temporary is not None:
            self._temporary.cleanup()

    # Buckets

    def create_bucket(self, name: str) -> None:
        """Create a bucket; one that exists keeps its objects.

        Raises:
            OssError: 400 InvalidBucketName.
        """
        if not _BUCKET_NAME.fullmatch(name):
            raise OssError(400, "InvalidBucketName", "The specified bucket is not valid.", BucketName=name)
        with self._lock:
            self._buckets.setdefault(name, Bucket(name))

    def bucket(self, name: str) -> Bucket:
        """Return a bucket.

        Raises:
            OssError: 404 NoSuchBucket.
        """
        bucket = self._buckets.get(name)
        if bucket is None:
            raise errors.no_such_bucket(name)
        return bucket

    # Objects

    def get(self, bucket: str, key: str) -> StoredObject:
        """Return an object.

        Raises:
            OssError: 404 NoSuchBucket or NoSuchKey.
        """
        with self._lock:
            stored = self.bucket(bucket).objects.get(key)
        if stored is None:
            raise errors.no_such_key(key)
        return stored

    def put(self, bucket: str, stored: StoredObject) -> None:
        """Publish an object, in place of one of the same key.

        Raises:
            OssError: 404 NoSuchBucket.
        """
        with self._lock:
            holder = self.bucket(bucket)
            if stored.key not in holder.objects:
                insort(holder.keys, stored.key)
            holder.objects[stored.key] = stored

    def append(self, bucket: str, key: str, position: int, piece: StoredObject) -> StoredObject:
        """Add the bytes of `piece` at the end of an Appendable object, or create it; returns it.

        Raises:
            OssError: 404 NoSuchBucket; 409 ObjectNotAppendable or PositionNotEqualToLength; 400
                EntityTooLarge.
        """
        with self._lock:
            old = self.bucket(bucket).objects.get(key)
            if old is not None and old.kind != "Appendable":
                raise OssError(409, "ObjectNotAppendable", "The object is not appendable")
            length = old.size if old else 0
            if position != length:
                headers = {"x-oss-next-append-position": str(length)}
                message = "Position is not equal to file length"
                raise OssError(409, "PositionNotEqualToLength", message, headers=headers)
            if length + piece.size > self._settings.max_put:
                raise errors.entity_too_large(length + piece.size, self._settings.max_put)
            crc = crc64_combine(old.crc, piece.crc, piece.size) if old else piece.crc
            stored = StoredObject(
                key,
                Body.joined([old.body, piece.body]) if old else piece.body,
                opaque_etag(crc, length + piece.size),
                crc,
                crc_shown=True,
                kind="Appendable",
                modified=time.time(),
                headers=old.headers if old else piece.headers,
            )
            self.put(bucket, stored)
            return stored

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object; one that does not exist is deleted already.

        Raises:
            OssError: 404 NoSuchBucket.
        """
        with self._lock:
            holder = self.bucket(bucket)
            if holder.objects.pop(key, None) is not None:
                del holder.keys[bisect_left(holder.keys, key)]

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the keys that start with `prefix`, in order.

        Raises:
            OssError: 404 NoSuchBucket.
        """
        with self._lock:
            keys = self.bucket(bucket).keys
            return keys[bisect_left(keys, prefix) : after_prefix(keys, prefix)]

    def list_objects(
        self, bucket: str, prefix: str, delimiter: str, marker: str, limit: int
    ) -> tuple[list[Entry], bool]:
        """Return up to `limit` entries after `marker` in order, and whether there are more.

        Raises:
            OssError: 404 NoSuchBucket.
        """
        with self._lock:
            holder = self.bucket(bucket)
            return page(holder.keys, lambda key: holder.objects[key], prefix, delimiter, marker, limit)

    # Multipart uploads

    def start_upload(self, bucket: str, upload: Upload) -> None:
        """Begin a multipart upload.

        Raises:
            OssError: 404 NoSuchBucket.
        """
        with self._lock:
            self.bucket(bucket).uploads[upload.id] = upload

    def upload(self, bucket: str, key: str, upload_id: str) -> Upload:
        """Return an unfinished upload.

        Raises:
            OssError: 404 NoSuchBucket or NoSuchUpload.
        """
        with self._lock:
            upload = self.bucket(bucket).uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise errors.no_such_upload(upload_id)
        return upload

    def uploads(self, bucket: str) -> list[Upload]:
        """Return the unfinished uploads, oldest first.

        Raises:
            OssError: 404 NoSuchBucket.
        """
        with self._lock:
            return list(self.bucket(bucket).uploads.values())

    def add_part(self, bucket: str, key: str, upload_id: str, part: Part) -> None:
        """Add a part, in place of one of the same number.

        Raises:
            OssError: 404 NoSuchBucket or NoSuchUpload, also when it ended while the part came in.
        """
        with self._lock:
            self.upload(bucket, key, upload_id).parts[part.number] = part

    def abort(self, bucket: str, key: str, upload_id: str) -> None:
        """End an upload without an object.

        Raises:
            OssError: 404 NoSuchBucket or NoSuchUpload.
        """
        with self._lock:
            self.upload(bucket, key, upload_id)
            del self.bucket(bucket).uploads[upload_id]

    def complete(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        wanted: list[tuple[int, str]],
    ) -> StoredObject:
        """Publish the named parts (number, ETag) as one object and end the upload.

        Raises:
            OssError: 404 NoSuchBucket or NoSuchUpload; 400 InvalidPart, InvalidPartOrder or EntityTooSmall.
                The upload then goes on.
        """
        with self._lock:
            upload = self.upload(bucket, key, upload_id)
            parts = _chosen(upload, wanted)
            if not parts:
                raise errors.malformed_xml()
            for part in parts[:-1]:
                if part.body.size < self._settings.min_part:
                    message = "Your proposed upload smaller than the minimum allowed size."
                    raise OssError(
                        400,
                        "EntityTooSmall",
                        message,
                        ETag=part.etag.strip('"'),
                        MinSizeAllowed=str(self._settings.min_part),
                        ProposedSize=str(part.body.size),
                        PartNumber=str(part.number),
                    )
            crc = 0
            for part in parts:
                crc = crc64_combine(crc, part.crc, part.body.size)
            digest = hashlib.md5(
                b"".join(bytes.fromhex(p.etag.strip('"')) for p in parts), usedforsecurity=False
            )
            stored = StoredObject(
                key,
                Body.joined(part.body for part in parts),
                f'"{digest.hexdigest().upper()}-{len(parts)}"',
                crc,
                crc_shown=self._settings.crc_on_copies or not any(part.copied for part in parts),
                kind="Multipart",
                modified=time.time(),
                headers=upload.headers,
            )
            self.put(bucket, stored)
            del self.bucket(bucket).uploads[upload_id]
            return stored

    def list_uploads(
        self, bucket: str, prefix: str, delimiter: str, marker: tuple[str, str], limit: int
    ) -> tuple[list[Entry], bool]:
        """Return up to `limit` uploads after `marker`, by key and id, and whether there are more.

        Raises:
            OssError: 404 NoSuchBucket.
        """
        with self._lock:
            uploads = {
                f"{upload.key}\0{upload.id}": upload for upload in self.bucket(bucket).uploads.values()
            }
        # Without an id every upload of the marker's key is behind the marker: U+10FFFF sorts after any id.
        after = "" if not marker[0] else f"{marker[0]}\0{marker[1] or chr(0x10FFFF)}"
        return page(sorted(uploads), uploads.__getitem__, prefix, delimiter, after, limit)


def _chosen(upload: Upload, wanted: list[tuple[int, str]]) -> list[Part]:
    numbers = [number for number, _ in wanted]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise OssError(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
    parts = []
    for number, etag in wanted:
        part = upload.parts.get(number)
        if part is None or part.etag.strip('"') != etag.strip('"').upper():
            message = "One or more of the specified parts could not be found, or their ETags do not match."
            raise OssError(400, "InvalidPart", message, PartNumber=str(number), UploadId=upload.id)
        parts.append(part)
    return parts
