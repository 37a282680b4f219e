"""Watches a command's system calls one by one: counts them, lets one fail, or kills the process before one.

The kernel asks before each watched call (seccomp(2), SECCOMP_RET_USER_NOTIF), and the answer decides:

    for call in Watched([...], os.environ):
        call.allow()        # or call.fail(errno.EIO), or call.kill()

Nothing is simulated: what is allowed the kernel does, and what is killed ends between two calls.
"""

import array
import ctypes
import os
import platform
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fcntl import ioctl
from functools import cache
from typing import NamedTuple

_AUDIT = {"x86_64": 0xC000003E}
_SECCOMP = {"x86_64": 317}
_CALLS = {
    "x86_64": {
        "write": 1,
        "pwrite64": 18,
        "writev": 20,
        "sendfile": 40,
        "fsync": 74,
        "truncate": 76,
        "ftruncate": 77,
        "rename": 82,
        "mkdir": 83,
        "rmdir": 84,
        "link": 86,
        "unlink": 87,
        "symlink": 88,
        "chmod": 90,
        "fchmod": 91,
        "fchown": 93,
        "fadvise64": 221,
        "openat": 257,
        "unlinkat": 263,
        "utimensat": 280,
        "copy_file_range": 326,
        "wait4": 61,
        "readv": 19,
        "read": 0,
    }
}
"""Numbers of system calls. Those of `CHANGING` change a file system or bring it to the disk."""

CHANGING = (
    *("write", "pwrite64", "writev", "sendfile", "copy_file_range", "fsync", "truncate", "ftruncate"),
    *("rename", "mkdir", "rmdir", "link", "unlink", "unlinkat", "symlink", "chmod", "fchmod", "fchown"),
    *("utimensat", "openat"),
)
"""`openat` is watched only where it may make a file."""

_BY_DESCRIPTOR = {
    **dict.fromkeys(
        ("write", "pwrite64", "writev", "fsync", "ftruncate", "fchmod", "fchown", "fadvise64"), 0
    ),
    "sendfile": 0,
    "copy_file_range": 2,
    "readv": 0,
    "read": 0,
}
_BY_PATH = {
    **dict.fromkeys(("truncate", "rename", "mkdir", "rmdir", "link", "unlink", "symlink", "chmod"), 0),
    "openat": 1,
    "unlinkat": 1,
    "utimensat": 1,
}
_TWO_PATHS = frozenset({"rename", "link", "symlink"})
_FOLDER_FIRST = frozenset({"unlinkat", "utimensat", "openat"})

_HERE = -100  # AT_FDCWD
_RECEIVE = 0xC0502100
_SEND = 0xC0182101
_NOTICE = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_CONTINUE = 1

_LOAD_WORD, _JUMP_IF_EQUAL, _JUMP_IF_ANY, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_NEW_LISTENER = 8
_FLAGS_OF_OPEN = 16 + 8 * 2


class Program(ctypes.Structure):
    """A struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


class Call(NamedTuple):
    """One system call that waits for an answer."""

    name: str
    path: str
    """What it is about, as far as that can be told."""
    to: str
    """The new name, of a rename or a link."""
    arguments: tuple[int, ...]
    pid: int
    """The thread that calls."""
    listener: int
    id: int

    def allow(self) -> None:
        """Let the kernel carry it out."""
        self._answer(0, 0, _CONTINUE)

    def fail(self, error: int) -> None:
        """Let it fail with this errno, not carried out."""
        self._answer(0, -error, 0)

    def kill(self) -> None:
        """Kill the process before the call, by SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def _answer(self, value: int, error: int, flags: int) -> None:
        with suppress(FileNotFoundError):  # the process was killed meanwhile
            ioctl(self.listener, _SEND, _ANSWER.pack(self.id, value, error, flags))


@cache
def unsupported() -> str:
    """Why this machine cannot do it, and the cure; empty if it can."""
    if platform.machine() not in _AUDIT:
        return (
            f"no numbers of system calls for {platform.machine()}: add them to tests/support/system_calls.py"
        )
    try:
        for call in (trial := Watched(["true"], os.environ)):
            call.allow()
    except OSError as error:
        return f"no filter of system calls ({error}): use Linux 5.5 or newer, and a seccomp profile with it"
    return "" if trial.returncode == 0 else f"no filter of system calls: {trial.stderr}"


