"""From a script's call to its exit: the way from an error to an exit code."""

import contextlib
import errno
import os
import sys
from typing import NoReturn

import click

from aggregation.errors import (
    AggregationError,
    Interrupted,
    RefusedError,
    UnavailableError,
    WrongUsageError,
    from_os_error,
)
from aggregation.limits import raise_open_files
from aggregation.masking import masked

from .console import console, open_streams
from .interruption import Interrupter, complain


def main(script: click.Command) -> NoReturn:
    """Run a script's command and exit: the only place where errors become exit codes."""
    open_streams()
    try:
        interrupter = Interrupter()
        raise_open_files()
        exit_code = _run(script, interrupter)
        interrupter.settle()
    except Interrupted as interruption:
        exit_code = interruption.exit_code
        complain(interruption.signum)
    leave(exit_code)


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


def _run(script: click.Command, interrupter: Interrupter) -> int:
    try:
        result = script.main(prog_name=console.program, standalone_mode=False)
    except click.UsageError as error:
        exit_code = WrongUsageError.exit_code
        message = error.format_message()
        if isinstance(error, click.NoSuchOption) and error.option_name[1:].isdigit():
            message = f"{error.option_name} is not a whole number from 0 on."
        console.complain(f"{message} Try '{console.program} --help'.", exit_code)
    except Exception as error:  # a bug has an exit code too, and one line
        if interrupter.raised is not None:  # a clean-up on its way has met an error of its own
            raise Interrupted(interrupter.raised) from error
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
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return from_os_error(error, "working", str(error.filename or "a pipe or a socket"), writing=False)
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        cure = "run again, or raise the limit of processes (ulimit -u, the pod's pids)"
        return UnavailableError("starting a thread", "the limit of processes is reached", cure)
    return None


def _trace() -> None:
    if console.debug:
        import traceback  # noqa: PLC0415 - for debugging only

        print(masked(traceback.format_exc()), file=sys.stderr, end="", flush=True)  # noqa: T201 - as console does
