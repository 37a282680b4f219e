"""The way to a root's file system: found by fsspec, looked at before it is trusted, called in one manner.

Every call goes through `Calls`: one at a time where a file system has one connection, again while it is
unavailable, its errors as ours.
"""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from typing import Any, TypeVar

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.config import apply_config
from fsspec.core import url_to_fs
from fsspec.dircache import DirCache
from fsspec.implementations.chained import ChainedFileSystem

from aggregation import stopping
from aggregation.errors import AggregationError, ConfigurationError, UnavailableError
from aggregation.location import Location
from aggregation.stores.pauses import pauses_within
from aggregation.stores.promise import Settings

from .errors import translated

Answer = TypeVar("Answer")

_ONE_AT_A_TIME = ("ftp",)
"""Protocols whose file system has one connection and no lock of its own."""

_S3 = ("s3", "s3a")

_SESSIONS = ("ftp", "sftp", "ssh", "smb")
"""Protocols for which a connection that was lost needs a new file system object."""

_READ_ONLY = {
    "http": "a web server takes no files that way",
    "https": "a web server takes no files that way",
    "github": "it is read only",
    "gist": "it is read only",
    "git": "it is read only",
    "reference": "it is a view of other files",
    "generic": "it is no store of its own",
    "dir": "it is no store of its own",
    "hf": "each file would be a commit",
    "lakefs": "each run would need a commit",
}
"""Protocols whose classes hide that nothing can be published there."""


class Calls:
    """The file system of a root, and how it is asked.

    Raises:
        ConfigurationError: no such file system, or one that cannot keep the promises of Storage.
        UnavailableError: it could not be reached.
    """

    def __init__(self, location: Location, settings: Settings) -> None:
        self.location = location
        self.root = ""
        """The root as the file system's own path."""
        self._settings = settings
        self._kind = _fitting(location)
        self._lock: AbstractContextManager[Any] = (
            threading.RLock() if location.protocol in _ONE_AT_A_TIME else nullcontext()
        )
        self.alone = location.protocol in _ONE_AT_A_TIME
        """Whether calls wait for each other."""
        self.moves = _overrides(self._kind, "mv", "_mv_file")
        """Whether a file is renamed; elsewhere it is copied and the first one removed."""
        self._fs: fsspec.AbstractFileSystem | None = None
        self(f"opening {location}", lambda _: None)

    def __call__(self, doing: str, ask: Callable[[Any], Answer], *, writing: bool = False) -> Answer:
        """What the file system answers, asked again while it is unavailable, for as long as the settings say.

        `ask` must be idempotent.

        Raises:
            AggregationError: what it said in the end.
        """
        patience = Patience(self._settings.timeout)
        while True:
            try:
                return self.once(doing, ask, writing=writing)
            except UnavailableError as error:
                patience.wait_or_raise(error)

    def once(self, doing: str, ask: Callable[[Any], Answer], *, writing: bool = False) -> Answer:
        """The same, asked once."""
        with self._lock:
            try:
                if self._fs is None:
                    self._fs = self._open()
                return ask(self._fs)
            except Exception as error:
                found = translated(error, doing, self.location, writing=writing)
                if isinstance(found, UnavailableError) and self.location.protocol in _SESSIONS:
                    self._fs = None
                if found is error:
                    raise
                raise found from error

    def _open(self) -> fsspec.AbstractFileSystem:
        location = self.location
        try:  # before it is begun: what fails in the middle may end with a traceback of its own
            told = apply_config(self._kind, self._kind._get_kwargs_from_urls(location.url))  # noqa: SLF001 - as url_to_fs
            signature(self._kind.__init__).bind(None, **told)
        except TypeError as error:
            raise ConfigurationError(
                f"opening {location}", location.masked(str(error)), "check what the URL lacks, such as a host"
            ) from error
        # An instance of this process's own, which nobody else sets up differently.
        fs, root = url_to_fs(
            location.url, skip_instance_cache=True, **_options(location.protocol, self._settings)
        )
        if location.protocol in _S3:
            fs.retries = 1
        if isinstance(getattr(fs, "dircache", None), DirCache):
            fs.dircache.use_listings_cache = False  # other pods write here too
        # A class that derives from another's may know the other's scheme only.
        self.root = root.lstrip("/").removeprefix(f"{location.protocol}://") if "://" in root else root
        self.root = self.root.rstrip("/")
        if not location.url.endswith(self.root.lstrip("/")) or "?versionId=" in self.root:
            raise ConfigurationError(
                f"opening {location}",
                f"fsspec would take a part of it for something else, and write to {location.masked(root)}",
                "choose a root without ? and #",
            )
        return fs


class Patience:
    """How long a thing that fails for a passing reason is tried again."""

    def __init__(self, seconds: float) -> None:
        self._pauses = pauses_within(seconds)

    def wait_or_raise(self, error: AggregationError) -> None:
        """Pause, longer each time.

        Raises:
            AggregationError: the error, since its time is over, or the process is to end.
        """
        if (pause := next(self._pauses, None)) is None:
            raise error
        until = time.monotonic() + pause
        while (left := until - time.monotonic()) > 0:
            if stopping.seconds_left() is not None:
                raise error
            time.sleep(min(left, 0.1))


def _fitting(location: Location) -> Any:
    """The class that speaks the location's protocol.

    Raises:
        ConfigurationError: there is none, or it cannot keep the promises.
    """
    doing = f"opening {location}"
    if "::" in location.url:
        raise ConfigurationError(
            doing,
            "it chains file systems, and one in between may give what it remembers, or publish late",
            "name the store itself",
        )
    protocol = location.protocol
    try:
        kind = fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        raise ConfigurationError(
            doing, str(error).split("\n")[0], "install that package beside the worker"
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            doing, f"fsspec knows no {protocol}://", "check the root's protocol"
        ) from error
    why = _READ_ONLY.get(protocol)
    if why is None and issubclass(kind, ChainedFileSystem):
        why = "it stands in front of another file system"
    if why is None and not _overrides(kind, "rm_file", "_rm_file", "_rm", "rm"):
        why = "it cannot remove a file"
    if why is None and not _overrides(kind, "mv", "_mv_file", "cp_file", "_cp_file"):
        why = "it can neither move nor copy a file, so nothing would appear whole"
    if why is not None:
        raise ConfigurationError(
            doing, f"{protocol}:// cannot hold the levels: {why}", "name a directory or another store"
        )
    return kind


def _overrides(kind: Any, *names: str) -> bool:
    """Whether a class does one of these itself."""
    bases = (fsspec.AbstractFileSystem, AsyncFileSystem)
    return any(
        found is not None and all(found is not getattr(base, name, None) for base in bases)
        for name in names
        if (found := getattr(kind, name, None))
    )


def _options(protocol: str, settings: Settings) -> dict[str, Any]:
    """What a file system is opened with; what the user has configured for fsspec stays."""
    if protocol not in _S3:
        return {}
    own = fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
    # One layer retries, and it is the one above.
    once = {"retries": {"total_max_attempts": 1}, "connect_timeout": 10, "read_timeout": 60}
    return {"config_kwargs": {**once, "max_pool_connections": settings.parallel + 8, **own}}
