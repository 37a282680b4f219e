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
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from errno import EACCES, EDQUOT, EFBIG, EINVAL, ENOENT, ENOSPC, ENOSYS, ENOTDIR, ENOTSUP, EROFS
from itertools import chain, islice
from typing import Self, TypeVar

from . import fastcopy
from .errors import (
    AggregationError,
    ConfigurationError,
    IntegrityError,
    MissingInputError,
    from_os_error,
    printable,
)
from .layout import Temporary, is_of_this_process, new_temporary, parse_temporary
from .mounts import is_remote, what_is_mounted
from .storage import Advance, Entry, Settings, Written, describe

STALE_SECONDS = 3600
"""A temporary whose writer cannot be asked for is a leftover when nothing was written to it for so long."""

STALE_FOLDER_SECONDS = 24 * 3600
"""The same for the folder of a command, which may run for hours."""

_OPEN_AHEAD = 64
"""Sources opened before the first byte is written: a missing one of a usual group shows at once, and a merge
of thousands stays far from the limit of open files."""

_PARALLEL_FROM = 4
"""Files from which on threads are worth their start, where each look at a file is a request."""

_TO_READ = os.O_RDONLY | os.O_NONBLOCK
"""Not to block: a FIFO in a file's place is then refused, instead of waiting for its writer."""

_WARM_BYTES = 1 << 20
"""What a mount is asked to fetch of a larger file ahead of its turn."""

_NO_SYNC = frozenset({EINVAL, ENOSYS, ENOTSUP})
"""What file systems without fsync answer."""

_COMPARE_BYTES = 1 << 20

_TARGET_ERRORS = frozenset({ENOSPC, EDQUOT, EFBIG, EROFS})
"""Errors of a copy that can come from its target only."""


Made = TypeVar("Made")

_Source = tuple[str, int, int, bytes]
"""An input: its path, its descriptor, its size in bytes as far as one can know, and its first bytes where
they have been read; a negative descriptor says that there are no more."""


