"""Serves the mount: `python tests/support/slow_mount FOLDER PLACE`, until the place is unmounted.

With `--cache SECONDS` it looks files up as ossfs 1 does. A look-up that misses its cache is a HEAD, two for a
folder or an absent name; a listing sends a HEAD for each name that is not cached, 20 at a time, and the cache
answers for those seconds then. A line of the file of `--requests` is a request.

`--faults FILE` names a file that is read before each call. A line `open l1/ EIO 3` lets three calls of
`open` on a path with `l1/` in it fail; `KILL` for an error ends this process outright; no number is for ever.
"""

# mypy: disable-error-code="import-untyped, misc, override"

import argparse
import errno
import os
import signal
import stat
import time
from collections.abc import Iterator
from typing import Any

import mfusepy

_FAULTY = frozenset(
    {
        *("create", "flush", "fsync", "getattr", "mkdir", "open", "read", "readdir"),
        *("release", "rename", "truncate", "unlink", "write"),
    }
)


_PAGE = 1000
"""Names that a LIST gives, at most."""

_HEADS = 20
"""HEADs of a listing that are under way at a time, as in ossfs 1."""


class SlowMount(mfusepy.Operations):
    """Passes everything through to the folder, file descriptors as handles."""

    use_ns = True

    def __init__(
        self, behind: str, latency: float, faults: str | None, cache: float, requests: str | None
    ) -> None:
        self._behind = behind
        self._latency = latency
        self._faults = faults
        self._cache = cache
        self._known: dict[str, float] = {}  # until when each path needs no request
        self._requests = -1
        if requests:
            self._requests = os.open(requests, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._unfinished: set[str] = set()  # as ossfs 2, it has no file to read before it is closed
        self._served: dict[str, int] = {}

    def __getattribute__(self, name: str) -> Any:
        """An operation, behind a look for its fault."""
        found = super().__getattribute__(name)
        if name not in _FAULTY or not self._faults:
            return found

        def call(path: str, *arguments: Any) -> Any:
            self._fail(name, path)
            return found(path, *arguments)

        return call

    def _fail(self, op: str, path: str) -> None:
        try:
            with open(self._faults or "", encoding="utf-8") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            call, part, error, *often = line.split()
            if call in (op, "*") and part in path:
                served = self._served[line] = self._served.get(line, 0) + 1
                if error == "KILL":
                    os.kill(os.getpid(), signal.SIGKILL)
                if not often or served <= int(often[0]):
                    raise mfusepy.FuseOSError(getattr(errno, error))

    def _request(self, kind: str, count: int = 1, at_once: int = 1) -> None:
        """Send so many requests, and wait for them."""
        if self._requests >= 0:
            os.write(self._requests, f"{kind}\n".encode() * count)
        time.sleep(self._latency * -(-count // at_once))

    def _is_known(self, path: str) -> bool:
        return self._known.get(path, 0) > time.monotonic()

    def _learn(self, path: str) -> None:
        if self._cache:
            self._known[path] = time.monotonic() + self._cache

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        try:
            status = os.lstat(self._behind + path) if fh is None else os.fstat(fh)
        except FileNotFoundError as error:
            self._request("HEAD", 2 if self._cache else 1)
            raise mfusepy.FuseOSError(errno.ENOENT) from error
        is_folder = stat.S_ISDIR(status.st_mode)
        if fh is None and not self._is_known(path) and (self._cache or not is_folder):
            self._request("HEAD", 2 if is_folder else 1)
            self._learn(path)
        names = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid", "st_ino")
        times = {f"st_{kind}time": getattr(status, f"st_{kind}time_ns") for kind in "amc"}
        return {name: getattr(status, name) for name in names} | times

    def readdir(self, path: str, _fh: int) -> Iterator[tuple[str, dict[str, int], int]]:
        with os.scandir(self._behind + path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        self._request("LIST", max(1, -(-len(entries) // _PAGE)))
        if self._cache:
            paths = [f"{path.rstrip('/')}/{entry.name}" for entry in entries]
            unknown = [path for path in paths if not self._is_known(path)]
            for start in range(0, len(unknown), _HEADS):
                batch = unknown[start : start + _HEADS]
                self._request("HEAD", len(batch), at_once=_HEADS)
                for name in batch:
                    self._learn(name)
        for entry in entries:
            # As s3fs and ossfs do, the listing says which names are folders.
            yield entry.name, {"st_mode": stat.S_IFDIR if entry.is_dir() else stat.S_IFREG}, 0

    def open(self, path: str, flags: int) -> int:
        self._request("HEAD")
        if path in self._unfinished:
            raise mfusepy.FuseOSError(errno.EIO)
        return os.open(self._behind + path, flags)

    def create(self, path: str, mode: int, _fi: object = None) -> int:
        self._request("PUT")
        self._unfinished.add(path)
        return os.open(self._behind + path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def read(self, _path: str, size: int, offset: int, fh: int) -> bytes:
        if offset == 0:
            self._request("GET")
        return os.pread(fh, size, offset)

    def write(self, _path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, _fh: int | None = None) -> None:
        os.truncate(self._behind + path, length)

    def release(self, _path: str, fh: int) -> None:
        os.close(fh)

    def fsync(self, _path: str, _datasync: int, fh: int) -> None:
        self._request("PUT")
        os.fsync(fh)

    def flush(self, path: str, _fh: int) -> None:
        self._unfinished.discard(path)

    def rename(self, old: str, new: str) -> None:
        self._request("PUT")
        self._known.pop(old, None)
        os.rename(self._behind + old, self._behind + new)

    def unlink(self, path: str) -> None:
        self._request("DELETE")
        self._known.pop(path, None)
        os.unlink(self._behind + path)

    def mkdir(self, path: str, mode: int) -> None:
        self._request("PUT")
        os.mkdir(self._behind + path, mode)

    def rmdir(self, path: str) -> None:
        self._request("DELETE")
        self._known.pop(path, None)
        os.rmdir(self._behind + path)


def main() -> None:
    """Parse, serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("behind")
    parser.add_argument("place")
    parser.add_argument("--latency", type=float, default=0.02)
    parser.add_argument(
        "--remember", type=float, default=0, help="seconds for which the kernel knows a file's size"
    )
    parser.add_argument("--cache", type=float, default=0, help="seconds for which the mount knows a file")
    parser.add_argument("--requests", help="a file that gets a line for each request")
    parser.add_argument("--faults", help="a file that says which calls fail")
    given = parser.parse_args()
    # The kernel remembers nothing, as the mounts that show other pods' writes are told.
    remembered = {"entry_timeout": given.remember, "attr_timeout": given.remember, "negative_timeout": 0}
    serving = SlowMount(given.behind, given.latency, given.faults, given.cache, given.requests)
    mfusepy.FUSE(serving, given.place, foreground=True, nothreads=False, **remembered)


if __name__ == "__main__":
    main()
