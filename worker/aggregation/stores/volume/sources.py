"""The inputs of a join: opened a little ahead, looked at before and after they are read, closed behind."""

import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from errno import EAGAIN, ENOENT, ENXIO
from itertools import chain, islice

from aggregation.errors import AggregationError, MissingInputError, SourceChangedError, printable

from . import fast_copy
from .fast_copy import TO_READ, close_read
from .volume import Status, Volume

_OPEN_AT_ONCE = 16
"""Small files of a disk that are open at a time: closing them together is cheaper than one by one."""

_WARM_BYTES = 1 << 20
"""What a mount is asked to fetch of a larger file ahead of its turn."""

Source = tuple[str, int, Status, bytes]
"""An input: its path, its descriptor, what it was when it was opened, and its first bytes where they have
been read; a negative descriptor says that there are no more."""


def open_source(volume: Volume, doing: str, name: str) -> Source:
    """Open one input.

    Raises:
        MissingInputError: it is absent, or not a file.
        AggregationError: it cannot be opened.
    """
    path = volume.path(name)
    try:
        descriptor = os.open(path, TO_READ)
    except OSError as error:
        descriptor = _open_after_all(volume, doing, path, error)
    try:
        status = volume.look(descriptor)
        if stat.S_ISREG(status.st_mode):
            return path, descriptor, status, b""
    except OSError as error:
        close_read(descriptor)
        raise volume.error(error, doing, path, writing=False, opening=True) from error
    except BaseException:
        close_read(descriptor)
        raise
    close_read(descriptor)
    kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
    raise _no_file(doing, path, kind)


def _open_after_all(volume: Volume, doing: str, path: str, first: OSError) -> int:
    try:
        if first.errno == EAGAIN:  # under a lease (fcntl(2)), whose holder is told by an open that waits
            return os.open(path, os.O_RDONLY)
        if first.errno == ENXIO and not stat.S_ISREG(os.stat(path).st_mode):
            raise _no_file(doing, path, "not a regular file")  # a socket
        if volume.patience.may_pass(first, opening=True):
            return volume.patience.call(lambda: os.open(path, TO_READ))
    except OSError as error:
        raise volume.error(error, doing, path, writing=False, opening=True) from error
    if first.errno == ENOENT and not os.path.isdir(volume.root):
        raise volume.missing_root(doing, MissingInputError) from first
    raise volume.error(first, doing, path, writing=False, opening=True) from first


def _no_file(doing: str, path: str, kind: str) -> AggregationError:
    return MissingInputError(doing, f"{printable(path)} is {kind}", "put the input file in its place")


