"""A target on an fsspec file system while it is written: nothing shows under its name before it is whole.

S3 shows an object when its upload is complete: parts go straight to the target. fsspec promises no such thing
of the others, most of which publish what was written when a file is closed, even after an exception. There a
temporary is written and moved.

What is asked of the file system runs in threads of the draft's own. A signal interrupts the main thread only;
there, one that came while an upload was begun would leave an upload that nobody knows.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from hashlib import md5
from typing import Any, Protocol

from fsspec.spec import AbstractBufferedFile

from aggregation import stopping
from aggregation.errors import IntegrityError, RefusedError, UnavailableError

from .calls import Calls

PART = 8 * 1024**2
"""Bytes of a part, unless that gives too many: held in memory once for each upload that runs at a time."""

PARTS_MAX = 10_000
"""S3's limit; others have more."""

_UPLOADS = 4
"""Parts under way at a time."""

_GRACE_SECONDS = 5.0
_LEAST_SECONDS = 0.5
"""How long a draft that is thrown away waits for what is under way; less once a signal has come."""


class WriteBrokeError(UnavailableError):
    """A file that is being written cannot go on: only a new one can."""


Compare = Callable[[str], None]


class Draft(Protocol):
    """What a target is written as."""

    def write(self, data: bytes) -> None:
        """Add bytes; what went wrong with earlier ones is raised here too."""
        ...

    def publish(self, size: int, compare: Compare | None) -> None:
        """Make it the target. Atomic as far as the module says.

        `compare` gets the path of what is to be read back: before it becomes the target, but on S3, where
        nothing can be read before.

        Raises:
            IntegrityError: another number of bytes arrived, or `compare` says so.
        """
        ...

    def discard(self) -> None:
        """Remove what there is of it, and wait no longer for that than a signal allows. Idempotent."""
        ...


