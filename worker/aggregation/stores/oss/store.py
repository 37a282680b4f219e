"""OSS: objects joined by the service itself, so that their bytes do not pass through the pod.

A multipart upload copies ranges of the sources, as `parts` plans it; short ones are fetched and uploaded. The
target appears when the upload is completed, whole, and its CRC64 has been compared with the sources' before.
What would save less traffic than its requests are worth is fetched and written by one PUT.
"""

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, suppress
from itertools import islice
from typing import NamedTuple, Self

from aggregation import stopping
from aggregation.errors import (
    AggregationError,
    IntegrityError,
    MissingInputError,
    RefusedError,
    UnavailableError,
)
from aggregation.layout import STALE_SECONDS, parse_temporary, temporary_beside
from aggregation.location import Location
from aggregation.scratch import folder as scratch_folder
from aggregation.scratch import make_room, save
from aggregation.stores.checksum import combined, crc64_of
from aggregation.stores.promise import Advance, Entry, Settings, Written, describe
from aggregation.stores.readahead import blocks, read_ahead

from . import parts
from .answers import ObjectState
from .client import OssClient
from .credentials import from_environment
from .interference import NoSuchUploadError, ReplacedError, undisturbed
from .marks import new_token
from .objects import Objects
from .parts import Copy, Join, Part, Range, Relay
from .uploads import Uploads

PUT_MAX = 8 * 1024**2
"""Bytes of a target that may be held in memory and written by one PUT."""

WORTH = 2 * 1024**2
"""Bytes of traffic that an upload in parts has to save to be worth three requests more than a PUT."""

LIST_FROM = 100
"""Sources from which on one listing is cheaper than a HEAD each."""

UPLOADS_AT_ONCE = 4
"""Uploaded parts in memory at a time; copies need none."""


class Source(NamedTuple):
    """An input: its key, its size in bytes, and its state where it has been asked for."""

    key: str
    size: int
    state: ObjectState | None

    @property
    def known_crc64(self) -> int | None:
        """Its CRC64, where it is known."""
        return self.state.known_crc64 if self.state else None


