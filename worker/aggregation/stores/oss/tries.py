"""When a request is tried again, and how long each try may take."""

import time

from aggregation import stopping
from aggregation.stores.pauses import pauses

READ_SECONDS = 120.0
"""Seconds without a byte of an answer, at most."""

_QUICK_SECONDS = 30.0
"""The same for a first try: a request that stalls is sent again while there is time. Each try gets twice as
long as the one before, since a service may be slow without being stalled."""

_QUICK_LEAST_SECONDS = 2.0

_CLEANING_SECONDS = 10.0
_STOPPING_SECONDS = 2.5
"""For how long a request that only cleans up is tried again, and after a signal. A leftover costs little: the
next run but a day removes it."""

_BACKOFF_SECONDS = 0.2
_BACKOFF_MAX_SECONDS = 10.0
_REFUSED_SECONDS = 1.0


class Tries:
    """The times of one request: when the next try is sent, and how long its answer may take.

    `seconds` is for how long it is tried again; `timeout`, but less for what only cleans up.
    """

    def __init__(self, timeout: float, work: float, *, cleaning: bool) -> None:
        seconds = min(timeout, _CLEANING_SECONDS) if cleaning else timeout
        self.seconds = seconds
        self._cleaning = cleaning
        self._began = time.monotonic()
        self._pauses = pauses(_BACKOFF_SECONDS, _BACKOFF_MAX_SECONDS)
        self._patience = work + min(_QUICK_SECONDS, max(_QUICK_LEAST_SECONDS, seconds / 4))
        self._stopping: float | None = None
        self._refused = False

    def deadline(self) -> float:
        """Until when a try may begin; after a signal, for what cleans up, seconds from the first call on."""
        if self._cleaning and self._stopping is None and stopping.seconds_left() is not None:
            self._stopping = time.monotonic() + _STOPPING_SECONDS
        return min(self._began + self.seconds, self._stopping or float("inf"))

    def excuse(self, seconds: float) -> None:
        """Leave out a time in which nothing was tried."""
        self._began += seconds

    def patience(self) -> float:
        """Seconds without a byte that this try is given."""
        given = min(self._patience, READ_SECONDS)
        self._patience *= 2
        if self._cleaning and stopping.seconds_left() is not None:
            given = min(given, max(0.5, self.deadline() - time.monotonic()))
        return given

    def hurry(self) -> None:
        """Let the next pause be short: the service has refused, and it is the pace that gives it time."""
        self._refused = True

    def pause(self) -> float:
        """Seconds until the next try: exponential, with jitter."""
        pause = next(self._pauses)
        if self._refused:
            self._refused = False
            return min(pause, _REFUSED_SECONDS)
        return pause