class Watched:
    """A command whose system calls are asked for; iterate over them, and answer each.

    `pid` is the process, and its first thread. After the iteration `returncode`, `stdout` and `stderr` say
    how it ended.
    """

    def __init__(
        self, command: list[str], variables: Mapping[str, str], calls: tuple[str, ...] = CHANGING
    ) -> None:
        self._names = {_CALLS[platform.machine()][name]: name for name in calls}
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), ",".join(calls), *command],
                env=variables,
                pass_fds=[theirs.fileno()],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            theirs.close()
            _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(array.array("i").itemsize))
        if not ancillary:
            _, said = self._process.communicate()
            raise OSError(f"the kernel takes no filter: {said}")
        self.pid = self._process.pid
        self._listener = array.array("i", ancillary[0][2])[0]
        self.returncode = 0
        self.stdout = ""
        self.stderr = ""

    def __iter__(self) -> Iterator[Call]:
        try:
            while True:
                notice = bytearray(_NOTICE.size)
                try:
                    ioctl(self._listener, _RECEIVE, notice)
                except FileNotFoundError:  # the last process that has the filter ended
                    break
                except OSError:
                    if self._process.poll() is not None:
                        break
                    continue
                number, pid, _, call, _, _, *arguments = _NOTICE.unpack(notice)
                name = self._names[call]
                path = _path(pid, name, tuple(arguments))
                to = _absolute(pid, arguments[1]) if name in _TWO_PATHS else ""
                yield Call(name, path, to, tuple(arguments), pid, self._listener, number)
                if self._process.poll() is not None:
                    break
        finally:
            os.close(self._listener)  # what still waits for an answer gets ENOSYS
            self.stdout, self.stderr = self._process.communicate(timeout=60)
            self.returncode = self._process.returncode


def _path(pid: int, name: str, arguments: tuple[int, ...]) -> str:
    try:
        if name in _BY_DESCRIPTOR:
            return os.readlink(f"/proc/{pid}/fd/{arguments[_BY_DESCRIPTOR[name]]}")
        if name not in _BY_PATH:
            return ""
        folder = ctypes.c_int(arguments[0] & 0xFFFFFFFF).value if name in _FOLDER_FIRST else _HERE
        return _absolute(pid, arguments[_BY_PATH[name]], folder)
    except OSError:
        return ""


def _absolute(pid: int, address: int, folder: int = _HERE) -> str:
    base = os.readlink(f"/proc/{pid}/cwd" if folder == _HERE else f"/proc/{pid}/fd/{folder}")
    return os.path.join(base, _string(pid, address))


def _string(pid: int, address: int) -> str:
    """The string at an address of another process."""
    if not address:
        return ""
    text = b""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        while b"\0" not in text:
            memory.seek(address + len(text))
            text += memory.read(4096 - (address + len(text)) % 4096)
    return os.fsdecode(text.partition(b"\0")[0])


def _install(calls: list[str]) -> int:
    machine = platform.machine()
    program = [(_LOAD_WORD, 0, 0, 4), (_JUMP_IF_EQUAL, 1, 0, _AUDIT[machine]), (_RETURN, 0, 0, _ALLOW)]
    for name in calls:
        program.append((_LOAD_WORD, 0, 0, 0))
        if name == "openat":
            program += [
                (_JUMP_IF_EQUAL, 0, 3, _CALLS[machine][name]),
                (_LOAD_WORD, 0, 0, _FLAGS_OF_OPEN),
                (_JUMP_IF_ANY, 0, 1, os.O_CREAT | os.O_TRUNC),
                (_RETURN, 0, 0, _NOTIFY),
            ]
        else:
            program += [(_JUMP_IF_EQUAL, 0, 1, _CALLS[machine][name]), (_RETURN, 0, 0, _NOTIFY)]
    program.append((_RETURN, 0, 0, _ALLOW))
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0):  # PR_SET_NO_NEW_PRIVS
        raise OSError(ctypes.get_errno(), "prctl")
    filled = Program(len(program), code)
    listener = libc.syscall(_SECCOMP[machine], 1, _NEW_LISTENER, ctypes.byref(filled))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(listener)


def main() -> None:
    """Hand the listener on, and become the command."""
    channel, calls, *command = sys.argv[1:]
    listener = _install(calls.split(","))
    with socket.socket(fileno=int(channel)) as other:
        socket.send_fds(other, [b"x"], [listener])
    os.close(listener)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
