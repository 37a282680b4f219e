"""Whether a signal has asked this process to end, which every wait asks; and what was not removed in time.

A plain number and a set, since a signal's handler may take no lock.
"""

import time

SECONDS = 8.0
"""From the signal to the end, at most: `docker stop` kills after 10 s, Kubernetes after 30."""

CLOSING_SECONDS = 2.0
"""The last of them, for what removes the rest once nothing else runs."""

LAST_SECONDS = 9.0
"""From the signal to the end of a process that something keeps from ending by itself."""

_since: float | None = None
_left: set[str] = set()


def begin() -> None:
    """Say that the process is to end. Safe in a signal's handler."""
    global _since  # noqa: PLW0603 - one process ends once
    if _since is None:
        _since = time.monotonic()


def seconds_left() -> float | None:
    """How long the process may still take, from 0 on; None while nothing asks for its end."""
    return None if _since is None else max(0.0, _since + SECONDS - time.monotonic())


def leave(what: str) -> None:
    """Note what could not be removed, for the last line."""
    _left.add(what)


def left() -> list[str]:
    """What could not be removed."""
    return sorted(_left)
