"""One object made by a multipart upload: its parts sent and copied, compared, and completed."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from aggregation.errors import IntegrityError, UnavailableError
from aggregation.stores.checksum import Data, combined, crc64_of

from .bucket import Bucket
from .interference import NoSuchUploadError
from .sources import Source


class MadePart(NamedTuple):
    """A part that the service has."""

    etag: str
    crc64: int | None
    size: int


class Multipart:
    """The multipart upload of one object; `crc64` is what it is to have, where that is known by now.

    Leaving the block by an error aborts it; else it must have been completed. Safe to use from several
    threads at once.
    """

    def __init__(self, bucket: Bucket, doing: str, key: str, crc64: int | None = None) -> None:
        self._bucket = bucket
        self._doing = doing
        self._key = key
        self._upload = bucket.unfinished.begin(key, crc64)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._bucket.unfinished.completed(self._upload)
        else:
            self._bucket.unfinished.abort(self._upload)

    def send(self, number: int, data: Data) -> MadePart:
        """Upload a part.

        Raises:
            IntegrityError: the service has another CRC64 of it.
        """
        etag, found = self._bucket.uploads.upload_part(self._key, self._upload.id, number, data)
        crc64 = crc64_of(data)
        self.compare(crc64, found)
        return MadePart(etag, crc64, len(data))

    def copy(self, number: int, source: Source, start: int, end: int) -> MadePart:
        """Let the service copy bytes `start` to `end` (without it) of a source."""
        made = self._bucket.uploads.copy_part(
            source.key, source.etag or "", start, end, self._key, self._upload.id, number
        )
        return MadePart(*made, end - start)

    def crc64_of(self, made: Sequence[MadePart]) -> int | None:
        """The whole's CRC64 from its parts', asked for where the copies' answers did not tell."""
        found = combined((part.crc64, part.size) for part in made)
        if found is None:
            listed = self._bucket.uploads.part_checksums(self._key, self._upload.id)
            found = combined((listed.get(number), part.size) for number, part in enumerate(made, start=1))
        return found

    def compare(self, expected: int | None, found: int | None) -> None:
        """Compare two CRC64s, where both are known.

        Raises:
            IntegrityError: they differ.
        """
        if None not in (expected, found) and expected != found:
            raise IntegrityError(
                self._doing, f"the target's CRC64 is {found}, the sources' {expected}", "run again"
            )

    def complete(self, made: Sequence[MadePart], crc64: int | None) -> int | None:
        """Publish the parts as the object. Returns the CRC64 that the service says it has, if it does."""
        try:
            return self._bucket.uploads.complete(self._key, self._upload.id, [part.etag for part in made])
        except (NoSuchUploadError, UnavailableError):
            # The answer to an earlier try may have been lost, or hidden by a proxy: then the object is there,
            # with our mark; or another run of the same step has put the same bytes there since.
            state = self._bucket.objects.head(self._key)
            if state is None:
                raise
            if state.token != self._upload.token and (crc64 is None or state.crc64 != crc64):
                raise
            return state.crc64
