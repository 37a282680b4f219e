"""What a test needs of the machine: a function a part, which skips where it is missing, and says the cure.

The packages are Debian's. Where `REQUIRE_PARTS` is set, every test that is skipped fails (conftest.py).
"""

import gc
import os
import platform
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import NoReturn

import docker
import pytest
from docker.errors import DockerException

import seccomp
import slow_mount
import system_calls as watching

_SYS_ADMIN = 21
"""The capability's number (linux/capability.h)."""


def lacking(reason: str) -> NoReturn:
    """A part is missing: skip the test.

    Args:
        reason: What is missing, and what to install or do.
    """
    pytest.skip(reason)


def root() -> None:
    """The user root."""
    if os.geteuid() != 0:
        lacking("not root: run the tests as root")


def administration() -> None:
    """The right to mount and to make namespaces, which a container's root does not have."""
    root()
    status = Path("/proc/self/status").read_text()
    capabilities = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    if not int(capabilities, 16) >> _SYS_ADMIN & 1:
        lacking("no right to mount: run the tests outside a container, or in one with --cap-add SYS_ADMIN")


def fuse() -> None:
    """A FUSE mount by libfuse: the library, the device and the right."""
    try:
        slow_mount.check()
    except slow_mount.UnavailableError as error:
        lacking(str(error))


def compiler() -> str:
    """A C compiler with the C library's headers: its path."""
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None:
        lacking("no C compiler: install gcc and libc6-dev")
    look = [found, "-E", "-include", "dlfcn.h", "-x", "c", "/dev/null"]
    if subprocess.run(look, capture_output=True, check=False).returncode:
        lacking(f"{found} finds no dlfcn.h: install libc6-dev")
    return found


def reflink_maker() -> str:
    """What makes a file system that shares extents, `mkfs.xfs` or `mkfs.btrfs`: its path."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    for name in ("mkfs.xfs", "mkfs.btrfs"):
        if found := shutil.which(name, path=path):
            return found
    lacking("neither mkfs.xfs nor mkfs.btrfs: install xfsprogs or btrfs-progs")


def shared_memory(beside: Path) -> Path:
    """`/dev/shm`, where it is another file system than that of `beside`."""
    place = Path("/dev/shm")
    if not os.access(place, os.W_OK) or place.stat().st_dev == beside.stat().st_dev:
        lacking("/dev/shm is no second file system: mount a tmpfs there")
    return place


def syscall_filter() -> None:
    """A filter of system calls (seccomp)."""
    if not seccomp.supported():
        lacking(f"no numbers of system calls for {platform.machine()}: add them to tests/seccomp.py")


def system_calls() -> None:
    """A filter that asks before each system call (seccomp's user notifications)."""
    if why := watching.unsupported():
        lacking(why)


def kubectl() -> str:
    """The command `kubectl`, for what needs no cluster: its path."""
    found = shutil.which("kubectl")
    if found is None:
        lacking("no kubectl: install kubernetes-client, or see https://kubernetes.io/docs/tasks/tools/")
    return found


def docker_engine() -> docker.DockerClient:
    """A Docker Engine that runs amd64; the caller closes it."""
    with warnings.catch_warnings():
        # The client leaves its socket to the garbage collector where nobody answers.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            client = docker.from_env(timeout=600)
        except DockerException as error:
            client, said = None, str(error)
        gc.collect()
    if client is None:
        lacking(f"no Docker Engine answers: install docker.io, start it, let this user use it ({said})")
    architecture = client.info()["Architecture"]
    if architecture not in ("x86_64", "amd64"):
        client.close()
        lacking(f"the Docker Engine runs {architecture}: the image is for amd64")
    return client


def docker_command() -> str:
    """The command `docker`, with an engine behind it: its path."""
    found = shutil.which("docker")
    if found is None:
        lacking("no docker command: install docker.io")
    docker_engine().close()
    return found
