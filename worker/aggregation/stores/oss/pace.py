"""How fast this process sends: as one, however many threads ask.

OSS refuses what is beyond the requests a second that an account or a bucket may send (some 2,000 for names
that follow one another, 10,000 otherwise). Each refusal makes all threads slower, by a factor; each second
without one makes them faster, by a step: so processes that do not know of each other share what there is.
"""

import threading
import time
from collections.abc import Callable

_SLOWER = 0.85
"""Of the rate that was refused, what is tried next."""

_FASTER_FIRST, _FASTER_LEAST = 1.0, 0.02
"""Of the rate after a refusal, what is added in a second: after the first one, which may have been a moment's
trouble; half of that after each that follows; and once there is clearly a limit."""

_LEAST = 0.5
"""Requests a second that are sent in any case."""

_UNKNOWN = 50.0
"""Requests a second that are taken for sent where too few have been sent to say."""

_TELLING = 25
"""Requests from which on their count says a rate."""

_BURST_SECONDS = 0.1
"""What was not sent in this time may be sent at once: timers are not finer than a few milliseconds."""

_MEASURED_SECONDS = 0.5
"""Over which what is sent is counted, at least."""

_FREE = 4.0
"""At so many times the rate after a refusal nothing holds back any more."""


class Pace:
    """The turns of requests. Safe to use from several threads at once.

    `most` is how many may leave in a second; None: as many as there are, until the service refuses some.
    """

    def __init__(self, most: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._most = most or float("inf")
        self._rate = self._most
        self._lowered = 0.0
        """The rate after the last refusal; 0 where nothing holds back but `most`."""
        self._changed = 0.0
        """When that was; what was sent before says nothing of it."""
        self._faster = _FASTER_FIRST
        self._lock = threading.Lock()
        self._next = 0.0
        """When the next request may leave."""
        self._counted_since = self._clock()
        self._counted = 0

    def turn(self) -> float:
        """Take a turn. Returns in how many seconds the request may leave."""
        with self._lock:
            now = self._clock()
            self._count(now)
            if self._lowered:
                self._speed_up(now)
            leaves = max(self._next, now - _BURST_SECONDS)
            if self._rate != float("inf"):
                self._next = leaves + 1 / self._rate
            return max(0.0, leaves - now)

    def refused(self, sent: float, seconds: float) -> None:
        """Note that a request, sent at that time of the monotonic clock, was refused.

        `seconds` is how long the service asks to wait; 0 where it does not say.
        """
        with self._lock:
            now = self._clock()
            self._next = max(self._next, now + seconds)
            if sent < self._changed:  # it left before the others of its time were refused
                return
            measured = self._counted / max(_MEASURED_SECONDS, now - self._counted_since)
            if self._counted < _TELLING:
                measured = max(measured, _UNKNOWN)
            self._faster = max(_FASTER_LEAST, self._faster / 2) if self._lowered else _FASTER_FIRST
            self._rate = self._lowered = max(_LEAST, _SLOWER * min(self._rate, measured))
            self._changed = now

    def _count(self, now: float) -> None:
        if now - self._counted_since > 2 * _MEASURED_SECONDS:
            self._counted_since, self._counted = now - _MEASURED_SECONDS, self._counted // 2
        self._counted += 1

    def _speed_up(self, now: float) -> None:
        self._rate = self._lowered * (1 + self._faster * (now - self._changed))
        if self._rate >= min(self._most, _FREE * self._lowered):
            self._rate, self._lowered = self._most, 0.0
