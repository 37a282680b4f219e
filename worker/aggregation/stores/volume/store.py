"""Directories of this machine, a mounted volume above all.

A file is written under a temporary name beside its target, synced, closed, its size checked, then renamed.
That order is what a FUSE mount of an object store needs: a writer that is killed publishes a truncated object
under the name that it was writing to, and an error of the upload comes from close at the latest. Nothing
rests on fsync, truncate, locks or links, which such mounts lack; an absent name is never looked up without
need, because that costs several requests there.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from errno import ELOOP, ENOENT, ENOTDIR

from aggregation.errors import (
    AggregationError,
    CommandFailedError,
    MissingInputError,
    UnavailableError,
    printable,
)
from aggregation.stores.promise import Advance, Entry, Settings, Written, describe

from . import copier
from .fast_copy import close_read
from .foresight import Foresight
from .new_file import NewFile
from .sources import Seen, Sources, check_unchanged, open_source
from .temporaries import Temporaries
from .volume import Volume

_ABSENT = frozenset({ENOENT, ENOTDIR, ELOOP})


class VolumeStorage:
    """The files under a directory. See Storage for what each method promises."""

    def __init__(self, root: str, settings: Settings = Settings()) -> None:  # noqa: B008 - it is frozen
        self._volume = Volume(root, settings)
        self._temporaries = Temporaries(self._volume)
        self._foresight = Foresight(self._volume, self._temporaries)
        self._verify = settings.verify
        self._seen: dict[str, list[Seen]] = {}  # a command's inputs, by its workplace

    def path(self, name: str) -> str:
        """The name below the directory."""
        return self._volume.path(name)

    def names(self, folder: str) -> list[str]:
        """One scan of the folder; a later `sweep` removes the temporaries that it found."""
        doing = "listing the levels"
        self._volume.is_remote()
        try:
            names = self._temporaries.scan(folder)
        except OSError as error:
            if folder and error.errno in (ENOENT, ENOTDIR):
                self._volume.check_presence(doing, error)
                return []
            if error.errno == ENOENT:
                raise self._volume.missing_root(doing, MissingInputError) from error
            raise self._error(error, doing, folder) from error
        self._foresight.note_listing(folder)
        return names

    def foresee(self, names: Sequence[str], held: int) -> None:
        """On a remote mount a listing, and a stat a file, where most of the folder is about to be read."""
        self._foresight.learn(names, held)

    def entries(self, folder: str) -> list[Entry]:
        """One scan of the folder, and a stat a file; on a remote mount these overlap."""

        def look_up(name: str) -> Entry | None:
            file = f"{folder}/{name}" if folder else name
            found = self.find(file)
            if found is None:
                with suppress(OSError):  # removed meanwhile
                    # A link to nowhere is not absent.
                    return self._volume.entry(name, os.lstat(self.path(file)))._replace(size=0)
            return found

        return [entry for entry in self._volume.each(look_up, self.names(folder)) if entry]

    def glob(self, pattern: str) -> list[str]:
        """One scan of each folder; on a remote mount these overlap."""
        from .search import search  # noqa: PLC0415 - for patterns only

        return search(self._volume, pattern)

    def find(self, name: str) -> Entry | None:
        """One stat."""
        doing = "looking up a file"
        try:
            status = self._volume.patience.call(lambda: os.stat(self.path(name)))
        except OSError as error:
            if error.errno in _ABSENT:
                self._volume.check_presence(doing, error)
                return None  # or a link to nowhere: nothing that can be joined
            raise self._error(error, doing, name) from error
        return self._volume.entry(os.path.basename(name), status)

    def _error(self, error: OSError, doing: str, name: str) -> AggregationError:
        return self._volume.error(error, doing, self.path(name), writing=False, opening=True)

    def concatenate(
        self, sources: Sequence[str], target: str, *, advance: Advance | None = None, checksum: bool = False
    ) -> Written:
        """By the kernel where it can, straight into the temporary file.

        Begun anew when a source changed meanwhile, once, and as long as a remote mount says what may pass.
        """
        doing = f"joining {describe(sources)} into {printable(self.path(target))}"
        return self._join(doing, sources, target, advance, checksum=checksum)

    def _join(
        self, doing: str, sources: Sequence[str], target: str, advance: Advance | None, *, checksum: bool
    ) -> Written:
        started = time.perf_counter()
        self._volume.is_remote()  # before anything is read: it notes where the root is

        def join() -> Written:
            opened = Sources(self._volume, doing, sources)
            try:
                with NewFile(self._volume, self._temporaries, doing, target) as new:
                    return copier.join(
                        self._volume,
                        new,
                        opened,
                        advance=advance,
                        checksum=checksum,
                        verify=self._verify,
                        started=started,
                    )
            finally:
                opened.close()

        return self._volume.patience.make(join)

    @contextmanager
    def workplace(self, target: str, scratch: str | None) -> Iterator[str]:
        """A hidden folder beside the target, where a rename publishes; or one in `scratch`.

        A command that fails in it is to blame only if the volume is still there.
        """
        from aggregation.scratch import folder  # noqa: PLC0415 - for commands only

        self._volume.is_remote()
        with folder(scratch) if scratch else self._beside(target) as place:
            path = os.path.abspath(place)
            try:
                yield path
            except CommandFailedError as error:
                self._check_answers(error)
                raise
            finally:
                self._seen.pop(path, None)

    def _check_answers(self, failure: CommandFailedError) -> None:
        """See that the root's mount still answers.

        Raises:
            UnavailableError: it does not, or it is another one.
        """
        self._volume.check_presence(failure.doing, failure)
        try:
            os.listdir(self._volume.root)
        except OSError as error:
            dead = self._error(error, failure.doing, "")
            if isinstance(dead, UnavailableError):
                raise dead from failure

    @contextmanager
    def _beside(self, target: str) -> Iterator[str]:
        doing = f"making a folder beside {printable(self.path(target))}"
        path, _ = self._temporaries.create(doing, target, lambda path: os.mkdir(path, 0o700))
        try:
            yield path
        finally:
            self._temporaries.discard(path)

    def download(self, sources: Sequence[str], folder: str) -> list[str]:
        """Nothing is copied: the command gets the volume's own files, which are there and can be read.

        What they are then is compared with what they are when its output is uploaded.
        """
        doing = f"opening {describe(sources)}"

        def look_up(name: str) -> Seen:
            path, descriptor, status, _ = open_source(self._volume, doing, name)
            close_read(descriptor)
            return os.path.abspath(path), status

        seen = self._seen[os.path.dirname(folder)] = list(self._volume.each(look_up, sources))
        return [path for path, _ in seen]

    def upload(
        self, path: str, target: str, *, advance: Advance | None = None, checksum: bool = False
    ) -> Written:
        """By a rename within the volume, by a join of this one file from elsewhere, which can be verified."""
        started = time.perf_counter()
        doing = f"publishing {printable(self.path(target))}"
        check_unchanged(self._volume, doing, self._seen.get(os.path.dirname(path), []))
        if not self._temporaries.has(os.path.dirname(path)):  # it is in a scratch folder
            return self._join(doing, [path], target, advance, checksum=checksum)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise self._volume.error(error, doing, path, writing=False) from error
        with NewFile.of(self._volume, self._temporaries, doing, target, (path, descriptor)) as new:
            size = new.size()
            new.sync()
            crc64 = new.crc64() if checksum else None
            new.publish(size)
        if advance is not None:
            advance(size)
        return Written(size, crc64, "renamed", 0, time.perf_counter() - started)

    def write(self, target: str, data: bytes) -> None:
        """Through a temporary file, as `concatenate`."""
        doing = f"writing {printable(self.path(target))}"
        self._volume.is_remote()

        def write() -> None:
            with NewFile(self._volume, self._temporaries, doing, target) as new:
                view = memoryview(data)
                try:
                    while view:
                        view = view[os.write(new.descriptor, view) :]
                except OSError as error:
                    raise new.error(error) from error
                new.sync()
                new.publish(len(data))

        self._volume.patience.make(write)

    def read(self, name: str, limit: int | None) -> bytes:
        """From the start of the file."""
        path = self.path(name)

        def read() -> bytes:
            with open(path, "rb", buffering=0) as file:
                return file.read() if limit is None else file.read(limit)

        try:
            return self._volume.patience.call(read)
        except OSError as error:
            raise self._error(error, "reading a file", name) from error

    def remove(self, names: Sequence[str]) -> None:
        """Unlink each; then remove their folders as far as they are empty."""
        for name in names:
            path = self.path(name)
            try:
                self._volume.patience.call(lambda path=path: os.unlink(path), opening=False)  # type: ignore[misc]
            except FileNotFoundError:
                pass
            except OSError as error:
                raise self._volume.error(error, "removing a file", path, writing=True) from error
        for folder in {os.path.dirname(name) for name in names} - {""}:
            with suppress(OSError):  # not empty, or gone: both are fine
                os.rmdir(self.path(folder))

    def remove_tree(self, folder: str) -> None:
        """One scan a folder, one call a file; on a remote mount these overlap."""
        self._empty(folder)
        if above := os.path.dirname(folder):
            with suppress(OSError):  # other runs are there
                os.rmdir(self.path(above))

    def _empty(self, folder: str) -> None:
        path = self.path(folder)
        doing = "removing a folder"
        try:
            with os.scandir(path) as found:
                kinds = {entry.name: entry.is_dir(follow_symlinks=False) for entry in found}
            for name, is_folder in kinds.items():
                if is_folder:
                    self._empty(f"{folder}/{name}")
            files = [f"{path}/{name}" for name, is_folder in kinds.items() if not is_folder]
            for _ in self._volume.each(_unlink, files):
                pass
            os.rmdir(path)
        except OSError as error:
            if error.errno not in _ABSENT:  # else somebody else removes it too
                raise self._volume.error(error, doing, path, writing=True) from error
            self._volume.check_presence(doing, error)

    def sweep(self, *folders: str) -> None:
        """Remove the folder's leftovers: temporaries whose writer is dead, or silent for a day."""
        self._temporaries.sweep(*folders)

    def close(self) -> None:
        """Remove the temporaries that an interruption left, and let go of the directory."""
        self._temporaries.close()
        self._volume.close()


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