class Sources:
    """The inputs of one join, in order."""

    def __init__(self, volume: Volume, doing: str, names: Sequence[str]) -> None:
        self._volume = volume
        self._doing = doing
        self._opened: deque[Source] = deque()
        self._reading: Source | None = None
        self._unchecked: list[tuple[Source, int]] = []
        self._together = volume.overlaps(names)
        self._gathers = not volume.is_remote()
        self._names = iter(names)
        self._handed_back: str | None = None
        self._again = False  # whether the last one was handed back
        self._coming = (
            volume.each(self._read_head, names, _close)
            if self._together
            else (self._open(name) for name in self._each_name())
        )
        try:
            self._opened.extend(islice(self._coming, volume.ahead))
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Source]:
        first = (self._opened.popleft() for _ in range(len(self._opened)))
        for source in chain(first, self._coming):
            self._reading = source
            yield source
            if self._reading is not None and source[1] >= 0:
                close_read(source[1])
            self._reading = None

    def _each_name(self) -> Iterator[str]:
        """Those that are left, `gather` may have taken some."""
        while True:
            name, self._handed_back = self._handed_back, None
            self._again = name is not None
            if name is None and (name := next(self._names, None)) is None:
                return
            yield name

    def gather(self, appender: fast_copy.Appender) -> None:
        """After a small source on a disk: let the small ones after it be appended, unless they are open.

        Raises:
            OSError: writing failed.
        """
        if self._again:
            self._gathers = False  # it was small all the same: the kernel or the file system lacks something
        if self._gathers and not self._opened:
            self._handed_back = appender.gather(
                self._volume.prefix, self._names, min(_OPEN_AT_ONCE, self._volume.ahead)
            )

    def close(self) -> None:
        """Close what is open."""
        self._coming.close()
        while self._opened:
            _close(self._opened.popleft())
        self._close_read()
        if self._reading is not None:
            _close(self._reading)
            self._reading = None

    def was_read(self, taken: int) -> None:
        """Note that the last source gave `taken` bytes, and see that it did not change meanwhile.

        A small file that one call has read at the size that it had needs no such look: the call saw one state
        of it. Where each look waits for a server, several are looked at together, at `finish` at the latest.

        Raises:
            SourceChangedError: it, or one before it, changed.
            AggregationError: the mount did not answer.
        """
        source = self._reading
        if source is None or source[1] < 0:
            return  # all of it came with its first bytes
        self._reading = None
        self._unchecked.append((source, taken))
        if not self._together or len(self._unchecked) >= self._volume.parallel:
            self.finish()

    def finish(self) -> None:
        """Look at those that were read and not looked at yet. Raises as `was_read`."""
        try:
            for _ in self._volume.each(self._check, self._unchecked):
                pass
        finally:
            self._close_read()

    def _close_read(self) -> None:
        while self._unchecked:
            _close(self._unchecked.pop()[0])

    def _check(self, read: tuple[Source, int]) -> None:
        """See that a source that is still open is what it was when it was opened.

        What keeps its size and its time of modification looks the same: on a mount that counts seconds, a
        file that was replaced by another of the same length within the same second.
        """
        (path, descriptor, before, _), taken = read
        try:
            after = self._volume.look(descriptor)
            what = _difference(before, after)
            if what == _NEWER and after.st_mtime_ns != self._volume.look(descriptor).st_mtime_ns:
                what = ""  # a clock instead of a time of modification, as some mounts give
        except OSError as error:
            raise self._volume.error(error, self._doing, path, writing=False, opening=True) from error
        if not what and taken < after.st_size and self._volume.is_remote():
            what = f"{taken} of its {after.st_size} bytes could be read"
        if what:
            raise _changed(self._doing, path, what)

    def _open(self, name: str) -> Source:
        return open_source(self._volume, self._doing, name)

    def _read_head(self, name: str) -> Source:
        """Open a file and let its bytes come: all of a small one, the first of a larger one to the mount."""
        path, descriptor, status, head = self._open(name)
        try:
            if status.st_size < fast_copy.SMALL:
                head = os.read(descriptor, fast_copy.SMALL)
            else:
                with suppress(OSError):  # it is advice
                    os.posix_fadvise(descriptor, 0, _WARM_BYTES, os.POSIX_FADV_WILLNEED)
        except OSError as error:
            close_read(descriptor)
            raise self._volume.error(error, self._doing, path, writing=False) from error
        if len(head) == status.st_size:  # it was asked for more: see SMALL
            close_read(descriptor)
            descriptor = -1
        return path, descriptor, status, head


_NEWER = "its time of modification moved"


def _difference(before: Status, after: Status) -> str:
    if before.st_size != after.st_size:
        return f"it had {before.st_size} bytes and has {after.st_size}"
    if before.st_nlink and not after.st_nlink:
        return "another file took its name, or it was removed"
    return _NEWER if before.st_mtime_ns != after.st_mtime_ns else ""


def _changed(doing: str, path: str, what: str) -> SourceChangedError:
    why = f"{printable(path)} changed while it was read: {what}"
    return SourceChangedError(doing, why, "run again when its writer has ended")


def _close(source: Source) -> None:
    if source[1] >= 0:
        close_read(source[1])


Seen = tuple[str, Status]
"""The path of a file that another program reads, and what it was before."""


def check_unchanged(volume: Volume, doing: str, seen: Sequence[Seen]) -> None:
    """See that files which a program has read are what they were before.

    Raises:
        SourceChangedError: one of them is another, or is gone.
    """

    def check(one: Seen) -> None:
        path, before = one
        try:
            what = _difference(before, volume.patience.call(lambda: os.stat(path)))
        except FileNotFoundError as error:
            volume.check_presence(doing, error)
            what = "it is gone"
        except OSError as error:
            raise volume.error(error, doing, path, writing=False, opening=True) from error
        if what:
            raise _changed(doing, path, what)

    for _ in volume.each(check, seen):
        pass
