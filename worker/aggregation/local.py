"""Directories of this machine, a mounted volume above all.

A file is written under a temporary name beside its target, synced, closed, its size checked, then renamed.
That order is what a FUSE mount of an object store needs: a writer that is killed publishes a truncated object
under the name that it was writing to, and an error of the upload comes from close at the latest. Nothing
rests on fsync, truncate, locks or links, which such mounts lack; an absent name is never looked up without
need, because that costs several requests there.
"""

import os
import stat
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from errno import EACCES, EDQUOT, EFBIG, EINVAL, ENOENT, ENOSPC, ENOSYS, ENOTSUP, EROFS
from typing import Self

from . import fastcopy
from .errors import (
    AggregationError,
    ConfigurationError,
    IntegrityError,
    MissingInputError,
    from_os_error,
    printable,
)
from .layout import Temporary, parse_temporary
from .mounts import is_remote, what_is_mounted
from .storage import Advance, Entry, Settings, Written, describe

STALE_SECONDS = 3600
"""A temporary whose writer cannot be asked for is a leftover when nothing was written to it for so long."""

_OPEN_AHEAD = 64
"""Sources opened before the first byte is written: a missing one of a usual group shows at once, and a merge
of thousands stays far from the limit of open files."""

_NO_SYNC = frozenset({EINVAL, ENOSYS, ENOTSUP})
"""What file systems without fsync answer."""

_COMPARE_BYTES = 1 << 20

_TARGET_ERRORS = frozenset({ENOSPC, EDQUOT, EFBIG, EROFS})
"""Errors of a copy that can come from its target only."""


