"""How many files this process may have open at a time."""

import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_AHEAD = 64
"""Inputs of a join opened before the first byte is written: a missing one of a usual group shows at once, and
a merge of thousands stays far from the limit of open files."""

_FILES_A_JOIN = 8
"""Open files of a join besides the inputs that wait: its target, a folder, a command's pipes, an input."""

_RESERVED = 32
"""Open files of the process besides: streams, the interpreter's own, the journal, a scan."""

_THREADS = 1024
"""Joins side by side at most: what a pod may have of threads is often not much more."""

_lock = threading.Lock()
_found = resource.getrlimit(resource.RLIMIT_NOFILE)


def raise_open_files() -> None:
    """Raise the soft limit as far as the hard one allows: the usual 1,024 are for users of select()."""
    _set(_found[1])


def joins(wanted: int) -> int:
    """How many joins may run side by side: as many as wanted, as far as open files and threads allow."""
    return max(1, min(wanted, _THREADS, _for_joins() // _FILES_A_JOIN))


def sources_ahead(joins: int) -> int:
    """How many inputs each of so many joins may have open ahead of their turn."""
    # Those looked at after they were read, and those fetched ahead, are open too.
    return max(1, min(_AHEAD, (_for_joins() // joins - _FILES_A_JOIN) // 3))


def _for_joins() -> int:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (sys.maxsize if soft == resource.RLIM_INFINITY else soft) - _RESERVED


@contextmanager
def as_found() -> Iterator[None]:
    """The soft limit as this process found it, for a program that is started in the block.

    It holds for the whole process for that millisecond, because a limit set in the child, between fork and
    exec, would take Python code there. What is open stays open, whatever its number.
    """
    with _lock:
        _set(_found[0])
        try:
            yield
        finally:
            _set(_found[1])


def _set(soft: int) -> None:
    if _found[0] != _found[1]:
        with suppress(OSError, ValueError):  # a sandbox may forbid it: then the limit stays as it was
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, _found[1]))
