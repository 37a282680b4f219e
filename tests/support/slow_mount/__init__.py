"""A mount that works as an object store's does: what names a file is a request, and so is reading its start.

Requests of several threads overlap. Needs /dev/fuse and libfuse.
`python tests/support/slow_mount FOLDER PLACE` serves.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UnavailableError(Exception):
    """FUSE does not work here; the message says why, and what to install."""


def check() -> None:
    """Look for what a mount needs.

    Raises:
        UnavailableError: Something is missing.
    """
    loading = subprocess.run([sys.executable, "-c", "import mfusepy"], capture_output=True, check=False)
    if loading.returncode:
        raise UnavailableError("libfuse cannot be loaded: install libfuse2 (FUSE_LIBRARY_PATH names another)")
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        cure = "load the kernel's module fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN"
        raise UnavailableError(f"/dev/fuse: {error.strerror}: {cure}") from error
    if os.geteuid() != 0 and _fusermount() is None:
        raise UnavailableError("no fusermount, which mounts for users other than root: install fuse3")


@contextmanager
def mounted(
    behind: Path,
    place: Path,
    *,
    latency: float,
    remember: float = 0,
    cache: float = 0,
    requests: Path | None = None,
    faults: Path | None = None,
) -> Iterator[None]:
    """Serve `behind` at `place`, by a process of its own.

    Args:
        behind: What is served.
        place: An empty folder.
        latency: Seconds a request.
        remember: Seconds for which the kernel knows a file's size without asking again.
        cache: Seconds for which the mount itself knows a file that it looked up or listed: as ossfs 1.
        requests: A file that gets a line for each request.
        faults: A file that says which calls fail, when it is there: see `__main__`.

    Raises:
        UnavailableError: FUSE does not work here.
    """
    check()
    options = ["--latency", str(latency), "--remember", str(remember), "--cache", str(cache)]
    if requests is not None:
        options += ["--requests", str(requests)]
    if faults is not None:
        options += ["--faults", str(faults)]
    serve = [sys.executable, str(Path(__file__).parent), *options, str(behind), str(place)]
    # A file, not a pipe: nobody reads while the mount serves, and a full pipe would stop it.
    with tempfile.TemporaryFile("w+") as said:
        serving = subprocess.Popen(serve, stderr=said)
        try:
            while not place.is_mount():
                if serving.poll() is not None:
                    said.seek(0)
                    lines = said.read().split("\n")
                    words = "; ".join(line.strip() for line in lines if line.startswith(("fuse", "mount")))
                    raise UnavailableError(f"no FUSE mount here: {words or lines[-1] or serving.returncode}")
                time.sleep(0.05)
            yield
        finally:
            if _is_mounted(place):
                unmount = ["umount"] if os.geteuid() == 0 else [_fusermount() or "fusermount", "-u"]
                subprocess.run([*unmount, place], check=True)
            else:
                serving.terminate()
            serving.wait()


def _is_mounted(place: Path) -> bool:
    """Whether something is mounted there, by the table: a dead mount does not answer."""
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    written = str(place).replace(" ", r"\040")
    return any(line.split(" ")[4] == written for line in table.splitlines())


def _fusermount() -> str | None:
    return shutil.which("fusermount3") or shutil.which("fusermount")
