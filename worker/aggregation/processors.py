"""How many processors this process may use, which in a container is not how many the node has."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple


def available() -> int:
    """The processors that the affinity and the control group's quota leave; at least one."""
    try:
        count = len(os.sched_getaffinity(0))
    except OSError:
        count = os.cpu_count() or 1
    quota = cgroup_quota()
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def cgroup_quota(proc: str = "/proc/self") -> float | None:
    """Processors that the control group, or one above it, grants; None without a limit.

    `proc` is a process's folder in procfs: its `cgroup` and `mountinfo` are read.
    """
    quotas: list[float] = []
    with suppress(OSError, ValueError, IndexError):  # no cgroups, or unknown ones: no limit is known
        mounts = list(_mounts(proc))
        for controllers, path in _groups(proc):
            for mount in mounts:
                if mount.controllers == controllers:
                    quotas.extend(_quotas(mount, path))
    return min(quotas, default=None)


class _Mount(NamedTuple):
    """Where a hierarchy of control groups is mounted, and which of its groups is there."""

    controllers: str
    root: str
    place: str


def _mounts(proc: str) -> Iterator[_Mount]:
    """The hierarchies that limit processors: version 2 has all controllers in one, which is written as ""."""
    with open(f"{proc}/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            # proc(5): ID, parent, device, root, mount point, options ... - type, source, options
            before, _, after = line.rstrip("\n").partition(" - ")
            fields, (kind, _, options) = before.split(" "), after.split(" ")
            if kind == "cgroup2":
                yield _Mount("", fields[3], fields[4])
            elif kind == "cgroup" and "cpu" in options.split(","):
                yield _Mount("cpu", fields[3], fields[4])


def _groups(proc: str) -> Iterator[tuple[str, str]]:
    """The hierarchies as in `_mounts`, and the process's group in each."""
    with open(f"{proc}/cgroup", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if not controllers or "cpu" in controllers.split(","):
                yield "cpu" if controllers else "", path


def _quotas(mount: _Mount, path: str) -> Iterator[float]:
    """The limits of a group and of those above it, as far as they are mounted here."""
    root = mount.root.rstrip("/")
    below = path[len(root) :] if f"{path}/".startswith(f"{root}/") else ""
    while True:
        folder = f"{mount.place}{below.rstrip('/')}"
        with suppress(OSError, ValueError):  # this group has no limit
            yield _quota_of_version_1(folder) if mount.controllers else _quota_of_version_2(folder)
        if not below.strip("/"):
            return
        below = os.path.dirname(below.rstrip("/"))


def _quota_of_version_2(folder: str) -> float:
    with open(f"{folder}/cpu.max", encoding="ascii") as file:
        quota, period = file.read().split()
    return int(quota) / int(period)  # "max" is no number: no limit


def _quota_of_version_1(folder: str) -> float:
    with open(f"{folder}/cpu.cfs_quota_us", encoding="ascii") as file:
        quota = int(file.read())
    with open(f"{folder}/cpu.cfs_period_us", encoding="ascii") as file:
        period = int(file.read())
    if quota <= 0 or period <= 0:
        raise ValueError("no limit")
    return quota / period
