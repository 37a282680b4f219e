"""What is mounted on this machine: for saying where a volume is missing, and which mounts are far away."""

import os
from typing import NamedTuple

_REMOTE = frozenset({"9p", "ceph", "cifs", "fuse", "lustre", "nfs", "nfs4", "smb3", "virtiofs"})
_NOT_DATA = ("/proc", "/sys", "/dev", "/run", "/etc", "/var/run", "/boot", "/snap", "/var/lib/docker")
_SHOWN = 5
_ESCAPES = {r"\040": " ", r"\011": "\t", r"\012": "\n", r"\134": "\\"}


class _Mount(NamedTuple):
    device: str
    path: str
    kind: str


def _mounts() -> list[_Mount]:
    """The mount table (proc(5), /proc/pid/mountinfo); empty where there is none."""
    found = []
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            for line in table:
                fields = line.split(" ")
                path = fields[4]
                for escape, character in _ESCAPES.items():
                    path = path.replace(escape, character)
                found.append(_Mount(fields[2], path, fields[fields.index("-") + 1]))
    except (OSError, ValueError, IndexError):
        pass  # only a message and a short cut rest on it
    return found


def is_remote(path: str) -> bool:
    """Whether a path lies on a network or FUSE file system; False for a path that does not exist."""
    try:
        number = os.stat(path).st_dev
    except OSError:
        return False
    device = f"{os.major(number)}:{os.minor(number)}"
    kinds = [mount.kind for mount in _mounts() if mount.device == device]
    return any(kind in _REMOTE or kind.startswith("fuse.") for kind in kinds)


def what_is_mounted() -> str:
    """One phrase on the mounted volumes, for the message of a missing root."""
    data = [
        f"{mount.path} ({mount.kind})"
        for mount in _mounts()
        if mount.path != "/" and not f"{mount.path}/".startswith(tuple(f"{path}/" for path in _NOT_DATA))
    ]
    if not data:
        return "no volume is mounted here"
    more = f" and {len(data) - _SHOWN} more" if len(data) > _SHOWN else ""
    return f"mounted here: {', '.join(data[:_SHOWN])}{more}"
