"""Appends whole files to an open one: copy_file_range, else sendfile, else read and write.

copy_file_range comes first because it takes every short cut by itself: on XFS and btrfs it shares extents,
on NFS and CIFS the server copies, elsewhere the kernel copies without passing bytes through the process.
The next rung is taken only before the first byte of a file, for any errno but those that would end the next
one too. After each rung read and write go on to the end of file: the kernel's short cuts
stop at the size that it believes in, which a mount may have cached.
"""

import errno
import os
from collections.abc import Callable, Iterator
from fcntl import ioctl
from mmap import mmap

from aggregation.stores.checksum import crc64_of
from aggregation.stores.promise import Way

BUFFER = 128 * 1024
"""Bytes for read and write, as GNU cat takes. On ext4 with large folios 256 KiB took two fifths longer for
two files of 1 GiB, and 512 KiB three times as long, though less for two of 64 MiB."""

SMALL = 64 * 1024
"""Files under this many bytes are gathered in the buffer: one read and a share of one write is cheaper than
setting up a kernel copy for each.

A small file is read by one call, which asks for this many bytes. Where it returns as many as the file is said
to have, that is the end: no second call looks for more. This is right on a FUSE mount too, whose sizes may be
out of date: a call for more than the known size makes the kernel ask the mount for the size, if anything does
(Linux, fs/fuse/file.c, fuse_cache_read_iter).
"""

KERNEL_CHUNK = 64 * 1024 * 1024
"""Bytes for one system call: a signal and the progress wait for its end, and a call costs a few microseconds
even where it only shares extents."""

TO_READ = os.O_RDONLY | os.O_NONBLOCK
"""Not to block: a FIFO in a file's place is then refused, instead of waiting for its writer."""

_FIONREAD = 0x541B
"""As Linux has it on x86 and ARM; elsewhere the kernel does not know it, and files are opened one by one."""

_FINAL = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS),  # of the target, which no other way helps
        *(errno.ENOTCONN, errno.ECONNABORTED, errno.ESHUTDOWN),  # a mount whose process has gone
    }
)
"""What ends a copy. Anything else before the first byte may be a kernel or a file system that cannot do this
call: ENOSYS and EPERM (seccomp), EXDEV, EINVAL, EOPNOTSUPP, EIO (SMB), EBADF (rclone), ETXTBSY, EOVERFLOW.
Reading and writing find out what it was."""


def close_read(descriptor: int) -> None:
    """Close what was only read: its bytes are there, whatever a dying mount says to the close."""
    try:  # noqa: SIM105 - suppress() takes longer than the call
        os.close(descriptor)
    except OSError:
        pass


def _close_all(descriptors: list[int]) -> None:
    """Close files that were only read: by one call where every number from first to last is theirs."""
    if descriptors and max(descriptors) - min(descriptors) == len(descriptors) - 1:
        os.closerange(min(descriptors), max(descriptors) + 1)
    else:
        for descriptor in descriptors:
            close_read(descriptor)
    descriptors.clear()


