"""Objects as files of this machine: fetched for a command, and made of the file that it has written."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from aggregation.errors import IntegrityError
from aggregation.scratch import copies, make_room, save
from aggregation.stores.checksum import combined, crc64_of
from aggregation.stores.promise import Advance, Written
from aggregation.stores.readahead import blocks, read_ahead

from . import parts
from .bucket import UPLOADS_AT_ONCE, Bucket
from .interference import undisturbed
from .multipart import MadePart, Multipart


class _Checksum:
    """Blocks on their way, and the CRC64 of those that have passed."""

    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream
        self.crc64 = 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self._stream:
            self.crc64 = crc64_of(block, self.crc64)
            yield block


def download(bucket: Bucket, doing: str, keys: Sequence[str], folder: str) -> list[str]:
    """Fetch objects into files in `folder`. Returns their paths.

    Raises:
        ReplacedError: one of them was replaced meanwhile.
        AggregationError: as Storage.download.
    """
    sources = bucket.reader.look_up(doing, keys, by_listing=False)
    make_room(folder, sum(source.size for source in sources))
    fetched = bucket.reader.blocks(doing, sources)
    paths = copies(folder, keys)
    for source, path in zip(sources, paths, strict=True):
        checksum = _Checksum(islice(fetched, sum(1 for _ in blocks(source.size))))
        save(doing, path, checksum)
        if source.crc64 not in (None, checksum.crc64):
            raise IntegrityError(doing, f"{source.key} arrived with another CRC64", "run again")
    return paths


def upload(bucket: Bucket, doing: str, path: str, key: str, advance: Advance | None) -> Written:
    """Make the object of a file, by one PUT or in parts. Begun anew once if its upload is aborted meanwhile.

    Raises:
        AggregationError: as Storage.upload.
    """
    started = time.perf_counter()
    before = bucket.client.requests
    size = os.stat(path).st_size
    with open(path, "rb", buffering=0) as file:
        if size <= parts.PUT_MAX:
            crc64 = bucket.objects.put(doing, key, file.read())
            if advance is not None:
                advance(size)
        else:
            descriptor = file.fileno()
            crc64 = undisturbed(doing, lambda: _upload_parts(bucket, doing, descriptor, size, key, advance))
    seconds = time.perf_counter() - started
    return Written(size, crc64, "streamed", bucket.client.requests - before, seconds, verified=True)


def _upload_parts(
    bucket: Bucket, doing: str, descriptor: int, size: int, key: str, advance: Advance | None
) -> int:
    """Make the object of an open file's bytes. Returns their CRC64, which the service has too."""
    length = max(parts.UPLOAD_SIZE, -(-size // bucket.settings.max_parts))
    with Multipart(bucket, doing, key) as multipart:

        def send(start: int) -> MadePart:
            data = os.pread(descriptor, min(length, size - start), start)
            return multipart.send(start // length + 1, data)

        made = []
        for part in read_ahead(send, range(0, size, length), UPLOADS_AT_ONCE):
            made.append(part)
            if advance is not None:
                advance(part.size)
        crc64 = combined((part.crc64, part.size) for part in made)
        reported = multipart.complete(made, crc64)
    bucket.objects.see_published(doing, key, crc64, reported)
    return crc64 or 0
