"""What is mounted on this machine: for saying where a volume is missing, and which mounts are far away."""

import os
from typing import Literal, NamedTuple

_DISKS = frozenset(
    {
        *("aufs", "bcachefs", "btrfs", "configfs", "devtmpfs", "ecryptfs", "hugetlbfs", "overlay"),
        *("proc", "ramfs", "rootfs", "shiftfs", "sysfs", "tmpfs", "ubifs", "zfs"),
    }
)
"""Kinds without a block device whose bytes are this machine's all the same."""

_OVERLAYS = ("upperdir=", "lowerdir=")
_NOT_DATA = ("/proc", "/sys", "/dev", "/run", "/etc", "/var/run", "/boot", "/snap", "/var/lib/docker")
_SHOWN = 5

Kind = Literal["disk", "network", "fuse"]
"""Bytes of this machine; of another one, by a client in the kernel; of wherever a process gets them."""

_ESCAPES = {r"\040": " ", r"\011": "\t", r"\012": "\n", r"\134": "\\"}


class Mount(NamedTuple):
    """A line of the mount table."""

    device: str
    path: str
    kind: str
    options: str = ""


def _plain(text: str) -> str:
    if "\\" in text:
        for escape, character in _ESCAPES.items():
            text = text.replace(escape, character)
    return text


def read_table(path: str = "/proc/self/mountinfo") -> list[Mount]:
    """The mount table (proc(5), /proc/pid/mountinfo); empty where there is none."""
    found = []
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as table:
            for line in table:
                fields = line.split(" ")
                dash = fields.index("-", 6)
                found.append(Mount(fields[2], _plain(fields[4]), fields[dash + 1], _plain(fields[-1])))
    except (OSError, ValueError, IndexError):
        pass  # then everything counts as remote
    return found


def kind(path: str) -> Kind:
    """Where the bytes of what lies at a path come from.

    What has a block device is a disk, FUSE's fuseblk included; so are the few kinds of `_DISKS`. All others
    are remote: there are too many to be named, and taking a disk for one only costs time. So does what the
    mount table does not say, by the device or else by the path. A path that does not exist is on a disk.
    """
    try:
        number = os.stat(path).st_dev
    except (FileNotFoundError, NotADirectoryError):
        return "disk"
    except OSError:
        number = 0  # a mount that does not answer now is in the table all the same
    return kind_in(path, read_table(), number)


def kind_in(path: str, table: list[Mount], number: int = 0) -> Kind:
    """The same by this table; `number` is the path's st_dev, 0 where it could not be asked for."""
    device = f"{os.major(number)}:{os.minor(number)}"
    mount = next((mount for mount in reversed(table) if number and mount.device == device), None)
    mount = mount or _mount_of(path, table)
    if mount is not None and not _is_far(mount, table):
        return "disk"
    return "fuse" if mount is not None and "fuse" in mount.kind else "network"


def _is_far(mount: Mount, table: list[Mount]) -> bool:
    if mount.kind == "overlay":
        options = mount.options.split(",")
        layers = [option for option in options if option.startswith(_OVERLAYS)]
        folders = [path for layer in layers for path in layer.partition("=")[2].split(":")]
        below = [_mount_of(path, table) for path in folders if os.path.isabs(path) and os.path.isdir(path)]
        return any(found.kind != "overlay" and _is_far(found, table) for found in below if found)
    return mount.device.startswith("0:") and mount.kind not in _DISKS


def _mount_of(path: str, table: list[Mount]) -> Mount | None:
    """The mount that a path lies in: the deepest, and of several at one place the last."""
    place = os.path.join(os.path.realpath(path), "")
    above = [mount for mount in table if place.startswith(os.path.join(mount.path, ""))]
    return max(reversed(above), key=lambda mount: len(mount.path), default=None)


def is_mount_point(path: str) -> bool:
    """Whether something is mounted at this very path, a file included."""
    place = os.path.join(os.path.realpath(os.path.dirname(path) or "."), os.path.basename(path))
    return any(mount.path == place for mount in read_table())


def what_is_mounted() -> str:
    """One phrase on the mounted volumes, for the message of a missing root."""
    data = [
        f"{mount.path} ({mount.kind})"
        for mount in read_table()
        if mount.path != "/" and not f"{mount.path}/".startswith(tuple(f"{path}/" for path in _NOT_DATA))
    ]
    if not data:
        return "no volume is mounted here"
    more = f" and {len(data) - _SHOWN} more" if len(data) > _SHOWN else ""
    return f"mounted here: {', '.join(data[:_SHOWN])}{more}"
