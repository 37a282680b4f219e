"""Any file system that fsspec knows: memory://, file://, s3:// where s3fs is installed, and so on.

fsspec promises little about writing: most file systems publish what was written when the file is closed, even
after an exception. So a target is written under a temporary name and moved. Where a file system moves by
copying and deleting, as object stores do, the copy is what publishes: it is atomic on a store whose copy is
atomic (S3, GCS), and on others as good as their own move. A process that is killed leaves the temporary.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import fsspec

from .errors import (
    AggregationError,
    ConfigurationError,
    IntegrityError,
    MissingInputError,
    UnavailableError,
    from_os_error,
)
from .fastcopy import crc64_function
from .layout import new_temporary, parse_temporary
from .location import Location
from .readahead import BLOCK, blocks, read_ahead
from .scratch import folder as scratch_folder
from .scratch import make_room, save
from .storage import Advance, Entry, Settings, Written, describe

STALE_SECONDS = 24 * 3600
"""A temporary is a leftover after a day: nobody can ask whether its writer lives."""


_IDENTIFYING = (
    *("ETag", "etag", "md5Hash", "content_md5", "crc32c", "generation", "checksum", "ino"),
    *("mtime", "LastModified", "last_modified", "updated", "created", "modify"),
)
"""What file systems say of a file that changes as its content does."""


class _Piece(NamedTuple):
    """A block of a source."""

    key: str
    start: int
    end: int
    whole: bool
    """Whether it is all of the source."""


def open_filesystem(location: Location) -> fsspec.AbstractFileSystem:
    """The file system that speaks the location's protocol.

    Raises:
        ConfigurationError: fsspec does not know the protocol, or its package is not installed.
    """
    try:
        return fsspec.filesystem(location.protocol)
    except ImportError as error:
        raise ConfigurationError(
            f"opening {location}", str(error).split("\n")[0], "install that package beside the worker"
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"opening {location}", f"fsspec knows no {location.protocol}://", "check the root's protocol"
        ) from error


class RemoteStorage:
    """The files under a prefix of an fsspec file system. See Storage for what each method promises.

    Bytes stream through this process, read ahead in parallel, in order. `concatenate` and `write` are as
    atomic as the file system's move: see the module.

    Raises:
        ConfigurationError: fsspec does not know the protocol, or its package is not installed.
    """

    def __init__(self, location: Location, settings: Settings) -> None:
        self._fs = open_filesystem(location)
        self._url = str(location)
        self._root = location.path
        self._settings = settings
        self._writing: set[str] = set()

    def path(self, name: str) -> str:
        """The name as a URL."""
        return f"{self._url}/{name}" if name else self._url

    def names(self, folder: str) -> list[str]:
        """One listing."""
        return [entry.name for entry in self.entries(folder)]

    def entries(self, folder: str) -> list[Entry]:
        """One listing; sizes and times come with it wherever the file system has them."""
        doing = f"listing {self.path(folder)}"
        try:
            self._fs.invalidate_cache(self._key(folder))
            found = self._fs.ls(self._key(folder), detail=True)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._translated(error, doing) from error
        entries = [_entry(info) for info in found]
        return [entry for entry in entries if entry.name and not parse_temporary(entry.name)]

    def find(self, name: str) -> Entry | None:
        """One look-up."""
        try:
            self._fs.invalidate_cache(self._key(os.path.dirname(name)))
            return _entry(self._fs.info(self._key(name)))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._translated(error, f"looking up {self.path(name)}") from error

    def concatenate(
        self,
        sources: Sequence[str],
        target: str,
        *,
        advance: Advance | None = None,
        checksum: bool = False,
    ) -> Written:
        """Streamed into a temporary, which is then moved. The CRC64 costs next to nothing here."""
        del checksum
        doing = f"joining {describe(sources)} into {self.path(target)}"
        # Sizes first: a missing source shows before anything is written.
        pieces = [piece for source in self._pieces(doing, sources) for piece in source]
        return self._stream(doing, self._fetched(doing, pieces), target, advance)

    def workplace(self, target: str, scratch: str | None) -> AbstractContextManager[str]:
        """A folder in `scratch`, or in the system's temporary folder."""
        del target
        return scratch_folder(scratch)

    def download(self, sources: Sequence[str], folder: str) -> list[str]:
        """In blocks, in parallel."""
        doing = f"fetching {describe(sources)}"
        files = list(self._pieces(doing, sources))
        make_room(folder, sum(pieces[-1].end for pieces in files))
        fetched = self._fetched(doing, [piece for pieces in files for piece in pieces])
        paths = [os.path.join(folder, os.path.basename(name)) for name in sources]
        try:
            for path, pieces in zip(paths, files, strict=True):
                save(doing, path, islice(fetched, len(pieces)))
        except Exception as error:
            raise self._translated(error, doing) from error
        return paths

    def upload(
        self, path: str, target: str, *, advance: Advance | None = None, checksum: bool = False
    ) -> Written:
        """Streamed into a temporary, which is then moved."""
        del checksum  # it costs next to nothing here
        with open(path, "rb", buffering=0) as file:
            return self._stream(
                f"uploading {self.path(target)}", iter(partial(file.read, BLOCK), b""), target, advance
            )

    def _stream(self, doing: str, stream: Iterable[bytes], target: str, advance: Advance | None) -> Written:
        started = time.perf_counter()
        calculate = crc64_function()
        size = crc64 = 0
        temporary = self._new_temporary(target)
        try:
            with self._fs.open(temporary, "wb") as file:
                try:
                    for data in stream:
                        file.write(data)
                        crc64 = calculate(data, crc64)
                        size += len(data)
                        if advance is not None and data:
                            advance(len(data))
                except BaseException:
                    _discard(file)
                    raise
            self._publish(doing, temporary, target, size)
        except Exception as error:
            self._discard_temporary(temporary)
            raise self._translated(error, doing) from error
        except BaseException:
            self._discard_temporary(temporary)
            raise
        return Written(size, crc64, "streamed", 0, time.perf_counter() - started)

    def write(self, target: str, data: bytes) -> None:
        """Through a temporary, as `concatenate`."""
        doing = f"writing {self.path(target)}"
        temporary = self._new_temporary(target)
        try:
            self._fs.pipe_file(temporary, data)
            self._publish(doing, temporary, target, len(data))
        except Exception as error:
            self._discard_temporary(temporary)
            raise self._translated(error, doing) from error
        except BaseException:
            self._discard_temporary(temporary)
            raise

    def read(self, name: str, limit: int) -> bytes:
        """The whole file is fetched where the file system has no ranges."""
        doing = f"reading {self.path(name)}"
        try:
            with self._fs.open(self._key(name), "rb") as file:
                data: bytes = file.read(limit)
                return data
        except Exception as error:
            raise self._translated(error, doing) from error

    def remove(self, names: Sequence[str]) -> None:
        """One deletion a file; folders go where the file system has them."""
        for name in names:
            try:
                self._fs.rm_file(self._key(name))
            except FileNotFoundError:
                continue
            except Exception as error:
                raise self._translated(error, f"removing {self.path(name)}") from error
        for folder in {os.path.dirname(name) for name in names} - {""}:
            with suppress(Exception):  # not empty, gone, or no folders at all: all are fine
                self._fs.rmdir(self._key(folder))

    def remove_tree(self, folder: str) -> None:
        """One listing, and one deletion a file; folders go where the file system has them."""
        try:
            self._fs.invalidate_cache()
            found = self._fs.find(self._key(folder), withdirs=True, detail=True)
            for path, info in found.items():
                if info["type"] != "directory":
                    with suppress(FileNotFoundError):
                        self._fs.rm_file(path)
        except FileNotFoundError:
            return
        except Exception as error:
            raise self._translated(error, f"removing {self.path(folder)}") from error
        folders = {path for path, info in found.items() if info["type"] == "directory"}
        key = self._key(folder)
        above = [self._key(os.path.dirname(folder))] if "/" in folder else []
        for path in [*sorted(folders - {key}, reverse=True), key, *above]:
            with suppress(Exception):  # not empty, gone, or no folders at all: all are fine
                self._fs.rmdir(path)

    def sweep(self, folder: str) -> None:
        """Remove temporaries that are a day old."""
        with suppress(Exception):  # what cannot be swept now is there for the next run
            for info in self._fs.ls(self._key(folder), detail=True):
                entry = _entry(info)
                aged = entry.modified and time.time() - entry.modified > STALE_SECONDS
                if aged and parse_temporary(entry.name):
                    self._fs.rm_file(info["name"])

    def close(self) -> None:
        """Remove the temporaries that an interruption left."""
        for temporary in list(self._writing):
            self._discard_temporary(temporary)

    def _key(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _new_temporary(self, target: str) -> str:
        folder, name = os.path.split(target)
        temporary = new_temporary(name, os.uname().nodename.replace(".", "-"))
        path = self._key(os.path.join(folder, temporary.name()))
        self._writing.add(path)
        with suppress(
            Exception
        ):  # an object store has no folders; where one is lacking the write will say so
            self._fs.makedirs(self._key(folder), exist_ok=True)
        return path

    def _discard_temporary(self, temporary: str) -> None:
        with suppress(Exception):  # what cannot be removed now is a later run's leftover
            self._fs.rm_file(temporary)
        self._writing.discard(temporary)

    def _pieces(self, doing: str, sources: Sequence[str]) -> Iterator[list[_Piece]]:
        """The blocks of each source."""
        infos = read_ahead(lambda name: self._fs.info(self._key(name)), sources, self._settings.parallel)
        for name in sources:
            try:
                info = next(infos)
            except Exception as error:
                raise self._translated(error, doing) from error
            if info["type"] != "file":
                raise MissingInputError(
                    doing, f"{self.path(name)} is not a file", "put the input in its place"
                )
            key, size = self._key(name), int(info["size"])
            yield [_Piece(key, start, end, whole=end - start == size) for start, end in blocks(size)]

    def _fetched(self, doing: str, pieces: Sequence[_Piece]) -> Iterator[bytes]:
        def fetch(piece: _Piece) -> bytes:
            key, start, end, whole = piece
            data: bytes = self._fs.cat_file(key) if whole else self._fs.cat_file(key, start, end)
            if len(data) != end - start:
                raise IntegrityError(
                    doing, f"{key} had {end} bytes and gave {start + len(data)}: it was replaced", "run again"
                )
            return data

        return read_ahead(fetch, pieces, self._settings.parallel)

    def _publish(self, doing: str, temporary: str, target: str, size: int) -> None:
        found = self._fs.info(temporary)["size"]
        if found != size:
            raise IntegrityError(doing, f"{size} bytes were written and {found} arrived", "run again")
        self._fs.mv(temporary, self._key(target))
        self._writing.discard(temporary)

    def _translated(self, error: Exception, doing: str) -> AggregationError | Exception:
        """A file system's error as one of ours; what is not the storage's doing stays what it is."""
        if isinstance(error, AggregationError):
            return error
        if isinstance(error, FileNotFoundError):
            return MissingInputError(doing, f"{error} is missing", "write it, or run the step that makes it")
        if isinstance(error, PermissionError):
            return ConfigurationError(doing, str(error), "check the credentials and what they may do")
        if isinstance(error, (TimeoutError, ConnectionError)):
            return UnavailableError(doing, f"{type(error).__name__}: {error}", "run again")
        if isinstance(error, OSError):
            return from_os_error(error, doing, self._url, writing=True)
        return error


def _entry(info: dict[str, Any]) -> Entry:
    modified = 0.0
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            modified = value.timestamp()
        elif isinstance(value, (int, float)):
            modified = float(value)
        if modified:
            break
    name = os.path.basename(info["name"].rstrip("/"))
    size = int(info["size"] or 0)
    values = [info[key] for key in _IDENTIFYING if info.get(key) is not None]
    said = [str(value.timestamp() if isinstance(value, datetime) else value).strip('"') for value in values]
    return Entry(name, size, modified, "-".join([str(size), *said]))


def _discard(file: Any) -> None:
    """Keep a file from being published by its close, where the file system can be asked to."""
    with suppress(Exception):
        file.discard()
