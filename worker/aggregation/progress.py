"""How far a merge is: a line in $ARGO_PROGRESS_FILE.

Argo reads the last line of that file, `N/M`, every few seconds and shows it in `argo get` and in the UI. It
has one line only, which is replaced.
"""

import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from .errors import AggregationError

INTERVAL = 1.0
"""Seconds between two lines. Argo patches the workflow about once a minute; more lines would be lost."""


class ArgoProgress:
    """Writes bytes done / bytes to do, from the first second on and at most once a second.

    A merge that takes less than a second costs nothing: not even the sizes of its inputs are asked for.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._total: int | None = None
        self._next = time.monotonic() + INTERVAL

    @classmethod
    def for_this_pod(cls) -> Self | None:
        """The progress file of the pod's executor; None outside Argo."""
        path = os.environ.get("ARGO_PROGRESS_FILE")
        return cls(path) if path else None

    def show(self, done: int, total: int | Callable[[], int]) -> None:
        """Say how many bytes are done, of how many; a total that costs look-ups is asked for once."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + INTERVAL
        if callable(total):
            if self._total is None:
                try:
                    self._total = total()
                except AggregationError:  # a join does not fail because nobody knows how far it is
                    self._next = math.inf
                    return
            total = self._total
        # A mount's sizes may be out of date; Argo refuses a line with N > M or M = 0.
        line = f"{done}/{max(total, done, 1)}\n"
        with suppress(OSError):  # a merge does not fail because nobody can watch it
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                os.write(descriptor, line.encode())  # over the one before, so that nobody reads an empty file
                os.ftruncate(descriptor, len(line))
            finally:
                os.close(descriptor)
