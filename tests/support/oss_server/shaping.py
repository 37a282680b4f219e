"""Bandwidth: one budget of bytes a second that all connections share."""

import threading
import time

from oss_server.body import PIECE
from oss_server.settings import Settings

_SMOOTHNESS = 0.01  # seconds of budget that one step may take: finer costs CPU, coarser makes bursts


class Shaper:
    """Spreads object bytes over time by `Settings.bandwidth`, and waits out `Settings.latency`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._closing = threading.Event()

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

    def wait(self, seconds: float) -> None:
        """Wait; at once after `close()`."""
        if seconds > 0:
            self._closing.wait(seconds)

    def close(self) -> None:
        """End all waiting, now and later."""
        self._closing.set()
