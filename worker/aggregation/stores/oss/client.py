"""Sends requests to a bucket, each until it is answered for good.

Nothing below retries, so this is the one layer that does: by the table of `answers`, with exponential backoff
and jitter, for `timeout` seconds. An error names the operation, the object and the request id, and never a
secret. Every request passes `call`.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from aggregation import stopping
from aggregation.errors import ConfigurationError, UnavailableError

from . import answers
from .answers import ServiceError
from .credentials import Configuration
from .listing import Item, Read
from .pace import Pace
from .transport import PATIENCE, TRANSPORT_ERRORS, lasting, reason
from .tries import Tries
from .wire import Wire

_LOOK_SECONDS = 0.1
"""How often a wait looks whether the process is to end."""

_WORK_SECONDS = 0.0003
"""Of this process for a small request: signing, sending, reading. Threads that do it wait for each other."""

Answer = TypeVar("Answer")

logging.getLogger("oss2").addHandler(logging.NullHandler())
"""An error is one line, ours; without a handler Python writes a library's lines to stderr too."""


class OssClient:
    """One bucket. Safe to use from several threads at once.

    `requests` counts what was sent, tries included; `wire` is for what is sent within a `call`.
    """

    def __init__(
        self,
        configuration: Configuration,
        bucket: str,
        *,
        connections: int,
        timeout: float,
        parallel: int = 32,
        requests_per_second: float | None = None,
    ) -> None:
        self.bucket_name = bucket
        self.requests = 0
        self._timeout = timeout
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(parallel)
        self._stopped = threading.Event()
        self._pace = Pace(requests_per_second)
        self._gate = threading.Lock()
        self._answered = 0.0
        self._shortest = float("inf")
        self.wire = Wire(configuration, bucket, connections)

    def close(self) -> None:
        """Let go of the connections. Requests that wait for their next try give up."""
        self._stopped.set()
        self.wire.close()

    def url(self, key: str) -> str:
        """A key as a person would write it; for messages."""
        return f"oss://{self.bucket_name}/{key}"

    def now(self) -> float:
        """Seconds since the epoch by the service's clock, as its last answer showed it."""
        return time.time() + self.wire.ahead

    def at_a_time(self, most: int) -> int:
        """How many threads help that ask for little data: as many as wait while one works, up to `most`.

        The shortest answer so far says how long one waits; before any, `most`.
        """
        return max(
            1, most if self._shortest == float("inf") else min(most, 1 + int(self._shortest / _WORK_SECONDS))
        )

    def ask(
        self,
        operation: str,
        about: str,
        key: str,
        root: str,
        params: Mapping[str, str],
        read: Read[Item],
        *,
        cleaning: bool = False,
    ) -> Item:
        """Send a GET until it is answered by a document with that root element that `read` can read."""

        def send() -> Item:
            with self.wire.exchange("GET", key, params=params) as answer:
                return read(answers.document(answer, root))

        return self.call(operation, about, send, cleaning=cleaning)

    def tell(self, operation: str, key: str, params: Mapping[str, str]) -> None:
        """Send a DELETE, whose answer says nothing but that it took place."""

        def send() -> None:
            with self.wire.exchange("DELETE", key, params=params):
                pass

        self.call(operation, key, send, cleaning=True)

    def call(
        self,
        operation: str,
        key: str,
        send: Callable[[], Answer],
        *,
        work: float = 0.0,
        cleaning: bool = False,
    ) -> Answer:
        """Send a request until it is answered for good.

        `work` is how many seconds the service may be busy with it before it answers. What only cleans up is
        tried for less long, and is all that is still sent after a signal.

        Raises:
            AggregationError: the translation of the service's answer; UnavailableError after `timeout`.
            ReplacedError, NoSuchUploadError: what these two answers mean.
        """
        doing = f"{operation} {self.url(key)}"
        tries = Tries(self._timeout, work, cleaning=cleaning)
        while True:
            try:
                # What cleans up after a signal does not wait for requests that nobody needs any more.
                with contextlib.nullcontext() if cleaning else self._slots:
                    self._wait_for_turn(tries, cleaning=cleaning)
                    self._go_on(doing, cleaning=cleaning)
                    with self._lock:
                        self.requests += 1
                    PATIENCE.seconds = tries.patience()
                    sent = time.monotonic()
                    answer = send()
                    self._answered = time.monotonic()
                    self._shortest = min(self._shortest, self._answered - sent)
                    return answer
            except TRANSPORT_ERRORS as error:
                if found := lasting(error):
                    raise ConfigurationError(doing, f"{self.wire.peer}: {found.why}", found.cure) from None
                why = f"{self.wire.peer}: {reason(error)}"
                cause: Exception = error
            except ServiceError as error:
                if not answers.is_retried(error.status, error.code):
                    raise answers.translated(error, doing) from error
                if answers.is_refused_for_now(error):
                    self._pace.refused(sent, error.delay)
                    tries.hurry()
                why, cause = str(error), error
            if not self._wait(tries, cleaning=cleaning):
                raise UnavailableError(
                    doing, f"{why}, for {tries.seconds:g} seconds", "run again, or allow more with --timeout"
                ) from cause

    def _go_on(self, doing: str, *, cleaning: bool) -> None:
        left = stopping.seconds_left()
        if left is not None and not (cleaning and left):
            raise UnavailableError(doing, "the process is to end", "run again")

    def _wait(self, tries: Tries, *, cleaning: bool) -> bool:
        """Wait until the next try; False if there is to be none."""
        until = time.monotonic() + tries.pause()
        while (now := time.monotonic()) < until:
            if self._is_to_end(cleaning=cleaning) or until > tries.deadline():
                return False
            self._stopped.wait(min(_LOOK_SECONDS, until - now))
        return True

    def _wait_for_turn(self, tries: Tries, *, cleaning: bool) -> None:
        """Wait until the pace lets a request go: one thread by the clock, the others behind it.

        Where other requests are answered meanwhile, that is not a time in which the service fails.
        """
        if cleaning and stopping.seconds_left() is not None:
            return
        began = time.monotonic()
        with self._gate:
            until = time.monotonic() + self._pace.turn()
            while (now := time.monotonic()) < until and not self._is_to_end(cleaning=cleaning):
                if now > tries.deadline() and self._answered < began:
                    return
                self._stopped.wait(min(_LOOK_SECONDS, until - now))
        if self._answered >= began:
            tries.excuse(now - began)

    def _is_to_end(self, *, cleaning: bool) -> bool:
        return self._stopped.is_set() or (not cleaning and stopping.seconds_left() is not None)