class LocalStorage:
    """The files under a directory. See Storage for what each method promises."""

    def __init__(self, root: str, settings: Settings = Settings()) -> None:  # noqa: B008 - it is frozen
        self._root = root
        self._prefix = os.path.join(root, "")
        self._verify = settings.verify
        self._parallel = settings.parallel
        self._host = _host()
        self._writing: set[str] = set()  # paths of this process's temporaries, as long as they may exist
        self._leftovers: dict[str, dict[str, list[str]]] = {}  # folder → target → temporaries found there
        self._remote: bool | None = None

    def path(self, name: str) -> str:
        """The name below the directory."""
        return f"{self._prefix}{name}" if name else self._root

    def names(self, folder: str) -> list[str]:
        """One scan of the folder, which a later `sweep` makes use of."""
        try:
            return self._scan(folder)
        except OSError as error:
            if folder and error.errno in (ENOENT, ENOTDIR):
                return []
            if error.errno == ENOENT:
                raise self._missing_root("listing the levels", MissingInputError) from error
            raise from_os_error(error, "listing the levels", self.path(folder), writing=False) from error

    def entries(self, folder: str) -> list[Entry]:
        """One scan of the folder, and a stat a file; on a remote mount these overlap."""

        def look_up(name: str) -> Entry | None:
            try:
                status = os.stat(self.path(f"{folder}/{name}" if folder else name))
            except OSError:
                return None  # removed meanwhile, or a link to nowhere: nothing that can be joined
            return Entry(name, status.st_size, status.st_mtime)

        return [entry for entry in self.each(look_up, self.names(folder)) if entry]

    def find(self, name: str) -> Entry | None:
        """One stat."""
        path = self.path(name)
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise from_os_error(error, "looking up a file", path, writing=False) from error
        return Entry(os.path.basename(name), status.st_size, status.st_mtime)

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
                    for source, descriptor, size, head in opened:  # noqa: B007 - for the error below
                        appender.append(descriptor, size, head)
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

    def workplace(self, target: str, scratch: str | None) -> AbstractContextManager[str]:
        """A hidden folder beside the target, where a rename publishes; or one in `scratch`."""
        from .scratch import folder  # noqa: PLC0415 - for commands only

        return folder(scratch) if scratch else self._beside(target)

    @contextmanager
    def _beside(self, target: str) -> Iterator[str]:
        path = self.new_temporary(target)
        doing = f"making a folder beside {printable(self.path(target))}"
        try:
            self._create(doing, target, path, lambda: os.mkdir(path, 0o700))
            yield path
        finally:
            self.discard(path)

    def download(self, sources: Sequence[str], folder: str) -> list[str]:
        """Nothing is copied: the command gets the volume's own files, which are there and can be read."""
        del folder
        doing = f"opening {describe(sources)}"

        def look_up(name: str) -> str:
            path, descriptor, *_ = self.open_source(doing, name)
            os.close(descriptor)
            return os.path.abspath(path)

        return list(self.each(look_up, sources))

    def upload(
        self, path: str, target: str, *, advance: Advance | None = None, checksum: bool = False
    ) -> Written:
        """By a rename within the volume, by a copy from elsewhere; what was copied can be verified."""
        started = time.perf_counter()
        doing = f"publishing {printable(self.path(target))}"
        try:
            descriptor = os.open(path, os.O_RDONLY)
            status = os.fstat(descriptor)
        except OSError as error:
            raise from_os_error(error, doing, path, writing=False) from error
        if os.path.dirname(path) in self._writing:  # beside the target, where nothing but a rename is needed
            with _NewFile(self, doing, target, written=(path, descriptor)) as new:
                new.sync()
                crc64 = new.crc64() if checksum else None
                new.publish(status.st_size)
            if advance is not None:
                advance(status.st_size)
            return Written(status.st_size, crc64, "renamed", 0, time.perf_counter() - started)
        try:
            with _NewFile(self, doing, target) as new:
                checksum = checksum or self._verify
                appender = fastcopy.Appender(new.descriptor, checksum=checksum, advance=advance)
                try:
                    appender.append(descriptor, status.st_size)
                    appender.flush()
                except OSError as error:
                    raise from_os_error(error, doing, path, writing=True) from error
                new.sync()
                way = appender.way()
                if self._verify:
                    new.compare(appender.crc64)
                new.publish(appender.size)
        finally:
            os.close(descriptor)
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

    def overlaps(self, names: Sequence[str]) -> bool:
        """Whether to look at so many files from several threads at once."""
        return len(names) >= _PARALLEL_FROM and self.is_remote()

    def each(
        self,
        function: Callable[[str], Made],
        names: Sequence[str],
        discard: Callable[[Made], None] = lambda _: None,
    ) -> Generator[Made]:
        """What the function makes of each name, in order; several at once where each waits for a server.

        `discard` gets what was made for nothing, when the generator is closed early.
        """
        if not self.overlaps(names):
            return (function(name) for name in names)
        from .readahead import read_ahead  # noqa: PLC0415 - start-up that only remote mounts need pay

        return read_ahead(function, names, self._parallel, discard)

    def open_source(self, doing: str, name: str) -> "_Source":
        """Open one input."""
        path = f"{self._prefix}{name}"
        try:
            descriptor = os.open(path, _TO_READ)
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
        return path, descriptor, status.st_size, b""

    def new_temporary(self, target: str) -> str:
        """The path of the temporary that will become `target`. Removes what a dead run left of it."""
        folder, name = os.path.split(target)
        if not (folder and self.is_remote()):
            # On a remote mount a scan may cost a request a file, in every pod: `sweep` does it once.
            self._remove_leftovers(folder, self._find_leftovers(folder).get(name, []))
        temporary = new_temporary(name, self._host).name()
        path = self.path(os.path.join(folder, temporary))
        self._writing.add(path)
        return path

    def create(self, doing: str, target: str, path: str) -> int:
        """Create the temporary. Returns a descriptor to write to."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        return self._create(doing, target, path, lambda: os.open(path, flags, 0o666))

    def _create(self, doing: str, target: str, path: str, make: Callable[[], Made]) -> Made:
        """What `make` makes at `path`, in a folder that is made if it is absent, without a look before."""
        try:
            try:
                return make()
            except FileNotFoundError:
                self._make_folder(doing, os.path.dirname(target))
                return make()
        except OSError as error:
            self._writing.discard(path)
            raise from_os_error(error, doing, os.path.dirname(path), writing=True) from error

    def discard(self, path: str) -> None:
        """Remove a temporary if it is there."""
        try:
            os.unlink(path)
        except IsADirectoryError:
            from shutil import rmtree  # noqa: PLC0415 - for commands only

            rmtree(path, ignore_errors=True)
        except OSError:
            pass  # what cannot be removed now is a later run's leftover
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
        if folder not in self._leftovers:
            with suppress(OSError):  # an absent folder has no leftovers
                self._scan(folder)
        return self._leftovers.setdefault(folder, {})

    def _scan(self, folder: str) -> list[str]:
        """The folder's names without its temporaries; which of those are leftovers is kept."""
        names = os.listdir(self.path(folder))
        hidden = {name: parse_temporary(name) for name in names if name.startswith(".")}
        leftovers: dict[str, list[str]] = {}
        for name, temporary in hidden.items():
            if temporary and self._is_leftover(temporary, self.path(os.path.join(folder, name))):
                leftovers.setdefault(temporary.target, []).append(name)
        self._leftovers.setdefault(folder, leftovers)
        return [name for name in names if not hidden.get(name)] if hidden else names

    def _is_leftover(self, temporary: Temporary, path: str) -> bool:
        if temporary.host == self._host and not self.is_remote():
            if temporary.pid == os.getpid():
                return not is_of_this_process(temporary)
            try:
                os.kill(temporary.pid, 0)
            except ProcessLookupError:
                return True
            except OSError:
                pass  # alive, and another user's
        try:
            status = os.stat(path)
        except OSError:
            return False
        # A folder's time does not move while a command writes a file in it.
        patience = STALE_FOLDER_SECONDS if stat.S_ISDIR(status.st_mode) else STALE_SECONDS
        return time.time() - status.st_mtime > patience

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
        self._opened: deque[_Source] = deque()
        begin = self._read_head if storage.overlaps(names) else self._open
        self._coming = storage.each(begin, names, _close)
        try:
            self._opened.extend(islice(self._coming, _OPEN_AHEAD))
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[_Source]:
        first = (self._opened.popleft() for _ in range(len(self._opened)))
        for source in chain(first, self._coming):
            try:
                yield source
            finally:
                _close(source)

    def close(self) -> None:
        self._coming.close()
        while self._opened:
            _close(self._opened.popleft())

    def _open(self, name: str) -> _Source:
        return self._storage.open_source(self._doing, name)

    def _read_head(self, name: str) -> _Source:
        """Open a file and let its bytes come: all of a small one, the first of a larger one to the mount."""
        path, descriptor, size, head = self._open(name)
        try:
            if size < fastcopy.SMALL:
                head = os.read(descriptor, fastcopy.SMALL)
            else:
                with suppress(OSError):  # it is advice
                    os.posix_fadvise(descriptor, 0, _WARM_BYTES, os.POSIX_FADV_WILLNEED)
        except OSError as error:
            os.close(descriptor)
            raise from_os_error(error, self._doing, path, writing=False) from error
        if len(head) == size:  # it was asked for more: see SMALL
            os.close(descriptor)
            descriptor = -1
        return path, descriptor, size, head


