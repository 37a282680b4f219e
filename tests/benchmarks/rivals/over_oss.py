"""Joining objects by other ways than the worker's: `over_oss.py WAY SOURCE... TARGET`."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import oss2
from oss2.models import PartInfo

BUCKET = "demo"
ENDPOINT, KEY, SECRET = (
    os.environ[f"OSS_{name}"] for name in ("ENDPOINT", "ACCESS_KEY_ID", "ACCESS_KEY_SECRET")
)


def bucket() -> oss2.Bucket:
    """Without oss2's own CRC64: without its compiled extension it costs more than the transfer."""
    return oss2.Bucket(oss2.Auth(KEY, SECRET), ENDPOINT, BUCKET, enable_crc=False)


class Joined:
    """Objects as one body of known length, which lets a PUT stream it."""

    def __init__(self, here: oss2.Bucket, keys: Sequence[str]) -> None:
        self._here = here
        self._keys = keys

    def __len__(self) -> int:
        return sum(int(self._here.head_object(key).content_length) for key in self._keys)

    def __iter__(self) -> Iterator[bytes]:
        for key in self._keys:
            answer = self._here.get_object(key)
            while block := answer.resp.read(1 << 20):
                yield block


def stream(sources: Sequence[str], target: str) -> None:
    """GET one after the other, straight into one PUT."""
    here = bucket()
    here.put_object(target, Joined(here, sources))


def one_by_one(sources: Sequence[str], target: str) -> None:
    """GET one after the other, then one PUT: for small objects."""
    here = bucket()
    here.put_object(target, b"".join(here.get_object(key).read() for key in sources))


def parts(sources: Sequence[str], target: str) -> None:
    """The way of s3fs.merge: one copied part a file, all at once."""
    here = bucket()
    upload = here.init_multipart_upload(target).upload_id

    def copy(part: tuple[int, str]) -> PartInfo:
        number, key = part
        return PartInfo(number, here.upload_part_copy(BUCKET, key, None, target, upload, number).etag)

    with ThreadPoolExecutor() as pool:
        here.complete_multipart_upload(target, upload, list(pool.map(copy, enumerate(sources, start=1))))


def files(sources: Sequence[str], target: str) -> None:
    """The way of fsspec: files of ossfs opened, read and written.

    One block holds all: ossfs 2025.5.0 fails at the second flush of a file (PositionNotEqualToLength).
    """
    import ossfs  # noqa: PLC0415 - the other ways need not pay for it

    here = ossfs.OSSFileSystem(endpoint=ENDPOINT, key=KEY, secret=SECRET)
    with here.open(f"{BUCKET}/{target}", "wb", block_size=1 << 30) as out:
        for key in sources:
            with here.open(f"{BUCKET}/{key}", "rb") as file:
                shutil.copyfileobj(file, out, 1 << 20)


WAYS = {"stream": stream, "one-by-one": one_by_one, "parts": parts, "ossfs": files}

if __name__ == "__main__":
    WAYS[sys.argv[1]](sys.argv[2:-1], sys.argv[-1])
