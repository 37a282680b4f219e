"""A file that appears under its name whole, or not at all."""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from errno import EBUSY, EINVAL, ENOENT, ENOSYS, ENOTSUP, EXDEV
from typing import Self

from aggregation.errors import AggregationError, IntegrityError, RefusedError, UnavailableError, printable
from aggregation.stores.checksum import crc64_of

from . import mounts
from .temporaries import Temporaries
from .volume import Volume, sync_folder

_NO_SYNC = frozenset({EINVAL, ENOSYS, ENOTSUP})
"""What file systems without fsync answer."""

_NO_RENAME = frozenset({ENOSYS, ENOTSUP, EXDEV})

_COMPARE_BYTES = 1 << 20


class NewFile:
    """A target while it is written; leaving the block unpublished removes it.

    `descriptor` is open for writing in the block, until it is published.
    """

    def __init__(self, volume: Volume, temporaries: Temporaries, doing: str, target: str) -> None:
        self.doing = doing
        self.path = volume.path(target)
        self.descriptor = -1
        self._volume = volume
        self._temporaries = temporaries
        self._target = target
        self._temporary = ""
        self._made_here = True

    @classmethod
    def of(
        cls, volume: Volume, temporaries: Temporaries, doing: str, target: str, written: tuple[str, int]
    ) -> Self:
        """The file that a command wrote beside the target: its path, and a descriptor of it."""
        new = cls(volume, temporaries, doing, target)
        new._temporary, new.descriptor = written
        new._made_here = False
        return new

    def __enter__(self) -> Self:
        if self._made_here:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            self._temporary, self.descriptor = self._temporaries.create(
                self.doing, self._target, lambda path: os.open(path, flags, 0o666)
            )
            try:
                self._see_where_it_is()
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor >= 0:
            with suppress(OSError):  # the error that brought us here says more
                os.close(self.descriptor)
        if self._temporary:
            self._temporaries.discard(self._temporary)

    def _see_where_it_is(self) -> None:
        """A volume that went away leaves its bare mount point, where nothing may be written."""
        try:
            device = os.fstat(self.descriptor).st_dev
        except OSError as error:
            raise self.error(error) from error
        if not self._volume.holds(device):  # or the folder is a volume of its own
            self._volume.check_presence(self.doing)

    def error(self, error: OSError) -> AggregationError:
        """The error of writing it."""
        return self._volume.error(error, self.doing, self.path, writing=True)

    def size(self) -> int:
        """Bytes that it has while it is open."""
        try:
            return os.fstat(self.descriptor).st_size
        except OSError as error:
            raise self.error(error) from error

    def sync(self) -> None:
        """Bring the bytes to the disk, or find out that there is no room for them."""
        try:
            os.fsync(self.descriptor)
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise self.error(error) from error

    def publish(self, size: int, check: Callable[[], int | None] | None = None) -> None:
        """Close, see that `size` bytes arrived, rename to the target, sync the folder.

        `check` gives the CRC64 that the file must have. It is read back once it is closed: before that an
        object store's mount does not show it.

        Raises:
            IntegrityError: other bytes arrived than were written.
            AggregationError: it cannot be closed or renamed.
        """
        self._take_over_mode()
        descriptor, self.descriptor = self.descriptor, -1
        try:
            os.close(descriptor)  # an object store's mount uploads here, and answers here
            status = self._volume.patience.call(lambda: os.stat(self._temporary))
        except FileNotFoundError as error:
            raise self._vanished(error) from error
        except OSError as error:
            raise self.error(error) from error
        if status.st_size != size:
            raise IntegrityError(
                self.doing,
                f"{size} bytes were written and {status.st_size} arrived",
                "run again; if it stays, check the mount",
            )
        if self._made_here:
            self._temporaries.note_time(status.st_mtime)
        if check is not None and (found := self.crc64()) != (crc64 := check()):
            why = f"what was written has CRC64 {found}, what was read {crc64}"
            raise IntegrityError(self.doing, why, "run again; if it stays, check the disk or the mount")
        self._rename(status)
        sync_folder(os.path.dirname(self.path) or ".")

    def _vanished(self, error: OSError) -> AggregationError:
        """The error of a temporary that somebody removed.

        Raises:
            UnavailableError: its mount went away.
        """
        self._volume.check_presence(self.doing, error)
        why = f"{printable(self._temporary)} was written and is gone"
        return UnavailableError(self.doing, why, "run again; if it stays, look for what removes hidden files")

    def crc64(self) -> int:
        """The CRC64 of the file, read past this machine's cache where it can be."""
        found = 0
        try:
            with open(self._temporary, "rb", buffering=0) as file:
                with suppress(OSError):  # it is advice
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                block = memoryview(bytearray(_COMPARE_BYTES))
                while count := file.readinto(block):
                    found = crc64_of(block[:count], found)
        except FileNotFoundError as error:
            raise self._vanished(error) from error
        except OSError as error:
            raise self.error(error) from error
        return found

    def _take_over_mode(self) -> None:
        """Give it the mode of the file that it replaces, and its owner where that is allowed.

        What a command wrote gets the mode of a plain join otherwise. Not where each change is a request, on
        mounts whose modes are the mount's options.
        """
        if not self._volume.keeps_modes():
            return
        with suppress(OSError):  # the bytes are right all the same
            mine = os.fstat(self.descriptor)
            try:
                old = os.lstat(self.path)
            except FileNotFoundError:
                old = None
            if old is not None and stat.S_ISREG(old.st_mode):
                mode = stat.S_IMODE(old.st_mode) & 0o777
                if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
                    with suppress(OSError):  # only root may give files away
                        os.fchown(self.descriptor, old.st_uid, old.st_gid)
            elif self._made_here:
                return
            else:
                mode = 0o666 & ~_umask()
            if stat.S_IMODE(mine.st_mode) != mode:
                os.fchmod(self.descriptor, mode)

    def _rename(self, status: os.stat_result) -> None:
        took_place = False

        def rename() -> None:
            nonlocal took_place
            try:
                os.rename(self._temporary, self.path)
            except OSError as error:
                if error.errno == EBUSY and mounts.is_mount_point(self.path):
                    why = f"{printable(self.path)} is a mount point, which no file can replace"
                    raise RefusedError(self.doing, why, "mount the folder that holds it instead") from error
                took_place = self._took_place(error, status)
                if not took_place:
                    raise

        try:
            self._volume.patience.call(rename, opening=False)
        except OSError as error:
            raise self._rename_error(error) from error
        if not took_place:  # else both names may exist
            self._temporaries.kept(self._temporary)
            self._temporary = ""

    def _rename_error(self, error: OSError) -> AggregationError:
        if error.errno == ENOENT and not os.path.lexists(self._temporary):
            return self._vanished(error)
        if error.errno in _NO_RENAME:
            why = f"{printable(self.path)}: renaming a file: {os.strerror(error.errno)}"
            cure = "use a mount that can rename, or the object store itself by --root oss://BUCKET/PREFIX"
            return RefusedError(self.doing, why, cure)
        return self.error(error)

    def _took_place(self, error: OSError, status: os.stat_result) -> bool:
        """Whether the target holds what the temporary held, although the rename reported an error.

        A network client that sends a request again gets the error of the second. On an object store's mount a
        rename is a copy and a deletion: where only the deletion failed both names exist, and where only the
        answer got lost the temporary is gone.
        """
        try:
            there = os.lstat(self.path)
            if (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino):
                return True
            if there.st_size != status.st_size:
                return False
            with open(self.path, "rb") as target, open(self._temporary, "rb") as temporary:
                while block := temporary.read(_COMPARE_BYTES):
                    if target.read(_COMPARE_BYTES) != block:
                        return False
                return True
        except OSError as missing:
            gone = missing.errno == ENOENT and missing.filename == self._temporary
            return gone and error.errno != ENOENT


def _umask() -> int:
    """The mask of this process, read without a change that other threads would see."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next(int(line.split()[1], 8) for line in file if line.startswith("Umask:"))
    except (OSError, StopIteration):
        mask = os.umask(0o077)
        os.umask(mask)
        return mask
