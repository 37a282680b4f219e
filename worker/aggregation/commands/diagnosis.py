"""What a person should know where a command could not be started, or was killed: why, and what to do."""

import errno
import os
import platform
import shutil
import signal
import struct
from collections.abc import Sequence
from contextlib import suppress

from aggregation.errors import printable

MESSAGES = "its own messages are above this line"

_HEAD = 4096
"""Bytes of a program that are looked at: its first line, or the headers of an ELF file."""

_MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
"""The processors of ELF files that a container may meet, by their e_machine."""

_PT_INTERP = 3
_SHELL_SAYS_KILLED = 128 + signal.SIGKILL
_SHELL_FOUND_NOTHING = 127


def not_started(error: OSError, arguments: Sequence[str], inputs: int) -> tuple[str, str]:
    """Why a program could not be started, and what to do."""
    why = f"it cannot be started: {os.strerror(error.errno or 0)}"
    if error.errno == errno.E2BIG:
        return (
            f"{why}: {inputs} inputs are too many for one command line",
            "lower --fan-in, let the program read a list of them ({inputs-file}), or leave out {inputs}",
        )
    path = shutil.which(arguments[0], os.F_OK) or arguments[0]
    head = _head_of(path)
    about = _about_the_file(path, head) if error.errno != errno.EACCES else _about_its_mode(path)
    if about is None and error.errno == errno.ENOENT and not os.path.exists(path):
        about = "", "install it in the image, or check --command and PATH"
    found, cure = about or ("", "check --command")
    return (f"{why}: {found}" if found else why), cure


def _head_of(path: str) -> bytes:
    with suppress(OSError), open(path, "rb", opener=_without_waiting) as file:
        return file.read(_HEAD)
    return b""


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO has no writer


def _about_the_file(path: str, head: bytes) -> tuple[str, str] | None:
    """What is wrong with a program's content."""
    name = printable(path)
    if head.startswith(b"#!"):
        return _about_a_script(name, head)
    if head.startswith(b"\x7fELF"):
        return _about_an_elf_file(name, head)
    if head.startswith(b"\xef\xbb\xbf#!"):
        return f"{name} begins with a byte order mark", "save it as UTF-8 without one"
    if head.startswith(b"MZ"):
        return f"{name} is a program for Windows", "install the one for Linux"
    cure = "begin it with a line like #!/bin/sh, or call it by its interpreter"
    return (f"{name} does not say what runs it", cure) if os.path.isfile(path) else None


def _about_a_script(name: str, head: bytes) -> tuple[str, str] | None:
    if _has_windows_line_ends(head):
        return _windows_line_ends(name)
    words = head.partition(b"\n")[0][2:].split()
    if words and os.path.exists(words[0]):
        return None
    interpreter = printable(os.fsdecode(words[0])) if words else "no program"
    return f"{name} asks for {interpreter}, which is not there", "install it, or correct that first line"


def _has_windows_line_ends(head: bytes) -> bool:
    return head.startswith(b"#!") and head.partition(b"\n")[0].endswith(b"\r")


def _windows_line_ends(name: str) -> tuple[str, str]:
    return f"{name} has Windows line ends (CRLF)", f"convert it: sed -i 's/\\r$//' {name}"


def _about_an_elf_file(name: str, head: bytes) -> tuple[str, str] | None:
    with suppress(struct.error):
        order = "<" if head[5] == 1 else ">"
        (machine,) = struct.unpack_from(f"{order}H", head, 18)
        built = _MACHINES.get(machine, f"machine {machine}")
        here = platform.machine()
        if built != here and (built, here) != ("i386", "x86_64"):
            return f"{name} is built for {built}, this is {here}", "install the one for this processor"
        loader = _loader(head, order)
        if loader and not os.path.exists(loader):
            found = f"{name} asks for the loader {printable(os.fsdecode(loader))}, which is not there"
            return found, "install a build for this image's C library, or a static one"
    return None


def _loader(head: bytes, order: str) -> bytes:
    """What a 64-bit ELF file names as its loader: the segment PT_INTERP."""
    if head[4] != 2:  # noqa: PLR2004 - ELFCLASS64
        return b""
    (table,) = struct.unpack_from(f"{order}Q", head, 32)
    size, count = struct.unpack_from(f"{order}HH", head, 54)
    for index in range(count):
        kind, _, offset, _, _, length = struct.unpack_from(f"{order}IIQQQQ", head, table + index * size)
        if kind == _PT_INTERP:
            return head[offset : offset + length].rstrip(b"\0")
    return b""


def _about_its_mode(path: str) -> tuple[str, str] | None:
    name = printable(path)
    if os.path.isdir(path):
        return f"{name} is a folder", "name a program in --command"
    with suppress(OSError):
        if os.path.isfile(path) and not os.stat(path).st_mode & 0o111:
            return f"{name} is not executable", f"chmod +x {name}, or call it by its interpreter"
        if os.statvfs(path).f_flag & os.ST_NOEXEC:
            return (
                f"{name} lies on a file system mounted noexec",
                "copy it elsewhere, or call it by its interpreter",
            )
    return None


def ended(returncode: int, program: str, kills: int | None) -> tuple[str, str]:
    """Why a command counts as failed, and what to do; `kills` is what out_of_memory_kills said before."""
    if returncode in (-signal.SIGKILL, _SHELL_SAYS_KILLED):
        now = out_of_memory_kills()
        if None not in (kills, now) and now != kills:
            cure = "the container's memory limit was reached: raise it, or let the command use less"
        else:
            cure = "most often memory ran out: raise the pod's memory limit, or look who sent the signal"
        what = "was killed by SIGKILL" if returncode < 0 else f"ended with exit code {returncode} (SIGKILL)"
        return f"it {what}", cure
    if returncode < 0:
        known = {known.value: known.name for known in signal.Signals}
        return f"it was killed by {known.get(-returncode, f'signal {-returncode}')}", MESSAGES
    why = f"it ended with exit code {returncode}"
    if returncode == _SHELL_FOUND_NOTHING:
        path = shutil.which(program) or program
        if _has_windows_line_ends(_head_of(path)):  # `env` says this of an interpreter that ends in \r
            what, cure = _windows_line_ends(printable(path))
            return f"{why}: {what}", cure
    return why, MESSAGES


def out_of_memory_kills() -> int | None:
    """How many processes the kernel has killed in this control group for want of memory, if it says."""
    with suppress(OSError, ValueError, IndexError), open("/proc/self/cgroup", encoding="utf-8") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if controllers in ("", "memory"):
                base, name = ("", "memory.events") if not controllers else ("/memory", "memory.oom_control")
                for folder in (path, ""):  # in a container the group is the root of what it sees
                    with suppress(OSError, ValueError):
                        return _kills_in(f"/sys/fs/cgroup{base}{folder.rstrip('/')}/{name}")
    return None


def _kills_in(path: str) -> int:
    with open(path, encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
