"""Runs a command in a kernel that lacks some system calls: `seccomp.py --deny sendfile=ENOSYS -- command...`.

A filter of the kernel (seccomp(2), mode 2) answers each denied call with the error that was asked for, as an
old kernel, a container's seccomp profile or a file system would; `sendfile=0` succeeds and moves no byte. The
command inherits the filter.
"""

import argparse
import ctypes
import errno
import os
import platform
import struct
from typing import NamedTuple, NoReturn


class _Machine(NamedTuple):
    """What a filter must know about a processor: its name to the kernel and its system call numbers."""

    audit: int
    calls: dict[str, int]


_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        {
            "clone": 56,
            "clone3": 435,
            "copy_file_range": 326,
            "fork": 57,
            "ioctl": 16,
            "preadv2": 327,
            "sendfile": 40,
            "vfork": 58,
        },
    ),
    "aarch64": _Machine(
        0xC00000B7,
        {"clone": 220, "clone3": 435, "copy_file_range": 285, "ioctl": 29, "preadv2": 286, "sendfile": 71},
    ),
}

# Instructions of classic BPF (linux/filter.h) and answers of a filter (linux/seccomp.h).
_LOAD_WORD = 0x20
_JUMP_IF_EQUAL = 0x15
_RETURN = 0x06
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_CALL_NUMBER = 0  # offsets in struct seccomp_data
_MACHINE = 4

_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_MODE_FILTER = 2


class _Program(ctypes.Structure):
    """A struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def supported() -> bool:
    """Whether filters can be written for this machine."""
    return platform.system() == "Linux" and platform.machine() in _MACHINES


def calls() -> set[str]:
    """The system calls of this machine that can be denied."""
    return set(_MACHINES[platform.machine()].calls)


def deny(errors: dict[str, int]) -> None:
    """Let the named system calls of this process and its children fail with these errors, for good.

    Raises:
        OSError: the kernel takes no filter.
    """
    machine = _MACHINES[platform.machine()]
    program = [
        (_LOAD_WORD, 0, 0, _MACHINE),
        (_JUMP_IF_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD_WORD, 0, 0, _CALL_NUMBER),
    ]
    for name, number in errors.items():
        program += [(_JUMP_IF_EQUAL, 0, 1, machine.calls[name]), (_RETURN, 0, 0, _ERRNO | number)]
    program.append((_RETURN, 0, 0, _ALLOW))
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(_Program(len(program), code)))


def _prctl(option: int, *arguments: object) -> None:
    call = ctypes.CDLL(None, use_errno=True).prctl
    filled = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    filled += [ctypes.c_ulong(0)] * (4 - len(filled))
    if call(ctypes.c_int(option), *filled):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main() -> NoReturn:
    """Install the filter and become the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deny", action="append", default=[], metavar="CALL=ERROR")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    pairs = [rule.split("=") for rule in options.deny]
    deny({name: 0 if error == "0" else getattr(errno, error) for name, error in pairs})
    os.execvp(options.command[0], options.command)


if __name__ == "__main__":
    main()
