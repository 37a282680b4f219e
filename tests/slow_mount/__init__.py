"""A mount that works as an object store's does: what names a file is a request, and so is reading its start.

Requests of several threads overlap. Needs /dev/fuse and libfuse. `python tests/slow_mount FOLDER PLACE`
serves.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UnavailableError(Exception):
    """FUSE does not work here; the message says why."""


@contextmanager
def mounted(behind: Path, place: Path, *, latency: float) -> Iterator[None]:
    """Serve `behind` at `place`, by a process of its own.

    Args:
        behind: What is served.
        place: An empty folder.
        latency: Seconds a request.

    Raises:
        UnavailableError: FUSE does not work here.
    """
    options = ["--latency", str(latency)]
    serving = subprocess.Popen(
        [sys.executable, Path(__file__).parent, *options, behind, place], stderr=subprocess.PIPE, text=True
    )
    try:
        while not place.is_mount():
            if serving.poll() is not None:
                said = (serving.communicate()[1].strip().splitlines() or ["it ended"])[-1]
                raise UnavailableError(f"no FUSE mount here: {said}")
            time.sleep(0.05)
        yield
    finally:
        if place.is_mount():
            subprocess.run(["umount", place], check=True)
        else:
            serving.terminate()
        serving.communicate()