class OssStorage:
    """The objects under a bucket's prefix. See Storage for what each method promises.

    Raises:
        ConfigurationError: endpoint or credentials are missing or incomplete.
    """

    def __init__(self, location: Location, settings: Settings) -> None:
        bucket, _, prefix = location.path.partition("/")
        self._url = str(location)
        self._prefix = f"{prefix}/" if prefix else ""
        self.settings = settings
        # One connection each for what runs at a time: parts, the fetches within them, and the main thread.
        connections = 2 * settings.parallel + 1
        configuration = from_environment(f"opening {location}", bucket)
        self.client = OssClient(
            configuration,
            bucket,
            connections=connections,
            parallel=settings.parallel,
            timeout=settings.timeout,
        )
        self.objects = Objects(self.client)
        self.uploads = Uploads(self.client)
        self._begun: dict[tuple[str, str], str] = {}  # tokens of those neither completed nor aborted
        self._intermediates: set[str] = set()
        self.uploading = threading.Semaphore(UPLOADS_AT_ONCE)

    def path(self, name: str) -> str:
        """The name as a URL."""
        return f"{self._url}/{name}" if name else self._url

    def names(self, folder: str) -> list[str]:
        """One listing, a request for each 1,000 objects."""
        return [entry.name for entry in self.entries(folder)]

    def entries(self, folder: str) -> list[Entry]:
        """One listing, a request for each 1,000 objects; sizes and times come with it."""
        prefix = self._prefix_of(folder)
        found = []
        for listed in self.objects.list(prefix):
            name = listed.key.removeprefix(prefix).removesuffix("/")
            if name and not parse_temporary(name):
                found.append(Entry(name, listed.size, listed.modified, f"{listed.size}-{listed.etag}"))
        return found

    def find(self, name: str) -> Entry | None:
        """One HEAD."""
        state = self.objects.head(self._key(name))
        return state and Entry(
            os.path.basename(name), state.size, state.modified, f"{state.size}-{state.etag}"
        )

    def concatenate(
        self,
        sources: Sequence[str],
        target: str,
        *,
        advance: Advance | None = None,
        checksum: bool = False,
    ) -> Written:
        """By the service, or by one PUT. Begun anew once if a source was replaced meanwhile."""
        del checksum  # it costs nothing here
        doing = f"joining {describe(sources)} into {self.path(target)}"
        return undisturbed(doing, lambda: self._concatenate(doing, sources, target, advance))

    def workplace(self, target: str, scratch: str | None) -> AbstractContextManager[str]:
        """A folder in `scratch`, or in the system's temporary folder."""
        del target
        return scratch_folder(scratch)

    def download(self, sources: Sequence[str], folder: str) -> list[str]:
        """By ranged GETs in parallel; each file's CRC64 is compared with the service's."""
        doing = f"fetching {describe(sources)}"
        return undisturbed(doing, lambda: self._download(doing, sources, folder))

    def _download(self, doing: str, names: Sequence[str], folder: str) -> list[str]:
        sources = self._look_up(doing, names, list_from=None)
        make_room(folder, sum(source.size for source in sources))
        pieces = ((source, Range(0, *border)) for source in sources for border in blocks(source.size))
        fetched = read_ahead(lambda piece: self.fetch(doing, *piece), pieces, self.settings.share)
        paths = []
        for source in sources:
            path = os.path.join(folder, os.path.basename(source.key))
            checksum = _Checksum(data for data, _ in islice(fetched, sum(1 for _ in blocks(source.size))))
            save(doing, path, checksum)
            if source.known_crc64 not in (None, checksum.crc64):
                raise IntegrityError(doing, f"{source.key} arrived with another CRC64", "run again")
            paths.append(path)
        return paths

    def upload(
        self, path: str, target: str, *, advance: Advance | None = None, checksum: bool = False
    ) -> Written:
        """By one PUT, or by a multipart upload of parts that fit in memory; the CRC64 is compared."""
        del checksum  # it costs next to nothing here
        started = time.perf_counter()
        before = self.client.requests
        doing = f"uploading {self.path(target)}"
        size = os.stat(path).st_size
        with open(path, "rb", buffering=0) as file:
            if size <= PUT_MAX:
                crc64 = self._put(doing, self._key(target), file.read())
                if advance is not None:
                    advance(size)
            else:
                crc64 = undisturbed(
                    doing, lambda: self._upload_parts(doing, file.fileno(), size, target, advance)
                )
        seconds = time.perf_counter() - started
        return Written(size, crc64, "streamed", self.client.requests - before, seconds, verified=True)

    def _upload_parts(
        self, doing: str, descriptor: int, size: int, target: str, advance: Advance | None
    ) -> int:
        with _Assembly(self, doing, (), advance) as assembly:
            return assembly.send_file(self._key(target), descriptor, size)

    def write(self, target: str, data: bytes) -> None:
        """One PUT."""
        self._put(f"writing {self.path(target)}", self._key(target), data)

    def read(self, name: str, limit: int) -> bytes:
        """One GET."""
        return self.objects.read(self._key(name), limit)

    def remove(self, names: Sequence[str]) -> None:
        """A request for each 1,000 objects."""
        if names:
            self.objects.delete_many([self._key(name) for name in names])

    def remove_tree(self, folder: str) -> None:
        """A listing and a deletion for each 1,000 objects; uploads into the folder are aborted."""
        prefix = self._prefix_of(folder)
        keys = (listed.key for listed in self.objects.list(prefix, delimiter=""))
        self.objects.delete_many(sorted(keys, key=lambda key: (-key.count("/"), key)))
        with suppress(AggregationError):  # the bucket's lifecycle rule is there for these
            for upload in self.uploads.list(prefix):
                self.uploads.abort(upload.key, upload.id)

    def sweep(self, folder: str) -> None:
        """Delete intermediate objects, and abort uploads into them, a day after they began.

        The day is the service's. An upload into any other key is left to the bucket's lifecycle rule: nothing
        shows who began it.
        """
        prefix = self._prefix_of(folder)

        def is_leftover(key: str, since: float) -> bool:
            aged = since < self.client.now() - STALE_SECONDS
            return aged and parse_temporary(os.path.basename(key)) is not None

        with suppress(AggregationError):  # what cannot be swept now is there for the next run
            for upload in self.uploads.list(f"{prefix}.", "/", cleaning=True):
                if is_leftover(upload.key, upload.began):
                    self.uploads.abort(upload.key, upload.id)
            for listed in self.objects.list(f"{prefix}."):
                if is_leftover(listed.key, listed.modified):
                    self.objects.delete(listed.key)

    def close(self) -> None:
        """Abort the uploads, and delete the intermediate objects, that an interruption left."""
        # Side by side: after a signal there are seconds for all of them.
        list(read_ahead(lambda begun: self.abort(*begun), list(self._begun), self.settings.parallel))
        list(read_ahead(self.drop, list(self._intermediates), self.settings.parallel))
        self.client.close()

    def _key(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _prefix_of(self, folder: str) -> str:
        """What the keys in a folder begin with; empty for the bucket itself."""
        key = self._key(folder).rstrip("/")
        return f"{key}/" if key else ""

    def _concatenate(self, doing: str, names: Sequence[str], target: str, advance: Advance | None) -> Written:
        started = time.perf_counter()
        before = self.client.requests
        sources = self._look_up(doing, names)
        sizes = [source.size for source in sources]
        try:
            copyable = [source.state is None or source.state.copyable for source in sources]
            join = parts.plan(sizes, copyable, self.settings.max_parts)
        except ValueError as error:
            raise RefusedError(doing, str(error), "merge fewer files into one object") from error
        total = sum(sizes)
        copied = parts.copied_size(join)
        by_put = total <= PUT_MAX and copied < WORTH
        make = self._make_verified if self.settings.verify else self._make
        crc64, verified = make(doing, sources, self._key(target), None if by_put else join, advance)
        return Written(
            total,
            crc64,
            "server-side" if copied > total // 2 and not by_put else "streamed",
            self.client.requests - before,
            time.perf_counter() - started,
            verified,
        )

    def _make(
        self, doing: str, sources: Sequence[Source], key: str, join: Join | None, advance: Advance | None
    ) -> tuple[int | None, bool]:
        """Make the object, by one PUT without a plan. Returns its CRC64, and whether that was compared."""
        if join is None:
            return self._fetch_and_put(doing, sources, key, advance), True
        with _Assembly(self, doing, sources, advance) as assembly:
            return assembly.make(key, join)

    def _make_verified(
        self, doing: str, sources: Sequence[Source], key: str, join: Join | None, advance: Advance | None
    ) -> tuple[int | None, bool]:
        """The same by way of an intermediate object, which is read back before anything is published."""
        made = self.intermediate(key)
        try:
            self._make(doing, sources, made, join, advance)
            copy = self.state_of(doing, made)
            self._read_back(doing, sources, copy)
            plan = parts.plan([copy.size], [True], self.settings.max_parts) if copy.size > PUT_MAX else None
            crc64, verified = self._make(doing, [copy], key, plan, None)
            if not verified:  # the service says no CRC64, not even of what it has copied
                self._read_back(doing, [copy], self.state_of(doing, key))
            return crc64, True
        finally:
            self.drop(made)

    def _look_up(self, doing: str, names: Sequence[str], list_from: int | None = LIST_FROM) -> list[Source]:
        """The sources' sizes and states: by a HEAD each, but of many by one listing where they are short."""
        keys = [self._key(name) for name in names]
        short: dict[str, int] = {}
        if list_from is not None and len(keys) >= list_from:
            for folder in sorted({os.path.dirname(key) for key in keys}):
                for listed in self.objects.list(f"{folder}/" if folder else ""):
                    # A symlink may be listed with 0 bytes, and not as one.
                    if 0 < listed.size < parts.PART_MIN and listed.kind != "Symlink":
                        short[listed.key] = listed.size

        def look_up(key: str) -> Source:
            size = short.get(key)
            return self.state_of(doing, key) if size is None else Source(key, size, None)

        return list(read_ahead(look_up, keys, self.settings.share))

    def state_of(self, doing: str, key: str) -> Source:
        """A source by its HEAD."""
        state = self.objects.head(key)
        if state is None:
            why = f"{self.client.url(key)} is missing"
            raise MissingInputError(doing, why, "write it, or run the step that makes it")
        return Source(key, state.size, state)

    def fetch(self, doing: str, source: Source, piece: Range) -> tuple[bytes, ObjectState | None]:
        """A range of a source, its CRC64 checked if the range is all of it.

        Raises:
            ReplacedError: the source is not what it was.
            IntegrityError: what arrived is not what the service has.
        """
        if not piece.size:
            return b"", source.state
        etag = source.state.etag if source.state else None
        data, state = self.objects.get(source.key, piece.start, piece.size, etag)
        if piece.size == source.size and state.known_crc64 not in (None, crc64_of(data)):
            raise IntegrityError(doing, f"{source.key} arrived with another CRC64", "run again")
        return data, state

    def _fetch_and_put(self, doing: str, sources: Sequence[Source], key: str, advance: Advance | None) -> int:
        def fetch(source: Source) -> bytes:
            return self.fetch(doing, source, Range(0, 0, source.size))[0]

        fetched = []
        for data in read_ahead(fetch, sources, self.settings.share):
            fetched.append(data)
            if advance is not None and data:
                advance(len(data))
        return self._put(doing, key, b"".join(fetched))

    def _put(self, doing: str, key: str, data: bytes) -> int:
        crc64 = crc64_of(data)
        found = self.objects.put(key, data, crc64, new_token())
        self.see_published(doing, key, crc64, found)
        return crc64

    def see_published(self, doing: str, key: str, expected: int | None, found: int | None) -> None:
        """Look again at an object that the answer to its making gave another CRC64 than is expected.

        What was sent or copied has been compared before, so it is likelier the answer that is wrong.

        Raises:
            IntegrityError: the service says so twice; the object is published.
        """
        if expected is None or found in (None, expected):
            return
        state = self.objects.head(key)
        again = state.crc64 if state else None
        if again != expected:
            why = f"{self.client.url(key)} is published, with CRC64 {again}, not {expected}"
            raise IntegrityError(doing, why, "do not use it before this command has succeeded: run it again")

    def _read_back(self, doing: str, sources: Sequence[Source], made: Source) -> None:
        """Read the object that was made and the sources, and compare.

        Raises:
            IntegrityError: they differ.
        """
        written = self._checksum([made], doing)
        read = self._checksum(sources, doing)
        if written != read:
            why = f"the {made.size} bytes that were written have CRC64 {written}, the sources' {read}"
            raise IntegrityError(doing, why, "run again; if it stays, ask the service")

    def _checksum(self, sources: Sequence[Source], doing: str) -> int:
        """The CRC64 of the sources' bytes, by reading them all."""
        pieces = ((source, Range(0, start, end)) for source in sources for start, end in blocks(source.size))
        crc64 = 0
        for data, _ in read_ahead(lambda pair: self.fetch(doing, *pair), pieces, self.settings.share):
            crc64 = crc64_of(data, crc64)
        return crc64

    def begin(self, key: str, crc64: int | None) -> str:
        """Begin a multipart upload that close() aborts unless it is completed."""
        token = new_token()

        def register(upload_id: str) -> None:
            self._begun[key, upload_id] = token

        return self.uploads.initiate(key, token, crc64, register)

    def token(self, key: str, upload_id: str) -> str:
        """The mark that the object of an upload has, and no other one."""
        return self._begun.get((key, upload_id), "")

    def ended(self, key: str, upload_id: str) -> None:
        """Note that an upload was completed."""
        self._begun.pop((key, upload_id), None)

    def abort(self, key: str, upload_id: str) -> None:
        """Drop an upload."""
        try:
            self.uploads.abort(key, upload_id)
        except AggregationError:  # a leftover that `sweep` aborts
            stopping.leave(f"an upload to {self.client.url(key)}")
        self._begun.pop((key, upload_id), None)

    def intermediate(self, key: str) -> str:
        """A name beside `key` for an object that close() deletes unless drop() did."""
        made = temporary_beside(key)
        self._intermediates.add(made)
        return made

    def drop(self, key: str) -> None:
        """Delete an intermediate object."""
        try:
            self.objects.delete(key)
        except AggregationError:  # a leftover that `sweep` deletes
            stopping.leave(self.client.url(key))
        self._intermediates.discard(key)


class _Made(NamedTuple):
    """A part that the service has."""

    etag: str
    crc64: int | None
    size: int


class _Checksum:
    """Blocks on their way, and the CRC64 of those that have passed."""

    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream
        self.crc64 = 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self._stream:
            self.crc64 = crc64_of(block, self.crc64)
            yield block


class _Assembly:
    """One join by multipart upload: of its target, and of the intermediate objects that it needs.

    Leaving the block drops the intermediate objects.
    """

    def __init__(
        self, storage: OssStorage, doing: str, sources: Sequence[Source], advance: Advance | None
    ) -> None:
        self._storage = storage
        self._objects = storage.objects
        self._uploads = storage.uploads
        self._doing = doing
        self._sources = list(sources)
        self._advance = advance
        self._intermediates: list[str] = []
        parallel = storage.settings.share
        # Two pools: a part that waits for its fetches must not keep them from running.
        self._parts = ThreadPoolExecutor(parallel, thread_name_prefix="part")
        self._fetches = ThreadPoolExecutor(parallel, thread_name_prefix="fetch")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A request under way is not waited for: without its upload it ends by itself.
        for pool in (self._parts, self._fetches):
            pool.shutdown(wait=False, cancel_futures=True)
        for key in self._intermediates:
            self._storage.drop(key)

    def make(self, key: str, join: Join) -> tuple[int | None, bool]:
        """Make the object. Returns its CRC64, as far as known, and whether it was compared."""
        found = self._assemble(key, join, combined((s.known_crc64, s.size) for s in self._sources))
        expected = combined((source.known_crc64, source.size) for source in self._sources)
        if expected is None:
            return found, False
        if found is None:
            state = self._objects.head(key)
            found = state.crc64 if state else None
        self._storage.see_published(self._doing, key, expected, found)
        return expected, found is not None

    def send_file(self, key: str, descriptor: int, size: int) -> int:
        """Make the object of an open file's bytes. Returns their CRC64, which the service has too."""
        length = max(parts.UPLOAD_SIZE, -(-size // self._storage.settings.max_parts))
        upload_id = self._storage.begin(key, None)

        def send(start: int) -> _Made:
            data = os.pread(descriptor, min(length, size - start), start)
            return self._send(key, upload_id, start // length + 1, data)

        try:
            made = []
            for part in read_ahead(send, range(0, size, length), UPLOADS_AT_ONCE):
                made.append(part)
                if self._advance is not None:
                    self._advance(part.size)
            crc64 = combined((part.crc64, part.size) for part in made)
            reported = self._complete(key, upload_id, made, crc64)
        except BaseException:
            self._storage.abort(key, upload_id)
            raise
        self._storage.ended(key, upload_id)
        self._storage.see_published(self._doing, key, crc64, reported)
        return crc64 or 0

    def _compare(self, expected: int | None, found: int | None) -> None:
        if None not in (expected, found) and expected != found:
            raise IntegrityError(
                self._doing, f"the target's CRC64 is {found}, the sources' {expected}", "run again"
            )

    def _assemble(self, key: str, join: Join, crc64: int | None, *, whole: bool = True) -> int | None:
        """Make one object. Returns the CRC64 that the service says it has, if it does."""
        inner = {
            number: self._intermediate(key, part)
            for number, part in enumerate(join.parts, start=1)
            if isinstance(part, Join)
        }
        upload_id = self._storage.begin(key, crc64)
        try:
            made = self._make_parts(key, upload_id, join, inner, whole=whole)
            found = self._parts_crc64(key, upload_id, made)
            if whole:
                # All sources have been seen by now, and nothing is published yet.
                self._compare(combined((s.known_crc64, s.size) for s in self._sources), found)
            reported = self._complete(key, upload_id, made, crc64)
        except BaseException:
            self._storage.abort(key, upload_id)
            raise
        self._storage.ended(key, upload_id)
        return found if found is not None else reported

    def _intermediate(self, key: str, join: Join) -> Source:
        made = self._storage.intermediate(key)
        self._intermediates.append(made)
        self._assemble(made, join, None, whole=False)
        return self._storage.state_of(self._doing, made)

    def _make_parts(
        self, key: str, upload_id: str, join: Join, inner: dict[int, Source], *, whole: bool
    ) -> list[_Made]:
        def make(number: int, part: Part) -> _Made:
            if isinstance(part, Relay):
                return self._relay(key, upload_id, number, part)
            if isinstance(part, Copy):
                source = self._with_state(part.range.source)
                return self._copy(source, part.range.start, part.range.end, key, upload_id, number)
            return self._copy(inner[number], 0, inner[number].size, key, upload_id, number)

        futures = [self._parts.submit(make, number, part) for number, part in enumerate(join.parts, start=1)]
        for future in as_completed(futures):
            made = future.result()
            if self._advance is not None and whole:
                self._advance(made.size)
        return [future.result() for future in futures]

    def _copy(self, source: Source, start: int, end: int, key: str, upload_id: str, number: int) -> _Made:
        etag = source.state.etag if source.state else ""
        made = self._uploads.copy_part(source.key, etag, start, end, key, upload_id, number)
        return _Made(*made, end - start)

    def _relay(self, key: str, upload_id: str, number: int, part: Relay) -> _Made:
        with self._storage.uploading:
            return self._send(key, upload_id, number, b"".join(self._fetches.map(self._fetch, part.ranges)))

    def _send(self, key: str, upload_id: str, number: int, data: bytes) -> _Made:
        etag, found = self._uploads.upload_part(key, upload_id, number, data)
        crc64 = crc64_of(data)
        self._compare(crc64, found)
        return _Made(etag, crc64, len(data))

    def _fetch(self, piece: Range) -> bytes:
        source = self._sources[piece.source]
        if piece.size != source.size:
            source = self._with_state(piece.source)  # ranges of one object must be of one state of it
        data, state = self._storage.fetch(self._doing, source, Range(0, piece.start, piece.end))
        if source.state is None:
            self._sources[piece.source] = source._replace(state=state)
        return data

    def _with_state(self, number: int) -> Source:
        source = self._sources[number]
        if source.state is None:
            source = self._storage.state_of(self._doing, source.key)
            if source.size != self._sources[number].size:
                raise ReplacedError(source.key)
            self._sources[number] = source
        return source

    def _parts_crc64(self, key: str, upload_id: str, made: Sequence[_Made]) -> int | None:
        """The whole's CRC64 from its parts', asked for where the copies' answers did not tell."""
        found = combined((part.crc64, part.size) for part in made)
        if found is None:
            listed = self._uploads.part_checksums(key, upload_id)
            found = combined((listed.get(number), part.size) for number, part in enumerate(made, start=1))
        return found

    def _complete(self, key: str, upload_id: str, made: Sequence[_Made], crc64: int | None) -> int | None:
        try:
            return self._uploads.complete(key, upload_id, [part.etag for part in made])
        except (NoSuchUploadError, UnavailableError):
            # The answer to an earlier try may have been lost, or hidden by a proxy: then the object is there,
            # with our mark; or another run of the same step has put the same bytes there since.
            state = self._objects.head(key)
            if state is None or state.size != sum(part.size for part in made):
                raise
            if state.token != self._storage.token(key, upload_id) and (crc64 is None or state.crc64 != crc64):
                raise
            return state.crc64
