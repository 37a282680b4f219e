"""The files that become targets, while they are written; and what dead runs left of theirs."""

import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from errno import EEXIST, ENAMETOOLONG
from typing import TypeVar

from aggregation import host
from aggregation.layout import (
    NAME_BYTES,
    STALE_SECONDS,
    Temporary,
    is_of_this_process,
    new_temporary,
    parse_temporary,
)

from .volume import Volume

_SHORT_NAME_BYTES = 140
"""For file systems that hold shorter names: eCryptfs takes 143 bytes."""

_TRIES = 5

Made = TypeVar("Made")


class Temporaries:
    """The temporaries below a directory. Safe to use from several threads at once."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._host = host.name_for_pids()
        self._writing: set[str] = set()  # paths of this process's temporaries, as long as they may exist
        self._found: dict[str, dict[str, list[tuple[str, Temporary]]]] = {}  # by folder and target's name
        self._ahead: float | None = None

    def create(self, doing: str, target: str, make: Callable[[str], Made]) -> tuple[str, Made]:
        """What `make` makes under a new name beside `target`, in a folder that is made if it is absent.

        Removes what a dead run left of the target. Returns the path, and what was made.

        Raises:
            AggregationError: it cannot be made.
        """
        room = NAME_BYTES
        tries = _TRIES
        while True:
            path = self._reserve(target, room)
            try:
                return path, self._make(doing, target, lambda path=path: make(path))  # type: ignore[misc]
            except OSError as error:
                self.discard(path)  # a mount may have made it, and answered EEXIST to a request of its own
                tries -= 1
                if error.errno == ENAMETOOLONG and room == NAME_BYTES:
                    room = _SHORT_NAME_BYTES
                elif error.errno != EEXIST or not tries:
                    raise self._volume.error(
                        error, doing, os.path.dirname(path), writing=True, opening=True
                    ) from error

    def _make(self, doing: str, target: str, make: Callable[[], Made]) -> Made:
        """Without a look at the folder before: it is there but for the first time."""
        try:
            return self._volume.patience.call(make)
        except FileNotFoundError:
            self._volume.make_folder(doing, os.path.dirname(target))
            return self._volume.patience.call(make)

    def _reserve(self, target: str, room: int) -> str:
        folder, name = os.path.split(target)
        temporary = new_temporary(name, self._host, room)
        if not (folder and self._volume.is_remote()):
            # On a remote mount a scan may cost a request a file, in every pod: `sweep` does it once.
            self._remove(folder, self._find(folder).get(temporary.target, []))
        path = self._volume.path(os.path.join(folder, temporary.name()))
        self._writing.add(path)
        return path

    def has(self, path: str) -> bool:
        """Whether this store makes a temporary at the absolute path."""
        return any(os.path.abspath(own) == path for own in list(self._writing))

    def kept(self, path: str) -> None:
        """Note that a temporary has got its final name."""
        self._writing.discard(path)

    def discard(self, path: str) -> None:
        """Remove a temporary if it is there."""
        try:
            os.unlink(path)
        except IsADirectoryError:
            from shutil import rmtree  # noqa: PLC0415 - for commands only

            rmtree(path, ignore_errors=True)
        except OSError:
            pass  # what cannot be removed now is a later run's leftover
        self._writing.discard(path)

    def close(self) -> None:
        """Remove the temporaries that an interruption left."""
        for path in list(self._writing):
            self.discard(path)

    def scan(self, folder: str) -> list[str]:
        """The folder's names without its temporaries, which are remembered for a later `sweep`.

        Raises:
            OSError: it cannot be listed.
        """
        return self.note(folder, self._volume.patience.call(lambda: os.listdir(self._volume.path(folder))))

    def note(self, folder: str, names: list[str]) -> list[str]:
        """The same for names that were listed elsewhere."""
        hidden = {name: parsed for name in names if name[0] == "." and (parsed := parse_temporary(name))}
        found: dict[str, list[tuple[str, Temporary]]] = {}
        for name, temporary in hidden.items():
            found.setdefault(temporary.target, []).append((name, temporary))
        self._found.setdefault(folder, found)
        return [name for name in names if name not in hidden] if hidden else names

    def sweep(self, *folders: str) -> None:
        """Remove the folders' leftovers, whatever their targets."""
        for folder in folders:
            for found in self._find(folder).values():
                self._remove(folder, found)

    def note_time(self, modified: float) -> None:
        """Learn the store's clock from the time of a file that was written a moment ago."""
        self._ahead = modified - time.monotonic()

    def _find(self, folder: str) -> dict[str, list[tuple[str, Temporary]]]:
        """The folder's temporaries by target; scanned once, to keep a tree in one process linear."""
        if folder not in self._found:
            with suppress(OSError):  # an absent folder has no leftovers
                self.scan(folder)
        return self._found.setdefault(folder, {})

    def _remove(self, folder: str, found: list[tuple[str, Temporary]]) -> None:
        while found:
            with suppress(IndexError):  # another thread took the last
                name, temporary = found.pop()
                path = self._volume.path(os.path.join(folder, name))
                if self._is_leftover(temporary, path):
                    self.discard(path)

    def _is_leftover(self, temporary: Temporary, path: str) -> bool:
        """Whether nobody writes it any more: its writer is dead, or wrote nothing for a day.

        The latter where this machine cannot ask whether the writer lives. The day is the store's, because
        this machine's clock may be hours ahead of the writer's. The store's clock is known once something was
        written here; before that no temporary counts as old.
        """
        if temporary.host == self._host and not self._volume.is_remote():
            if temporary.pid == os.getpid():
                return not is_of_this_process(temporary)
            try:
                os.kill(temporary.pid, 0)
            except ProcessLookupError:
                return True
            except (OSError, OverflowError):
                pass  # alive, and another user's; or no number of a process, and so nobody's that we know
            return False
        if self._ahead is None:
            return False
        return time.monotonic() + self._ahead - _last_written(path) > STALE_SECONDS


def _last_written(path: str) -> float:
    """When a temporary, or anything in it, was last written to; never, for one that cannot be looked at."""
    try:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            return status.st_mtime
        # A folder's time does not move while a command writes a file in it.
        return max(status.st_mtime, *(_last_written(entry.path) for entry in os.scandir(path)), 0)
    except OSError:
        return float("inf")