def _close(source: _Source) -> None:
    if source[1] >= 0:
        os.close(source[1])


class _NewFile:
    """A file that appears under its name whole, or not at all: leaving the block unpublished removes it."""

    def __init__(
        self, storage: LocalStorage, doing: str, target: str, *, written: tuple[str, int] | None = None
    ) -> None:
        """A new temporary, or the file at the path `written`, open as the descriptor beside it."""
        self._storage = storage
        self._target = target
        self._temporary, self.descriptor = written or ("", -1)
        self.doing = doing
        self.path = storage.path(target)

    def __enter__(self) -> Self:
        if not self._temporary:
            self._temporary = self._storage.new_temporary(self._target)
            self.descriptor = self._storage.create(self.doing, self._target, self._temporary)
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
        """Read the file back and compare its CRC64."""
        found = self.crc64()
        if found != crc64:
            why = f"what was written has CRC64 {found}, what was read {crc64}"
            raise IntegrityError(self.doing, why, "run again; if it stays, check the disk or the mount")

    def crc64(self) -> int:
        """The CRC64 of the file, read past this machine's cache where it can be."""
        calculate = fastcopy.crc64_function()
        found = 0
        try:
            os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            with open(self._temporary, "rb", buffering=0) as file:
                while block := file.read(_COMPARE_BYTES):
                    found = calculate(block, found)
        except OSError as error:
            raise from_os_error(error, self.doing, self.path, writing=True) from error
        return found

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
