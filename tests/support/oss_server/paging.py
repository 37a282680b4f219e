"""Listings: sorted names, cut at a delimiter, page by page."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable

from oss_server.objects import Entry, StoredObject, Upload


def after_prefix(names: list[str], prefix: str) -> int:
    """Return the index behind the last of the sorted names that start with `prefix`."""
    # No key contains U+10FFFF, so this bound is behind every name that starts with the prefix.
    return bisect_right(names, prefix + chr(0x10FFFF)) if prefix else len(names)


def page(
    names: list[str],
    find: Callable[[str], StoredObject | Upload],
    prefix: str,
    delimiter: str,
    marker: str,
    limit: int,
) -> tuple[list[Entry], bool]:
    """Walk sorted names; a common prefix takes one entry and one step, however many names are behind it."""
    entries: list[Entry] = []
    index = max(bisect_left(names, prefix), bisect_right(names, marker))
    end = after_prefix(names, prefix)
    while index < end:
        name = names[index]
        # An upload is listed as key, NUL, id: only the key may hold the delimiter.
        cut = name.partition("\0")[0].find(delimiter, len(prefix)) if delimiter else -1
        common = name[: cut + len(delimiter)] if cut >= 0 else ""
        if common and common <= marker:
            index = after_prefix(names, common)
            continue
        if len(entries) == limit:
            return entries, True
        entries.append(Entry(common, None) if common else Entry(name, find(name)))
        index = after_prefix(names, common) if common else index + 1
    return entries, False
