"""What a file is right now, past what the kernel remembers of it: statx(2) with AT_STATX_FORCE_SYNC.

On a FUSE or network mount open and fstat give the size of an earlier look-up for about a second, and reading
ends there. Asked like this, the kernel asks the mount, and reads to the end that it says. Only remote mounts
need it, and the import of ctypes that it costs (4 ms).
"""

import ctypes
import os
from errno import EINVAL, ENOSYS, EPERM
from struct import Struct
from typing import NamedTuple

_FLAGS = 0x1000 | 0x2000  # AT_EMPTY_PATH: the descriptor itself; AT_STATX_FORCE_SYNC
_MASK = 0x7FF  # STATX_BASIC_STATS
_FIELDS = Struct("=16xI8xH10xQ64xqI")  # links, mode, size, seconds and nanoseconds of the modification
_BYTES = 256
_NUMBERS = {"x86_64": 332, "aarch64": 291}
_NOT_HERE = frozenset({ENOSYS, EPERM, EINVAL})
"""An old kernel, a container's seccomp profile, a kernel that does not know a flag."""


class Status(NamedTuple):
    """What there is to know of a file, named as os.stat_result names it."""

    st_nlink: int
    st_mode: int
    st_size: int
    st_mtime_ns: int


def _find() -> object:
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "statx"):
        return libc.statx
    number = _NUMBERS.get(os.uname().machine)
    if number is None or not hasattr(libc, "syscall"):
        return None
    return lambda *arguments: libc.syscall(number, *arguments)


_statx = _find()


def status(descriptor: int) -> Status | os.stat_result:
    """Ask anew what the open file is; what the kernel remembers where it cannot be asked so.

    Raises:
        OSError: the mount did not answer.
    """
    if not callable(_statx):
        return os.fstat(descriptor)
    answer = ctypes.create_string_buffer(_BYTES)
    if _statx(ctypes.c_int(descriptor), b"", ctypes.c_int(_FLAGS), ctypes.c_uint(_MASK), answer):
        number = ctypes.get_errno()
        if number in _NOT_HERE:
            return os.fstat(descriptor)
        raise OSError(number, os.strerror(number))
    links, mode, size, seconds, nanoseconds = _FIELDS.unpack_from(answer)
    return Status(links, mode, size, seconds * 10**9 + nanoseconds)
