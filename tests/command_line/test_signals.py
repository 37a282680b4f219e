"""A signal that comes at a bad moment: the run ends all the same, in time, by its own exit code."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scripts import WORKER, environment

PROGRAM = """\
import sys
import threading
from queue import LifoQueue

import click

sys.path.insert(0, {worker!r})
from aggregation.command_line.entry import main

lock = threading.Lock()
idle = LifoQueue()  # as urllib3's of its connections


@click.command()
def work():
    try:
        print("at work", flush=True)
        {work}
    finally:
        {clean_up}


main(work)
"""
USES_CONNECTIONS = """while True:
            idle.put("connection")
            idle.get()
            [str(number) for number in range(9)]"""
WAITS = "threading.Event().wait()"


Start = Callable[[str, str], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a program of the worker's entry, given its work and its clean-up; returns once it is at work."""
    with ExitStack() as ended:

        def starting(work: str, clean_up: str) -> "subprocess.Popen[str]":
            path = tmp_path / "work.py"
            path.write_text(PROGRAM.format(worker=str(WORKER), work=work, clean_up=clean_up))
            process = subprocess.Popen(
                [sys.executable, path],
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            ended.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "at work\n"
            return process

        yield starting


def test_a_signal_leaves_no_lock_locked(start: Start) -> None:
    """Python raises at the end of any call: within acquire() of a queue too, which the clean-up needs then.

    Where that is possible, a tenth of these kills or more ends in a clean-up that waits for ever.
    """
    for turn in range(30):
        process = start(USES_CONNECTIONS, 'idle.put("connection")')
        time.sleep(turn % 10 / 1000)
        process.terminate()
        _, complaint = process.communicate(timeout=30)
        assert (process.returncode, complaint) == (
            143,
            "work.py: error: SIGTERM: stopped; temporaries are removed, the target is whole: old or new\n",
        )


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_interrupts_a_wait(start: Start, signum: signal.Signals) -> None:
    """A main thread that waits for another one is interrupted there."""
    process = start(WAITS, "pass")
    process.send_signal(signum)
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == (130 if signum == signal.SIGINT else 143)
    assert "temporaries are removed" in complaint


@pytest.mark.parametrize(
    ("clean_up", "said"),
    [
        (
            "raise OSError(9, 'Bad file descriptor')",
            "temporaries are removed, the target is whole: old or new",
        ),
        ("lock.acquire(), lock.acquire()", "the target is whole: old or new; not removed in time: "),
    ],
    ids=["fails", "does not end"],
)
def test_the_clean_up(start: Start, clean_up: str, said: str) -> None:
    """The signal is what ended the run, whatever becomes of the clean-up; docker stop waits ten seconds."""
    process = start(WAITS, clean_up)
    process.terminate()
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == 143
    assert f"SIGTERM: stopped; {said}" in complaint


def test_nobody_reads_the_last_line(start: Start) -> None:
    """A clean-up that waits for a full pipe: there is nobody to tell, and the exit code says it."""
    process = start(WAITS, "print('x' * 1_000_000, file=sys.stderr)")
    process.terminate()
    assert process.wait(timeout=30) == 143
    process.communicate()
