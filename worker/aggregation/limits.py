"""How many files this process may have open at a time."""

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_lock = threading.Lock()
_found = resource.getrlimit(resource.RLIMIT_NOFILE)


def raise_open_files() -> None:
    """Raise the soft limit as far as the hard one allows: the usual 1,024 are for users of select()."""
    _set(_found[1])


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