class Appender:
    """Appends files to the file open at `target`, which is at its end and not in O_APPEND mode.

    (In O_APPEND mode copy_file_range answers EBADF and sendfile EINVAL.)

    `crc64` holds the CRC-64/XZ of what was appended, with `checksum`: then nothing is left to the kernel.
    """

    def __init__(self, target: int, *, checksum: bool, advance: Callable[[int], None] | None) -> None:
        self._target = target
        self._advance = advance
        self._buffer = memoryview(mmap(-1, BUFFER))  # begins at a page, which makes copies a tenth faster
        self._pending = 0
        self._rungs = [] if checksum else [_copy_file_range, _sendfile]
        self.crc64: int | None = 0 if checksum else None
        self.size = 0
        self.writing = False
        """Whether an error came from writing to the target: else it may be the source's."""
        self.moved: dict[Way, int] = {}

    def append(self, source: int, expected: int, head: bytes = b"") -> int:
        """Append `head`, then the file open at `source`, from where it is to its end; negative: none.

        `expected` is the size in bytes that the file is said to have, which decides about the way only.
        Returns the bytes appended.

        Raises:
            OSError: reading or writing failed; how much was written is unknown.
        """
        if expected >= SMALL:
            return self._append_large(source)
        pending = self._pending
        if pending > BUFFER - SMALL:
            self.flush()
            pending = 0
        if head:
            self._buffer[pending : pending + len(head)] = head
            self._pending = pending = pending + len(head)
        if source >= 0:
            read = os.readv(source, [self._buffer[pending:]])
            self._pending = pending + read
            if head or read != expected:  # else it was asked for more: see SMALL
                read += self._stream(source)
            return len(head) + read
        return len(head)

    def gather(self, prefix: str, names: Iterator[str], at_once: int) -> str | None:
        """Append the files of these names, as long as each is small and one read gives all of it.

        For disks: besides opening it, a file costs two calls and a share of a third. `at_once` is how many
        may be open at a time.

        Returns the name that it stopped at, of which nothing was appended: a file that cannot be opened, is
        larger or no regular file, or has another size than what was read; None at the end of the names.

        Raises:
            OSError: writing failed.
        """
        buffer, pending = self._buffer, self._pending
        size = memoryview(bytearray(4)).cast("i")
        opened: list[int] = []
        try:
            for name in names:
                if pending > BUFFER - SMALL:
                    self._pending = pending
                    self.flush()
                    pending = 0
                if len(opened) == at_once:
                    _close_all(opened)
                try:
                    opened.append(descriptor := os.open(prefix + name, TO_READ))
                    # Read at a place, which a pipe refuses. The position stays, so that the bytes from there
                    # to the end are the size; a device refuses to say it.
                    read = os.preadv(descriptor, (buffer[pending : pending + SMALL],), 0)
                    ioctl(descriptor, _FIONREAD, size)
                except OSError:
                    return name
                if read != size[0] or read >= SMALL:
                    return name
                pending += read
        finally:
            self._pending = pending
            _close_all(opened)
        return None

    def _append_large(self, source: int) -> int:
        self.flush()
        before = self.size
        while self._rungs:
            start = self.size
            try:
                self._rungs[0](self, source)
            except OSError as error:
                if error.errno in _FINAL or self.size != start:
                    raise
                del self._rungs[0]
            else:
                break  # where the cached size ends, which may be too early, even at 0
        moved = self.size - before
        return moved + self._stream(source)

    def flush(self) -> None:
        """Write out what was gathered. To be called after the last file."""
        self._write(self._buffer[: self._pending])
        self._pending = 0

    def way(self) -> Way:
        """How most of the bytes moved."""
        return max(self.moved, key=lambda name: self.moved[name], default="streamed")

    def count(self, size: int, way: Way) -> None:
        """Note that `size` bytes moved."""
        self.size += size
        self.moved[way] = self.moved.get(way, 0) + size
        if self._advance is not None:
            self._advance(size)

    def pass_to(self, send: Callable[[int, int, int], int], source: int) -> None:
        """Let `send(target, source, count)` move bytes until it has no more."""
        while sent := send(self._target, source, KERNEL_CHUNK):
            self.count(sent, "kernel copy")

    def _stream(self, source: int) -> int:
        """Read to the end of file. Full buffers are written; the rest waits for the next file."""
        total = 0
        if self._pending == BUFFER:
            self.flush()
        while read := os.readv(source, [self._buffer[self._pending :]]):
            total += read
            self._pending += read
            if self._pending == BUFFER:
                self.flush()
        return total

    def _write(self, data: memoryview) -> None:
        if self.crc64 is not None:
            self.crc64 = crc64_of(data, self.crc64)
        self.writing = True
        while data:
            written = os.write(self._target, data)
            self.count(written, "streamed")
            data = data[written:]
        self.writing = False


def _copy_file_range(appender: Appender, source: int) -> None:
    appender.pass_to(lambda target, source, count: os.copy_file_range(source, target, count), source)


def _sendfile(appender: Appender, source: int) -> None:
    appender.pass_to(lambda target, source, count: os.sendfile(target, source, None, count), source)
