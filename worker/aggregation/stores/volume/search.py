"""Finding files by a pattern: one scan of each folder that may hold some."""

import os
from contextlib import suppress
from errno import ELOOP, ENOENT, ENOTDIR
from typing import NamedTuple

from aggregation.errors import AggregationError, ConfigurationError, printable
from aggregation.layout import parse_temporary
from aggregation.wildcards import ANY_FOLDERS, Pattern, is_literal, matcher

from . import mounts
from .volume import Volume

_DOING = "listing the inputs"
_ABSENT = frozenset({ENOENT, ENOTDIR, ELOOP})


class _Listing(NamedTuple):
    """What a folder holds."""

    files: list[str]
    folders: list[str]
    linked: list[str]
    """Links to folders: `**` does not follow them, which could go round in circles."""


def search(volume: Volume, pattern: str) -> list[str]:
    """The files that match. Breadth first, so that a remote mount is asked for many folders at once.

    Raises:
        ConfigurationError: the pattern leads to another mount, whose files the root's would not be read as.
        AggregationError: a folder cannot be listed.
    """
    parts = Pattern(pattern).parts
    volume.is_remote()
    if pattern.startswith("/"):
        _see_that_it_is_the_same(volume, pattern)
    matching = [matcher(part) for part in parts]
    last = len(parts) - 1
    found: set[str] = set()
    listings: dict[str, _Listing] = {}
    pending = {("/" if pattern.startswith("/") else "", 0)}  # a folder, and which part comes next
    while pending:
        pending = _past_literals(volume, parts, pending, found)
        new = sorted({folder for folder, _ in pending} - listings.keys())
        listings |= zip(new, volume.each(lambda folder: _scan(volume, folder), new), strict=True)
        following: set[tuple[str, int]] = set()
        for folder, index in pending:
            listing = listings[folder]
            if parts[index] == ANY_FOLDERS:
                following |= {(_in(folder, n), index) for n in listing.folders if n[0] != "."}
                if index < last:
                    following.add((folder, index + 1))
                else:
                    found |= {_in(folder, n) for n in listing.files if n[0] != "."}
            elif index == last:
                found |= {_in(folder, n) for n in listing.files if matching[index].fullmatch(n)}
            else:
                matched = (n for n in listing.folders + listing.linked if matching[index].fullmatch(n))
                following |= {(_in(folder, n), index + 1) for n in matched}
        pending = following
    return list(found)


def _past_literals(
    volume: Volume, parts: list[str], pending: set[tuple[str, int]], found: set[str]
) -> set[tuple[str, int]]:
    """Go on to the next wildcard: what stands between needs no listing."""
    waiting: set[tuple[str, int]] = set()
    files: list[str] = []
    for folder, start in pending:
        index = start
        place = folder
        while index < len(parts) and is_literal(parts[index]):
            place = _in(place, parts[index])
            index += 1
        if index < len(parts):
            waiting.add((place, index))
        else:
            files.append(place)
    are_files = volume.each(lambda name: _is_file(volume, name), files)
    found |= {name for name, is_file in zip(files, are_files, strict=True) if is_file}
    return waiting


def _scan(volume: Volume, folder: str) -> _Listing:
    path = volume.path(folder)

    def scan() -> _Listing:
        listing = _Listing([], [], [])
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    listing.folders.append(entry.name)
                elif entry.is_symlink() and _is_dir(entry.path):
                    listing.linked.append(entry.name)
                elif entry.is_file() and not (entry.name[0] == "." and parse_temporary(entry.name)):
                    listing.files.append(entry.name)
        return listing

    try:
        return volume.patience.call(scan)
    except OSError as error:
        if error.errno in _ABSENT:
            volume.check_presence(_DOING, error)
            return _Listing([], [], [])
        raise _error(volume, error, path) from error


def _is_dir(path: str) -> bool:
    with suppress(OSError):
        return os.path.isdir(path)
    return False


def _is_file(volume: Volume, name: str) -> bool:
    path = volume.path(name)
    try:
        return volume.patience.call(lambda: os.stat(path) and os.path.isfile(path))
    except OSError as error:
        if error.errno in _ABSENT:
            volume.check_presence(_DOING, error)
            return False
        raise _error(volume, error, path) from error


def _error(volume: Volume, error: OSError, path: str) -> AggregationError:
    return volume.error(error, _DOING, path, writing=False, opening=True)


def _in(folder: str, name: str) -> str:
    return os.path.join(folder, name)


def _see_that_it_is_the_same(volume: Volume, pattern: str) -> None:
    """See that the place is not on a remote mount of its own: files are read as the root's mount needs it."""
    folder = os.path.dirname(Pattern(pattern).literal)
    kind = "disk"
    with suppress(OSError):  # an absent folder holds nothing
        if os.stat(folder).st_dev != os.stat(volume.prefix).st_dev:
            kind = mounts.kind(os.path.join(folder, ""))
    if kind != "disk":
        raise ConfigurationError(
            _DOING,
            f"{printable(folder)} is on another mount than the root {printable(volume.root)}",
            "name a folder of the root's own volume, or a root on that one",
        )
