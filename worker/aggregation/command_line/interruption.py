"""How a signal ends the run: at once, but not where a lock would stay locked, and in any case in time."""

import _thread
import os
import signal
import time
from types import FrameType

from aggregation import stopping
from aggregation.errors import Interrupted

from .console import console

_FRAGILE = (
    "_frozen_importlib",
    "asyncio",
    "concurrent",
    "contextlib",
    "importlib",
    "logging",
    "queue",
    "shutil",
    "subprocess",
    "threading",
    "weakref",
)
"""Modules of Python in which nothing is raised. What a signal's handler raises comes up at the end of any
call. Between a lock's acquire() and the `try` that releases it, it leaves the lock locked, and the clean-up
may wait for it for ever: urllib3's connections are in a queue with such a lock. In rmtree it may come between
a close() and the note that it is done: then the same number is closed again."""

_LOOK_SECONDS = 0.002
_LOOKS_AT_REST = 5
"""In so many looks one after the other the main thread stands at one instruction: it waits there."""

_PATIENCE_SECONDS = 2.0
"""How long the main thread may be found on its way through `_FRAGILE`, before it is interrupted there."""


class Interrupter:
    """Raises Interrupted in the main thread at the first signal, not at later ones and not after the work.

    A process that still runs `stopping.LAST_SECONDS` after the signal says so and is ended, whatever it waits
    for; only what waits in the kernel for a mount ends no sooner than the kernel lets it.
    """

    def __init__(self) -> None:
        self.raised: int | None = None
        """The signal that Interrupted was raised for; the exception itself would keep its frames alive."""
        self._settled = False
        self._first: float | None = None
        self._place = (0, 0)
        self._looks = 0
        self._signals = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup says that the run shall go on
            self._signals.append(signal.SIGHUP)
        self._watched = self._watch()
        # Python as process 1 of a container gets no default action of a signal, hence a handler for each.
        for number in self._signals:
            signal.signal(number, self._handle)

    def settle(self) -> None:
        """From here on signals are held back. The flag is for one that is on its way already."""
        self._settled = True
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._settled:
            return
        if self._watched and frame is not None and self._is_fragile(frame):
            return  # the watch sends it again
        stopping.begin()
        self.raised = signum
        self.settle()
        raise Interrupted(signum)

    def _is_fragile(self, frame: FrameType) -> bool:
        """Whether the main thread is on its way through such a module; where it waits, it is not."""
        now = time.monotonic()
        self._first = self._first or now
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(_FRAGILE) or now > self._first + _PATIENCE_SECONDS:
            return False
        place = (id(frame), frame.f_lasti)
        self._looks = self._looks + 1 if place == self._place else 1
        self._place = place
        return self._looks < _LOOKS_AT_REST

    def _watch(self) -> bool:
        """Start the thread that sees a signal through; False where a limit of this process allows none."""
        try:
            heard, told = os.pipe()
            os.set_blocking(told, False)
            _thread.start_new_thread(self._attend, (heard, _thread.get_ident()))
        except (OSError, RuntimeError):
            return False
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        return True

    def _attend(self, heard: int, main_thread: int) -> None:
        """Wait for a signal; tell the main thread until it is interrupted; end the process in time."""
        signum = os.read(heard, 1)[0]
        last = time.monotonic() + stopping.LAST_SECONDS
        while not self._settled and time.monotonic() < last:
            signal.pthread_kill(main_thread, signum)
            time.sleep(_LOOK_SECONDS)
        if self._settled and self.raised is None:  # the work was done by then
            return
        time.sleep(max(0.0, last - time.monotonic()))
        import select  # noqa: PLC0415 - half a millisecond of each start

        stopping.leave("what was being written (it did not stop)")
        writable = select.poll()
        writable.register(2, select.POLLOUT)
        if writable.poll(0):  # else who reads it has stopped reading, which may be what is waited for
            complain(signum)
        os._exit(Interrupted(signum).exit_code)


def complain(signum: int) -> None:
    """Say what ended the run, and what is left of it."""
    left = stopping.left()
    remains = "temporaries are removed, the target is whole: old or new"
    if left:
        remains = f"the target is whole: old or new; not removed in time: {', '.join(left)}"
    console.complain(f"{signal.Signals(signum).name}: stopped; {remains}", Interrupted(signum).exit_code)
