"""Room for a command's files: a folder that is always removed, in a place that is looked at first."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from shutil import rmtree
from tempfile import gettempdir

from .errors import ConfigurationError, RefusedError, from_os_error, printable


@contextmanager
def folder(parent: str | None) -> Iterator[str]:
    """A new folder in `parent`, or in the system's temporary folder, removed with all that is in it.

    Raises:
        ConfigurationError: no temporary folder can be written.
        AggregationError: it cannot be made.
    """
    parent = os.path.abspath(parent) if parent else _temporary_folder()
    path = os.path.join(parent, f"aggregation-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        try:
            os.mkdir(path, 0o700)
        except OSError as error:
            raise from_os_error(error, "making a scratch folder", parent, writing=True) from error
        yield path
    finally:
        rmtree(path, ignore_errors=True)


def _temporary_folder() -> str:
    try:
        return gettempdir()
    except OSError as error:
        raise ConfigurationError(
            "making a scratch folder",
            "no folder for temporary files can be written: not $TMPDIR, /tmp, /var/tmp nor the current one",
            "name one with --scratch, or mount an emptyDir at /tmp (docker run --tmpfs /tmp)",
        ) from error


def copies(folder: str, names: Sequence[str]) -> list[str]:
    """Where copies of files go: by their own names, in folders of their own where two have the same."""
    own = [os.path.basename(name) for name in names]
    if len(set(own)) == len(own):
        return [os.path.join(folder, name) for name in own]
    return [os.path.join(folder, str(index), name) for index, name in enumerate(own)]


def save(doing: str, path: str, blocks: Iterable[bytes]) -> None:
    """Write a file of the blocks.

    Raises:
        RefusedError: there is no room for it after all.
    """
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        file = open(path, "wb", buffering=0)  # noqa: SIM115 - the block below closes it
    except OSError as error:
        raise from_os_error(error, doing, path, writing=True) from error
    with file:
        for block in blocks:  # which raises errors of its own: of where the blocks come from
            try:
                view = memoryview(block)
                while view:
                    view = view[file.write(view) :]
            except OSError as error:
                raise from_os_error(error, doing, path, writing=True) from error


def make_room(path: str, size: int) -> None:
    """Make the folder `path`, if it is not there, for files of `size` bytes.

    Raises:
        RefusedError: they do not fit.
    """
    try:
        os.makedirs(path, exist_ok=True)
        status = os.statvfs(path)
    except OSError as error:
        raise from_os_error(error, "fetching the command's inputs", path, writing=True) from error
    free = status.f_bavail * status.f_frsize
    if size > free:
        raise RefusedError(
            "fetching the command's inputs",
            f"they have {size} bytes, and {printable(path)} has room for {free}",
            "name another folder with --scratch, or give the pod more ephemeral storage",
        )
