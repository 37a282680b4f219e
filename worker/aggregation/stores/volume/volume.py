"""A directory and what lies under it: where it is, whether it is far away, and whether it is still there."""

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from errno import ECONNABORTED, ENOENT, ENOTCONN, ENOTDIR, ESHUTDOWN
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from aggregation import limits
from aggregation.errors import (
    AggregationError,
    ConfigurationError,
    UnavailableError,
    from_os_error,
    printable,
)
from aggregation.stores.promise import Entry, Settings

from . import mounts
from .patience import Patience

if TYPE_CHECKING:
    from . import synchronised

_PARALLEL_FROM = 4
"""Files from which on threads are worth their start, where each look at a file is a request."""

_AWAY = frozenset({ENOENT, ENOTDIR, ENOTCONN, ECONNABORTED, ESHUTDOWN})
"""What a directory answers that was there, and whose mount went away or lost its process."""

_TRIES = 10
"""How often a folder is made anew that another run, which is done and leaves it empty, removes meanwhile."""

Made = TypeVar("Made")
Item = TypeVar("Item")


Status: TypeAlias = "os.stat_result | synchronised.Status"
"""What an open file is."""


class Volume:
    """The directory that is a store's root."""

    def __init__(self, root: str, settings: Settings) -> None:
        self.root = root
        self.ahead = limits.sources_ahead(settings.joins)
        self.parallel = min(settings.share, self.ahead)
        self.prefix = os.path.join(root, "")
        self.patience = Patience(settings.timeout, self.is_remote)
        self._kind: mounts.Kind = "disk"
        self._device: int | None = None
        self._held = -1
        self.look: Callable[[int], Status] = os.fstat

    def path(self, name: str) -> str:
        """The name below the directory, or from `/` on."""
        if name[:1] == "/":
            return name
        return f"{self.prefix}{name}" if name else self.root

    def is_remote(self) -> bool:
        """Whether the bytes come from elsewhere: a look costs a request, and what fails may pass.

        The first call that finds the directory also notes on which file system it lies.
        """
        if self._device is None:
            try:
                # Kept open, so that no other mount gets the number of this one. With the slash at the path's
                # end autofs mounts what is not mounted yet.
                self._held = os.open(self.prefix, os.O_PATH | os.O_DIRECTORY)
                self._device = os.fstat(self._held).st_dev
            except OSError as error:
                if error.errno in (ENOENT, ENOTDIR):
                    return False
            self._kind = mounts.kind(self.prefix)
            if self._kind != "disk":
                from .synchronised import status  # noqa: PLC0415 - ctypes, for remote mounts only

                self.look = status
        return self._kind != "disk"

    def close(self) -> None:
        """Let go of the directory. Idempotent."""
        held, self._held, self._device = self._held, -1, None
        if held >= 0:
            with suppress(OSError):  # a mount may have gone
                os.close(held)

    def entry(self, name: str, status: os.stat_result) -> Entry:
        """What a look at a file tells of it."""
        identity = f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"
        if not self.is_remote():  # whose mount makes the number up, and another one each time
            identity += f"-{status.st_ino}"
        return Entry(name, status.st_size, status.st_mtime, identity)

    def keeps_modes(self) -> bool:
        """Whether to change files' modes and owners; on FUSE that is a request, or nothing."""
        return not self.is_remote() or self._kind == "network"

    def holds(self, device: int) -> bool:
        """Whether st_dev is that of the file system where the directory was found, as far as it is known."""
        return self._device in (None, device)

    def _has_gone(self) -> bool:
        """Whether the directory was found once, and lies no longer on the file system of that time."""
        if self._device is None:
            return False
        try:
            return not self.holds(os.stat(self.prefix).st_dev)
        except OSError as error:
            return error.errno in _AWAY  # anything else says nothing about where it is

    def check_presence(self, doing: str, cause: BaseException | None = None) -> None:
        """See that the directory is still the one that was found.

        Raises:
            UnavailableError: its mount went away, or another one came in its place.
        """
        if self._has_gone():
            raise self._went_away(doing) from cause

    def _went_away(self, doing: str) -> UnavailableError:
        """The error of a mount that was there when the work began."""
        why = f"the volume under {printable(self.root)} went away ({mounts.what_is_mounted()})"
        return UnavailableError(doing, why, "nothing was written in its place: run again once it is mounted")

    def missing_root(self, doing: str, kind: type[AggregationError]) -> AggregationError:
        """The error of a directory that is not there; `kind` unless it was there before."""
        if self._device is not None:
            return self._went_away(doing)
        return kind(
            doing,
            f"the root {printable(self.root)} does not exist ({mounts.what_is_mounted()})",
            "mount the volume that holds it (volumeMounts, docker run -v), or name another --root",
        )

    def error(
        self, error: OSError, doing: str, path: str, *, writing: bool, opening: bool = False
    ) -> AggregationError:
        """What the kernel said about a path, by `from_os_error`; or that its mount went away."""
        if self._has_gone():
            return self._went_away(doing)
        remote = self.is_remote()
        return from_os_error(error, doing, path, writing=writing, remote=remote, opening=opening)

    def make_folder(self, doing: str, folder: str) -> None:
        """Create the folder, and what is absent above it, at most the root unless that was there before.

        Raises:
            UnavailableError: the root's mount went away; under its bare mount point nothing is made.
            ConfigurationError: what should hold the root is absent.
            OSError: a folder cannot be made.
        """
        self.check_presence(doing)
        if not folder and self._device is not None:
            return
        path = self.path(folder)
        for _ in range(_TRIES):
            try:
                self.patience.call(lambda: os.mkdir(path))
            except FileExistsError:
                return
            except FileNotFoundError as error:
                if not folder:
                    raise self.missing_root(doing, ConfigurationError) from error
                self.make_folder(doing, os.path.dirname(folder))
            else:
                sync_folder(os.path.dirname(path) or ".")
                return
        raise self._went_away(doing)

    def overlaps(self, names: Sequence[object]) -> bool:
        """Whether to look at so many files from several threads at once."""
        return len(names) >= _PARALLEL_FROM and self.is_remote()

    def each(
        self,
        function: Callable[[Item], Made],
        names: Sequence[Item],
        discard: Callable[[Made], None] = lambda _: None,
    ) -> Generator[Made]:
        """What the function makes of each name, in order; several at once where each waits for a server.

        `discard` gets what was made for nothing, when the generator is closed early.
        """
        if not self.overlaps(names):
            return (function(name) for name in names)
        from aggregation.stores.readahead import read_ahead  # noqa: PLC0415 - start-up that only remote mounts need pay

        return read_ahead(function, names, self.parallel, discard)


def sync_folder(path: str) -> None:
    """Bring a folder's names to the disk, where the file system can.

    No error of it fails a run: the names are there and whole. Mounts without it answer EBADF, EACCES, EPERM,
    EISDIR, EINVAL and EIO, and a folder may be writable without being readable.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        pass  # as said above
