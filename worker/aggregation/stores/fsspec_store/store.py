"""Any file system that fsspec knows: memory://, file://, s3:// where s3fs is installed, and so on.

What a run promises depends on how a file appears (see draft): on S3 by the request that completes it,
which is atomic; elsewhere a temporary is moved, which is as atomic as the file system's own rename (file://,
ftp://, sftp://), or, where it has none, as the copy that publishes (atomic on GCS and Azure).

A process that is killed leaves a temporary, or on S3 an unfinished upload, which shows nowhere and which a
rule of the bucket (AbortIncompleteMultipartUpload) removes. file:// does not flush to the disk: name the
directory itself for that.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from aggregation.errors import AggregationError, IntegrityError, MissingInputError
from aggregation.layout import STALE_SECONDS, parse_temporary, temporary_beside
from aggregation.location import Location
from aggregation.scratch import copies, make_room, save
from aggregation.scratch import folder as scratch_folder
from aggregation.stores.checksum import crc64_of
from aggregation.stores.promise import Advance, Entry, Settings, Written, describe
from aggregation.stores.readahead import BLOCK, blocks, read_ahead

from .calls import Calls, Patience
from .draft import Draft, WriteBrokeError, new_draft
from .entries import entry_of
from .files import Files, Piece

Made = TypeVar("Made")


class FsspecStorage:
    """The files under a prefix of an fsspec file system. See Storage for what each method promises.

    Bytes stream through this process, read ahead in parallel, in order. `concatenate` and `write` are as
    atomic as the file system: see the module. A source that changes while it is read shows by its ETag, times
    or size, as far as the file system tells them: the join is begun anew once, then it fails.

    Raises:
        ConfigurationError: fsspec does not know the protocol, its package is not installed, or its file
            system cannot keep the promises of Storage.
        UnavailableError: it cannot be reached.
    """

    def __init__(self, location: Location, settings: Settings) -> None:
        self._calls = Calls(location, settings)
        self._settings = settings
        self._parallel = 1 if self._calls.alone else settings.share
        self._files = Files(self._calls, self._parallel)
        self._drafts: set[Draft] = set()

    def path(self, name: str) -> str:
        """The name as a URL."""
        return self._files.path(name)

    def names(self, folder: str) -> list[str]:
        """One listing."""
        return [entry.name for entry in self.entries(folder)]

    def entries(self, folder: str) -> list[Entry]:
        """One listing; sizes and times come with it wherever the file system has them."""
        entries = [entry_of(info) for info in self._files.listing(f"listing {self.path(folder)}", folder)]
        return [entry for entry in entries if entry.name and not parse_temporary(entry.name)]

    def glob(self, pattern: str) -> list[str]:
        """The file system's own glob: a listing for each folder that may hold some."""
        found = self._files.glob(f"listing {self.path(pattern)}", pattern)
        return [name for name in found if not parse_temporary(os.path.basename(name))]

    def find(self, name: str) -> Entry | None:
        """One look-up."""
        try:
            return entry_of(self._files.info(f"looking up {self.path(name)}", name))
        except MissingInputError:
            return None

    def foresee(self, names: Sequence[str], held: int) -> None:
        """Nothing: files are fetched side by side."""

    def concatenate(
        self, sources: Sequence[str], target: str, *, advance: Advance | None = None, checksum: bool = False
    ) -> Written:
        """Streamed into a draft, which then appears. The CRC64 costs next to nothing here."""
        del checksum
        doing = f"joining {describe(sources)} into {self.path(target)}"

        def read(advance: Advance | None) -> Written:
            found = self._files.look_up(
                doing, sources
            )  # first, so that a missing one shows before anything is written
            size = sum(entry.size for entry in found)
            stream = self._files.fetched(doing, sources, found)
            return self._stream(
                doing,
                stream,
                target,
                size,
                advance,
                lambda: self._files.check_unchanged(doing, sources, found),
            )

        return self._anew(read, advance)

    def workplace(self, target: str, scratch: str | None) -> AbstractContextManager[str]:
        """A folder in `scratch`, or in the system's temporary folder."""
        del target
        return scratch_folder(scratch)

    def download(self, sources: Sequence[str], folder: str) -> list[str]:
        """In blocks, in parallel."""
        doing = f"fetching {describe(sources)}"
        paths = copies(folder, sources)

        def fetch(_: Advance | None) -> list[str]:
            found = self._files.look_up(doing, sources)
            make_room(folder, sum(entry.size for entry in found))
            fetched = self._files.fetched(doing, sources, found)
            for path, entry in zip(paths, found, strict=True):
                save(doing, path, islice(fetched, sum(1 for _ in blocks(entry.size))))
            self._files.check_unchanged(doing, sources, found)
            return paths

        return self._anew(fetch, None)

    def upload(
        self, path: str, target: str, *, advance: Advance | None = None, checksum: bool = False
    ) -> Written:
        """Streamed into a draft, which then appears."""
        del checksum  # it costs next to nothing here
        doing = f"uploading {self.path(target)}"

        def send(advance: Advance | None) -> Written:
            with open(path, "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                return self._stream(doing, iter(partial(file.read, BLOCK), b""), target, size, advance)

        return self._anew(send, advance)

    def write(self, target: str, data: bytes) -> None:
        """Through a draft, as `concatenate`."""
        doing = f"writing {self.path(target)}"
        self._anew(lambda _: self._stream(doing, [data], target, len(data), None), None)

    def read(self, name: str, limit: int | None) -> bytes:
        """The first bytes only, where the file system has ranges."""
        doing = f"reading {self.path(name)}"
        if limit is None:
            data: bytes = self._calls(doing, lambda fs: fs.cat_file(self._files.key(name)))
            return data
        end = min(limit, self._files.info(doing, name)["size"])
        return self._files.fetch(doing, Piece(self._files.key(name), 0, end))

    def remove(self, names: Sequence[str]) -> None:
        """One deletion a file; folders go where the file system has them."""
        for name in names:
            with suppress(MissingInputError):
                self._calls(f"removing {self.path(name)}", self._removal(name), writing=True)
        for folder in {os.path.dirname(name) for name in names} - {""}:
            with suppress(Exception):  # not empty, gone, or no folders at all: all are fine
                self._calls.once("", partial(_remove_folder, self._files.key(folder)))

    def remove_tree(self, folder: str) -> None:
        """One listing, and one deletion a file; folders go where the file system has them."""
        doing = f"removing {self.path(folder)}"
        key = self._files.key(folder)

        def look(fs: Any) -> dict[str, dict[str, Any]]:
            fs.invalidate_cache()
            found: dict[str, dict[str, Any]] = fs.find(key, withdirs=True, detail=True)
            return found

        try:
            found = self._calls(doing, look)
        except MissingInputError:
            return
        files = [path for path, info in found.items() if info["type"] != "directory"]

        def remove(path: str) -> None:
            with suppress(MissingInputError):
                self._calls(doing, partial(_remove_file, path), writing=True)

        for _ in read_ahead(remove, files, self._parallel):
            pass
        above = [self._files.key(os.path.dirname(folder))] if "/" in folder else []
        for path in [*sorted(set(found) - set(files) - {key}, reverse=True), key, *above]:
            with suppress(Exception):  # not empty, gone, or no folders at all: all are fine
                self._calls.once(doing, partial(_remove_folder, path))

    def _removal(self, name: str) -> Callable[[Any], None]:
        return partial(_remove_file, self._files.key(name))

    def sweep(self, *folders: str) -> None:
        """Remove temporaries that are a day old, by this machine's clock and by the store's own."""
        for folder in folders:
            self._sweep(folder)

    def _sweep(self, folder: str) -> None:
        doing = f"sweeping {self.path(folder)}"
        with suppress(AggregationError):  # what cannot be swept now is there for the next run
            entries = [entry_of(info) for info in self._files.listing(doing, folder)]
            newest = max((entry.modified for entry in entries), default=0.0)
            for entry in entries:
                aged = entry.modified and min(newest, time.time()) - entry.modified > STALE_SECONDS
                if aged and parse_temporary(entry.name):
                    self._calls.once(doing, self._removal(os.path.join(folder, entry.name)))

    def close(self) -> None:
        """Remove what an interruption left."""
        for draft in list(self._drafts):
            self._discard(draft)

    def _anew(self, attempt: Callable[[Advance | None], Made], advance: Advance | None) -> Made:
        """What the attempt gives: begun anew once where a source changed, and while what it writes breaks."""
        patience = Patience(self._settings.timeout)
        changed = 0
        shown = 0
        while True:
            moved = 0

            def show(count: int) -> None:
                nonlocal moved, shown
                moved += count
                if advance is not None:
                    advance(max(0, moved - shown))
                shown = max(shown, moved)

            try:
                return attempt(show)
            except WriteBrokeError as error:
                patience.wait_or_raise(error)
            except IntegrityError:
                changed += 1
                if changed > 1:
                    raise

    def _stream(
        self,
        doing: str,
        stream: Iterable[bytes],
        target: str,
        size: int,
        advance: Advance | None,
        check: Callable[[], None] = lambda: None,
    ) -> Written:
        started = time.perf_counter()
        written = crc64 = 0
        temporary = self._files.key(temporary_beside(target))
        draft = new_draft(self._calls, doing, temporary, self._files.key(target), size)
        self._drafts.add(draft)
        try:
            for data in stream:
                draft.write(data)
                crc64 = crc64_of(data, crc64)
                written += len(data)
                if advance is not None and data:
                    advance(len(data))
            check()
            verified = self._settings.verify
            draft.publish(written, partial(self._read_back, doing, written, crc64) if verified else None)
        except BaseException:
            self._discard(draft)
            raise
        self._drafts.discard(draft)
        return Written(written, crc64, "streamed", 0, time.perf_counter() - started, verified or None)

    def _read_back(self, doing: str, size: int, crc64: int, key: str) -> None:
        """Compare what is stored with what was written.

        Raises:
            IntegrityError: it is something else.
        """
        pieces = (Piece(key, start, end) for start, end in blocks(size))
        found = 0
        for data in read_ahead(lambda piece: self._files.fetch(doing, piece), pieces, self._parallel):
            found = crc64_of(data, found)
        if found != crc64:
            raise IntegrityError(doing, f"CRC64 {crc64} was written and {found} is read back", "run again")

    def _discard(self, draft: Draft) -> None:
        draft.discard()
        self._drafts.discard(draft)


def _remove_file(key: str, fs: Any) -> None:
    with suppress(FileNotFoundError):
        fs.rm_file(key)


def _remove_folder(key: str, fs: Any) -> None:
    fs.rmdir(key)
