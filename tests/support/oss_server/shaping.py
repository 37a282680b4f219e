"""Bandwidth and requests a second: budgets that all connections share."""

import threading
import time

from oss_server.body import PIECE
from oss_server.settings import Settings

_SMOOTHNESS = 0.01  # seconds of budget that one step may take: finer costs CPU, coarser makes bursts
_CLOSING_SECONDS = 0.05  # in which a wait notices that the server closes
_BURST_SECONDS = 0.25  # of requests that may come at once


class Shaper:
    """Spreads object bytes over time by `Settings.bandwidth`, and waits out `Settings.latency`.

    It refuses what is beyond `Settings.requests_per_second`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._next_request = 0.0
        self._is_closing = False

    def piece(self) -> int:
        """Return how many bytes to move in one step."""
        bandwidth = self._settings.bandwidth
        return PIECE if bandwidth is None else min(PIECE, max(4096, int(bandwidth * _SMOOTHNESS)))

    def take(self, count: int) -> None:
        """Wait until `count` bytes fit into the budget; at once after `close()`."""
        bandwidth = self._settings.bandwidth
        if bandwidth is None:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + count / bandwidth
            wait = self._free_at - now
        self.wait(wait)

    def admits(self) -> bool:
        """Say whether one more request is within the budget, and take it from there."""
        rate = self._settings.requests_per_second
        if rate is None:
            return True
        with self._lock:
            now = time.monotonic()
            due = max(self._next_request, now - _BURST_SECONDS)
            if due > now:
                return False
            self._next_request = due + 1 / rate
            return True

    def wait(self, seconds: float) -> None:
        """Wait; at once after `close()`."""
        until = time.monotonic() + seconds
        # A sleep costs a fifth of the CPU time of Event.wait: a hundred connections wait at once.
        while (left := until - time.monotonic()) > 0 and not self._is_closing:
            time.sleep(min(left, _CLOSING_SECONDS))

    def close(self) -> None:
        """End all waiting, now and later."""
        self._is_closing = True