class LocalStorage:
    """The files under a directory. See Storage for what each method promises."""

    def __init__(self, root: str, settings: Settings = Settings()) -> None:  # noqa: B008 - it is frozen
        self._root = root
        self._verify = settings.verify
        self._token = os.urandom(4).hex()
        self._serial = 0
        self._host = _host()
        self._writing: set[str] = set()  # paths of this process's temporaries, as long as they may exist
        self._leftovers: dict[str, dict[str, list[str]]] = {}  # folder → target → temporaries found there
        self._remote: bool | None = None

    def path(self, name: str) -> str:
        """The name below the directory."""
        return os.path.join(self._root, name) if name else self._root

    def entries(self, folder: str, *, details: bool = False) -> list[Entry]:
        """One scan of the folder; `details` costs a stat a file."""
        path = self.path(folder)
        entries = []
        try:
            with os.scandir(path) as scan:
                for item in scan:
                    if item.name.startswith(".") and parse_temporary(item.name):
                        continue
                    size, modified = 0, 0.0
                    if details:
                        try:
                            status = item.stat()
                        except FileNotFoundError:
                            continue  # removed meanwhile, or a link to nowhere
                        size, modified = status.st_size, status.st_mtime
                    entries.append(Entry(item.name, item.is_dir(), size, modified))
        except FileNotFoundError as error:
            if folder:
                return []
            raise self._missing_root("listing the levels", MissingInputError) from error
        except OSError as error:
            raise from_os_error(error, "listing the levels", path, writing=False) from error
        return entries

    def find(self, name: str) -> Entry | None:
        """One stat."""
        path = self.path(name)
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise from_os_error(error, "looking up a file", path, writing=False) from error
        return Entry(os.path.basename(name), stat.S_ISDIR(status.st_mode), status.st_size, status.st_mtime)

    def concatenate(
        self,
        sources: Sequence[str],
        target: str,
        *,
        advance: Advance | None = None,
        checksum: bool = False,
    ) -> Written:
        """By the kernel where it can, straight into the temporary file."""
        started = time.perf_counter()
        doing = f"joining {describe(sources)} into {printable(self.path(target))}"
        opened = _Sources(self, doing, sources)
        try:
            with _NewFile(self, doing, target) as new:
                checksum = checksum or self._verify
                appender = fastcopy.Appender(new.descriptor, checksum=checksum, advance=advance)
                source = new.path
                try:
                    for source, descriptor, size in opened:  # noqa: B007 - the error below names the last one
                        appender.append(descriptor, size)
                    appender.flush()
                except OSError as error:
                    on_target = error.errno in _TARGET_ERRORS
                    place = new.path if on_target else source
                    raise from_os_error(error, doing, place, writing=on_target) from error
                new.sync()
                way = appender.way()
                if self._verify:
                    new.compare(appender.crc64)
                new.publish(appender.size)
        finally:
            opened.close()
        seconds = time.perf_counter() - started
        return Written(appender.size, appender.crc64, way, 0, seconds, True if self._verify else None)

    def write(self, target: str, data: bytes) -> None:
        """Through a temporary file, as `concatenate`."""
        with _NewFile(self, f"writing {printable(self.path(target))}", target) as new:
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(new.descriptor, view) :]
            except OSError as error:
                raise from_os_error(error, new.doing, new.path, writing=True) from error
            new.sync()
            new.publish(len(data))

    def read(self, name: str, limit: int) -> bytes:
        """From the start of the file."""
        path = self.path(name)
        try:
            with open(path, "rb", buffering=0) as file:
                return file.read(limit)
        except OSError as error:
            raise from_os_error(error, "reading a file", path, writing=False) from error

    def remove(self, names: Sequence[str]) -> None:
        """Unlink each; then remove their folders as far as they are empty."""
        for name in names:
            path = self.path(name)
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise from_os_error(error, "removing a file", path, writing=True) from error
        for folder in {os.path.dirname(name) for name in names} - {""}:
            with suppress(OSError):  # not empty, or gone: both are fine
                os.rmdir(self.path(folder))

    def sweep(self, folder: str) -> None:
        """Remove the folder's leftovers: temporaries whose writer is dead, or silent for an hour."""
        for names in self._find_leftovers(folder).values():
            self._remove_leftovers(folder, names)

    def close(self) -> None:
        """Remove the temporaries that an interruption left."""
        for path in list(self._writing):
            self.discard(path)

    def is_remote(self) -> bool:
        """Whether the root is on a network or FUSE mount, where a listing may cost a request a file."""
        if self._remote is None:
            self._remote = is_remote(self._root)
        return self._remote

    def open_source(self, doing: str, name: str) -> tuple[str, int, int]:
        """Open one input. Returns its path, its descriptor and its size in bytes, as far as one can know."""
        path = self.path(name)
        try:
            # O_NONBLOCK: a FIFO in a file's place is refused below instead of waiting for its writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError as error:
            if not os.path.isdir(self._root):
                raise self._missing_root(doing, MissingInputError) from error
            raise from_os_error(error, doing, path, writing=False) from error
        except OSError as error:
            raise from_os_error(error, doing, path, writing=False) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise MissingInputError(doing, f"{printable(path)} is {kind}", "put the input file in its place")
        return path, descriptor, status.st_size

    def create(self, doing: str, target: str) -> tuple[str, int]:
        """Create the temporary that will become `target`. Returns its path and a descriptor to write to."""
        folder, name = os.path.split(target)
        if not (folder and self.is_remote()):
            # On a remote mount a scan may cost a request a file, in every pod: `sweep` does it once.
            self._remove_leftovers(folder, self._find_leftovers(folder).get(name, []))
        self._serial += 1
        temporary = Temporary(name, self._host, os.getpid(), f"{self._token}{self._serial}").name()
        path = self.path(os.path.join(folder, temporary))
        self._writing.add(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            try:
                return path, os.open(path, flags, 0o666)
            except FileNotFoundError:
                self._make_folder(doing, folder)
                return path, os.open(path, flags, 0o666)
        except OSError as error:
            self._writing.discard(path)
            raise from_os_error(error, doing, os.path.dirname(path), writing=True) from error

    def discard(self, path: str) -> None:
        """Remove a temporary if it is there."""
        with suppress(OSError):  # what cannot be removed now is a later run's leftover
            os.unlink(path)
        self._writing.discard(path)

    def kept(self, path: str) -> None:
        """Note that a temporary has got its final name."""
        self._writing.discard(path)

    def _make_folder(self, doing: str, folder: str) -> None:
        """Create the folder, and above it at most the root: a missing parent means a missing volume."""
        path = self._root
        for part in ["", *folder.split("/")] if folder else [""]:
            path = os.path.join(path, part) if part else path
            try:
                os.mkdir(path)
            except FileExistsError:
                continue
            except FileNotFoundError as error:
                raise self._missing_root(doing, ConfigurationError) from error
            sync_folder(os.path.dirname(path) or ".")

    def _find_leftovers(self, folder: str) -> dict[str, list[str]]:
        """The folder's leftovers by target; scanned once, to keep a tree in one process linear."""
        found = self._leftovers.get(folder)
        if found is None:
            found = self._leftovers[folder] = {}
            with suppress(OSError):  # an absent folder has no leftovers
                for name in os.listdir(self.path(folder)):
                    temporary = parse_temporary(name) if name.startswith(".") else None
                    if temporary and self._is_leftover(temporary, self.path(os.path.join(folder, name))):
                        found.setdefault(temporary.target, []).append(name)
        return found

    def _is_leftover(self, temporary: Temporary, path: str) -> bool:
        if temporary.host == self._host and not self.is_remote():
            if temporary.pid == os.getpid():
                return not temporary.token.startswith(self._token)  # else another thread writes it now
            try:
                os.kill(temporary.pid, 0)
            except ProcessLookupError:
                return True
            except OSError:
                pass  # alive, and another user's
        try:
            return time.time() - os.stat(path).st_mtime > STALE_SECONDS
        except OSError:
            return False

    def _remove_leftovers(self, folder: str, names: list[str]) -> None:
        while names:
            self.discard(self.path(os.path.join(folder, names.pop())))

    def _missing_root(self, doing: str, kind: type[AggregationError]) -> AggregationError:
        return kind(
            doing,
            f"the root {printable(self._root)} does not exist ({what_is_mounted()})",
            "mount the volume that holds it (volumeMounts, docker run -v), or name another --root",
        )


class _Sources:
    """The inputs of one join, opened a little ahead and closed behind."""

    def __init__(self, storage: LocalStorage, doing: str, names: Sequence[str]) -> None:
        self._storage = storage
        self._doing = doing
        self._names = iter(names)
        self._opened: deque[tuple[str, int, int]] = deque()
        try:
            while len(self._opened) < _OPEN_AHEAD and self._open_next():
                pass
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        while self._opened:
            source = self._opened.popleft()
            try:
                yield source
            finally:
                os.close(source[1])
            self._open_next()

    def _open_next(self) -> bool:
        name = next(self._names, None)
        if name is None:
            return False
        self._opened.append(self._storage.open_source(self._doing, name))
        return True

    def close(self) -> None:
        while self._opened:
            os.close(self._opened.popleft()[1])


class _NewFile:
    """A file that appears under its name whole, or not at all: leaving the block unpublished removes it."""

    def __init__(self, storage: LocalStorage, doing: str, target: str) -> None:
        self._storage = storage
        self._target = target
        self._temporary = ""
        self.doing = doing
        self.path = storage.path(target)
        self.descriptor = -1

    def __enter__(self) -> Self:
        self._temporary, self.descriptor = self._storage.create(self.doing, self._target)
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor >= 0:
            with suppress(OSError):  # the error that brought us here says more
                os.close(self.descriptor)
        if self._temporary:
            self._storage.discard(self._temporary)

    def sync(self) -> None:
        """Bring the bytes to the disk, or find out that there is no room for them."""
        try:
            os.fsync(self.descriptor)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise from_os_error(error, self.doing, self.path, writing=True) from error

    def compare(self, crc64: int | None) -> None:
        """Read the file back, past this machine's cache where it can be, and compare its CRC64."""
        calculate = fastcopy.crc64_function()
        found = 0
        try:
            os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            with open(self._temporary, "rb", buffering=0) as file:
                while block := file.read(_COMPARE_BYTES):
                    found = calculate(block, found)
        except OSError as error:
            raise from_os_error(error, self.doing, self.path, writing=True) from error
        if found != crc64:
            why = f"what was written has CRC64 {found}, what was read {crc64}"
            raise IntegrityError(self.doing, why, "run again; if it stays, check the disk or the mount")

    def publish(self, size: int) -> None:
        """Close, check that the file has `size` bytes, rename it to the target, sync the folder."""
        descriptor, self.descriptor = self.descriptor, -1
        try:
            os.close(descriptor)  # an object store's mount uploads here, and answers here
            found = os.stat(self._temporary).st_size
        except OSError as error:
            raise from_os_error(error, self.doing, self.path, writing=True) from error
        if found != size:
            raise IntegrityError(
                self.doing,
                f"{size} bytes were written and {found} arrived",
                "run again; if it stays, check the mount",
            )
        try:
            os.rename(self._temporary, self.path)
        except OSError as error:
            if not self._took_place(error, size):
                raise from_os_error(error, self.doing, self.path, writing=True) from error
        else:
            self._storage.kept(self._temporary)
            self._temporary = ""
        try:
            sync_folder(os.path.dirname(self.path) or ".")
        except OSError as error:
            raise from_os_error(error, self.doing, self.path, writing=True) from error

    def _took_place(self, error: OSError, size: int) -> bool:
        """Whether the target holds what the temporary held, although the rename reported an error.

        On an object store's mount a rename is a copy and a deletion: where only the deletion failed both
        names exist, and where only the answer got lost the temporary is gone.
        """
        try:
            if os.stat(self.path).st_size != size:
                return False
            with open(self.path, "rb") as target, open(self._temporary, "rb") as temporary:
                while block := temporary.read(_COMPARE_BYTES):
                    if target.read(_COMPARE_BYTES) != block:
                        return False
                return True
        except OSError as missing:
            gone = missing.errno == ENOENT and missing.filename == self._temporary
            return gone and error.errno != ENOENT


def sync_folder(path: str) -> None:
    """Bring a folder's names to the disk, where the file system can.

    Raises:
        OSError: the disk failed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno == EACCES:  # a folder may be writable without being readable
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def _host() -> str:
    """This host and PID namespace: process numbers mean the same thing only within both."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return f"{os.uname().nodename[:64].replace('.', '-')}-{namespace}"
