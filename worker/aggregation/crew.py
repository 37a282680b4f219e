"""The threads that do a run's steps side by side, and stop together."""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from itertools import islice
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from . import stopping

_POLL_SECONDS = 0.1
"""How often the watcher hears of progress."""

_NOTES_SECONDS = 1.0
"""How often what was made is noted within a level, at most: a kill costs what came after the last note."""

_NOTES_SHARE = 0.05
"""Of the time, at most, that noting takes within a level."""

_HANDED_OUT = 16
"""Steps for each thread that `each` hands out at a time: memory stays small, and few wait for the last."""

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")


class Crew:
    """Does steps side by side. At the first failure, or a signal, no step begins and those at work stop.

    A context manager: at its end no step is at work any more, unless a signal leaves no time to wait.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="merge")
        self._stop = False
        self._steps = 0  # at work
        self._idle = threading.Condition()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._give_up()
        # After a signal those at work have been waited for, and for no longer than a signal allows.
        self._pool.shutdown(wait=stopping.seconds_left() is None, cancel_futures=True)

    def submit(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a step done, as soon as a thread is free."""
        return self._pool.submit(lambda: self._work(step, *args, **kwargs))

    def each(self, step: Callable[[Item], object], items: Iterable[Item]) -> None:
        """Do a step for each item, however many; as `wait`."""
        rest = iter(items)
        while some := list(islice(rest, _HANDED_OUT * self._workers)):
            self.wait([self.submit(step, item) for item in some], lambda _: None)

    def look(self) -> None:
        """Called by a step now and then: raises what stops it, once the crew has stopped."""
        if self._stop:
            raise _StoppedError

    def wait(
        self,
        futures: Iterable[Future[T]],
        watch: Callable[[int], None],
        note: Callable[[], object] | None = None,
    ) -> None:
        """Wait for all; raise the first failure as soon as it is there.

        Calls `watch` with the count of steps that have ended, a few times a second, and `note` seldom enough
        that it takes a small share of the time.
        """
        pending = set(futures)
        ended = 0
        next_note = time.monotonic() + _NOTES_SECONDS
        try:
            while pending:
                finished, pending = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_EXCEPTION)
                for future in finished:
                    future.result()
                ended += len(finished)
                watch(ended)
                now = time.monotonic()
                if note is not None and pending and now >= next_note:
                    note()
                    cost = time.monotonic() - now
                    next_note = now + max(_NOTES_SECONDS, cost / _NOTES_SHARE)
        except BaseException:
            for future in pending:
                future.cancel()
            self._give_up()
            raise

    def _give_up(self) -> None:
        """Let no step begin, and those at work stop at their next bytes and tidy up.

        A signal may come before all steps are handed to the pool, so what counts is who is at work.
        """
        self._stop = True
        seconds = stopping.seconds_left()
        patience = None if seconds is None else max(0.0, seconds - stopping.CLOSING_SECONDS)
        with self._idle:
            if not self._idle.wait_for(lambda: not self._steps, patience):
                stopping.leave(f"what {self._steps} of the steps had begun")

    def _work(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do a step; it counts as at work from before its first file is made to after its last is gone."""
        with self._idle:
            self.look()
            self._steps += 1
        try:
            return step(*args, **kwargs)
        finally:
            with self._idle:
                self._steps -= 1
                self._idle.notify_all()


class _StoppedError(Exception):
    """Another step failed or a signal came; nobody sees this one."""
