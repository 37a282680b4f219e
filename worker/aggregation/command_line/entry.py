"""From a script's call to its exit: signals, and the way from an error to an exit code."""

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from aggregation import stopping
from aggregation.errors import AggregationError, Interrupted, RefusedError, UnavailableError, WrongUsageError
from aggregation.limits import raise_open_files
from aggregation.masking import masked

from .console import console, open_streams


class _Interrupter:
    """Raises Interrupted at the first signal; a second one, or one after the work, disturbs nothing."""

    def __init__(self) -> None:
        self._settled = False
        self._signals = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup says that the run shall go on
            self._signals.append(signal.SIGHUP)
        # Python as process 1 of a container gets no default action of a signal, hence a handler for each.
        for number in self._signals:
            signal.signal(number, self._handle)

    def settle(self) -> None:
        """From here on signals are held back. The flag is for one that is on its way already."""
        self._settled = True
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)

    def _handle(self, signum: int, _: FrameType | None) -> None:
        if not self._settled:
            self.settle()
            stopping.begin()
            raise Interrupted(signum)


def main(script: click.Command) -> NoReturn:
    """Run a script's command and exit: the only place where errors become exit codes."""
    open_streams()
    try:
        interrupter = _Interrupter()
        raise_open_files()
        exit_code = _run(script)
        interrupter.settle()
    except Interrupted as interruption:
        exit_code = interruption.exit_code
        name = signal.Signals(interruption.signum).name
        console.complain(f"{name}: stopped; {_remains()}", exit_code)
    leave(exit_code)


def _remains() -> str:
    left = stopping.left()
    if not left:
        return "temporaries are removed, the target is whole: old or new"
    return f"the target is whole: old or new; not removed in time: {', '.join(left)}"


def leave(exit_code: int) -> NoReturn:
    """End without taking the interpreter apart.

    Threads may still wait for answers to requests that nobody needs any more: a normal exit would join them,
    past the grace period that Kubernetes leaves. Nor does anything wait for what else such an exit does, a
    fifth of a short run.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # full: said already
            stream.flush()
    os._exit(exit_code)


def _run(script: click.Command) -> int:
    try:
        result = script.main(prog_name=console.program, standalone_mode=False)
    except click.UsageError as error:
        exit_code = WrongUsageError.exit_code
        message = error.format_message()
        if isinstance(error, click.NoSuchOption) and error.option_name[1:].isdigit():
            message = f"{error.option_name} is not a whole number from 0 on."
        console.complain(f"{message} Try '{console.program} --help'.", exit_code)
    except Exception as error:  # noqa: BLE001 - a bug has an exit code too, and one line
        known = error if isinstance(error, AggregationError) else _shortage(error)
        exit_code = (known or AggregationError).exit_code
        hint = "" if console.debug else "; run it again with --debug and report the traceback"
        console.complain(
            str(known) if known else f"this is a bug: {type(error).__name__}: {error}{hint}", exit_code
        )
        _trace()
    else:
        exit_code = result if isinstance(result, int) else 0
    return exit_code


def _shortage(error: Exception) -> AggregationError | None:
    """What this machine lacks, where Python says it by an error of its own."""
    if isinstance(error, MemoryError):
        return RefusedError("working", "memory ran out", "raise the pod's memory limit")
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        cure = "run again, or raise the limit of processes (ulimit -u, the pod's pids)"
        return UnavailableError("starting a thread", "the limit of processes is reached", cure)
    return None


def _trace() -> None:
    if console.debug:
        import traceback  # noqa: PLC0415 - for debugging only

        print(masked(traceback.format_exc()), file=sys.stderr, end="", flush=True)  # noqa: T201 - as console does