def new_draft(calls: Calls, doing: str, temporary: str, target: str, size: int) -> Draft:
    """A draft for a target of so many bytes; `temporary` is the path for those that need one."""
    part = max(PART, -(-size // PARTS_MAX // 2**20) * 2**20)
    if calls.location.protocol in ("s3", "s3a"):
        return _S3Draft(calls, doing, target, part)
    return _TemporaryDraft(calls, doing, temporary, target, part)


class _Workers:
    """The threads of a draft."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="draft")
        self._waiting: deque[Future[None]] = deque()
        self._count = count
        self._ended = False

    def start(self, work: Callable[[], None]) -> None:
        """Have it done beside the caller; waits while as many are under way as there are threads."""
        while len(self._waiting) >= self._count:
            self._waiting[0].result()
            self._waiting.popleft()
        self._waiting.append(self._pool.submit(work))

    def do(self, work: Callable[[], None]) -> None:
        """Have it done after all else, and wait for it."""
        for future in self._waiting:
            future.result()
        self._waiting.clear()
        self.start(work)
        self._waiting[0].result()
        self._waiting.clear()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def end_with(self, work: Callable[[], None], what: str) -> None:
        """Have a last thing done once the others have stopped, or note what is left; nothing after end()."""
        if self._ended:
            return
        seconds = stopping.seconds_left()
        patience = _GRACE_SECONDS if seconds is None else max(_LEAST_SECONDS, seconds / 2)
        for future in self._waiting:
            future.cancel()
        wait(self._waiting, patience)
        last = ThreadPoolExecutor(1, thread_name_prefix="discard")  # the others may hang
        if wait([last.submit(work)], patience).not_done:
            stopping.leave(what)
        last.shutdown(wait=False)
        self.end()


class _TemporaryDraft:
    """A file beside the target, moved when it is whole."""

    def __init__(self, calls: Calls, doing: str, temporary: str, target: str, part: int) -> None:
        self._calls = calls
        self._doing = doing
        self._temporary = temporary
        self._target = target
        self._part = part
        self._file: Any = None
        self._workers = _Workers(1)

    def _once(self, ask: Callable[[Any], Any]) -> Any:
        try:
            return self._calls.once(self._doing, ask, writing=True)
        except UnavailableError as error:
            raise WriteBrokeError(error.doing, error.why, error.cure) from error

    def _open(self, fs: Any) -> Any:
        if self._file is None:
            with suppress(Exception):  # an object store has none; where one is lacking the next line says so
                fs.makedirs(self._target.rpartition("/")[0], exist_ok=True)
            self._file = fs.open(self._temporary, "wb", block_size=self._part)
        return self._file

    def write(self, data: bytes) -> None:
        """As it comes; the file gathers it."""
        self._workers.start(lambda: self._once(lambda fs: self._open(fs).write(data)))

    def publish(self, size: int, compare: Compare | None) -> None:
        """Closed, looked at, moved."""
        self._workers.do(lambda: self._once(lambda fs: self._open(fs).close()))
        if compare is not None:
            compare(self._temporary)
        self._workers.do(lambda: self._once(lambda fs: self._move(fs, size)))
        self._workers.end()

    def _move(self, fs: Any, size: int) -> None:
        found = fs.info(self._temporary)["size"]
        if found != size:
            raise IntegrityError(self._doing, f"{size} bytes were written and {found} arrived", "run again")
        if self._calls.moves:
            with suppress(FileNotFoundError):
                if fs.info(self._target)["type"] == "directory":  # some would move the file into it
                    why = f"{self._calls.location.masked(self._target)}: a directory stands there"
                    raise RefusedError(self._doing, why, "move it away")
            fs.mv(self._temporary, self._target)
        else:  # not by mv(), which would take * and ? in a name for a pattern
            fs.cp_file(self._temporary, self._target)
            fs.rm_file(self._temporary)

    def discard(self) -> None:
        """The file is dropped where it can be, and removed."""

        def drop() -> None:
            file = self._file
            if file is None:
                return
            if isinstance(file, AbstractBufferedFile):
                file.closed = True  # else its close publishes what there is; discard() may expand patterns
            else:
                with suppress(Exception):  # what matters is that it is gone
                    file.close()
            with suppress(Exception):  # what cannot be removed now is a later run's leftover
                self._calls.once(self._doing, lambda fs: fs.rm_file(self._temporary))

        self._workers.end_with(drop, self._calls.location.masked(self._temporary))


class _S3Draft:
    """Parts of an upload, which becomes the object when it is complete; one request where it is small."""

    def __init__(self, calls: Calls, doing: str, target: str, part: int) -> None:
        self._calls = calls
        self._doing = doing
        self._bucket, _, self._key = target.partition("/")
        self._part = part
        self._buffer = bytearray()
        self._upload: str | None = None
        self._tags: dict[int, str] = {}
        self._begun = 0
        self._workers = _Workers(_UPLOADS)

    def _call(self, fs: Any, method: str, **arguments: Any) -> Any:
        return fs.call_s3(method, Bucket=self._bucket, Key=self._key, **arguments)

    def _ask(self, method: str, **arguments: Any) -> Any:
        return self._calls(self._doing, lambda fs: self._call(fs, method, **arguments), writing=True)

    def write(self, data: bytes) -> None:
        """Gathered into parts; up to four go at a time."""
        self._buffer += data
        while len(self._buffer) > self._part:
            if self._upload is None:
                self._workers.do(self._begin)
            part = bytes(self._buffer[: self._part])
            del self._buffer[: self._part]
            self._send(part)

    def _begin(self) -> None:
        self._upload = self._ask("create_multipart_upload")["UploadId"]

    def _send(self, data: bytes) -> None:
        self._begun += 1
        number = self._begun

        def send() -> None:
            answer = self._ask("upload_part", UploadId=self._upload, PartNumber=number, Body=data)
            self._tags[number] = answer["ETag"]

        self._workers.start(send)

    def publish(self, size: int, compare: Compare | None) -> None:
        """One PUT, whose CRC32 the service compares; or the last part, the end, and a look at the size."""
        if self._upload is None:
            self._workers.do(lambda: self._ask("put_object", Body=bytes(self._buffer)))
        else:
            self._send(bytes(self._buffer))
            self._workers.do(self._complete)
        self._workers.end()
        found = size if self._upload is None else self._ask("head_object")["ContentLength"]
        if found != size:
            raise IntegrityError(self._doing, f"{size} bytes were written and {found} arrived", "run again")
        if compare is not None:
            compare(f"{self._bucket}/{self._key}")

    def _complete(self) -> None:
        tags = [tag for _, tag in sorted(self._tags.items())]
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, start=1)]
        try:
            self._ask("complete_multipart_upload", UploadId=self._upload, MultipartUpload={"Parts": parts})
        except IntegrityError:  # the upload is gone: what was asked for before may have been done, unheard
            if self._ask("head_object").get("ETag") != _tag_of_parts(tags):
                raise

    def discard(self) -> None:
        """The upload is aborted."""

        def abort() -> None:
            if upload := self._upload:
                with suppress(Exception):  # the bucket's own rule ends what cannot be ended now
                    ask = partial(self._call, method="abort_multipart_upload", UploadId=upload)
                    self._calls.once(self._doing, ask)

        self._workers.end_with(abort, f"an upload to s3://{self._bucket}/{self._key}")


def _tag_of_parts(tags: list[str]) -> str:
    """The ETag of an object of these parts, by S3's rule; empty where theirs are no MD5s."""
    try:
        digests = b"".join(bytes.fromhex(tag.strip('"')) for tag in tags)
    except ValueError:
        return ""
    return f'"{md5(digests, usedforsecurity=False).hexdigest()}-{len(tags)}"'
