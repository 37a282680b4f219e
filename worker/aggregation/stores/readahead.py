"""Fetching many pieces at once and handing them on in order, within a bound on memory."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

BLOCK = 1024 * 1024
"""Bytes of a piece at most: with 32 of them under way a slow link stays busy, in 32 MiB of memory."""

Piece = TypeVar("Piece")
Fetched = TypeVar("Fetched")


def read_ahead(
    fetch: Callable[[Piece], Fetched],
    pieces: Iterable[Piece],
    parallel: int,
    discard: Callable[[Fetched], None] = lambda _: None,
) -> Generator[Fetched]:
    """What `fetch` gives for each piece, in order, with at most `parallel` pieces fetched or waiting.

    The first failure is raised in its piece's place. Leaving early does not wait for what is under way;
    `discard` gets what was fetched for nothing.
    """

    def pass_on(late: Future[Fetched]) -> None:
        if not late.cancelled() and late.exception() is None:
            discard(late.result())

    waiting: deque[Future[Fetched]] = deque()
    rest = iter(pieces)
    pool = ThreadPoolExecutor(parallel, thread_name_prefix="read-ahead")
    try:
        waiting.extend(pool.submit(fetch, piece) for piece in islice(rest, parallel))
        while waiting:
            fetched = waiting.popleft().result()
            waiting.extend(pool.submit(fetch, piece) for piece in islice(rest, 1))
            yield fetched
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for future in waiting:
            future.add_done_callback(pass_on)


def side_by_side(
    work: Callable[[Piece], object], pieces: Iterable[Piece], parallel: int, pool: ThreadPoolExecutor
) -> None:
    """Do the work for each piece, in no order, by `parallel` threads of `pool`.

    Each takes the next piece by itself: a future for each costs more than to send a small request. The first
    failure is raised as soon as it is there, and no piece is begun then.
    """
    rest = iter(pieces)
    lock = threading.Lock()
    is_over = False

    def run() -> None:
        while True:
            with lock:
                piece = None if is_over else next(((each,) for each in rest), None)
            if piece is None:
                return
            work(*piece)

    running: list[Future[None]] = []
    try:
        running.extend(pool.submit(run) for _ in range(parallel))
        for future in wait(running, return_when=FIRST_EXCEPTION).done:
            future.result()
    finally:
        is_over = True


def blocks(size: int) -> Iterator[tuple[int, int]]:
    """The borders of a file's pieces; one empty piece for an empty file."""
    for start in range(0, max(size, 1), BLOCK):
        yield start, min(start + BLOCK, size)
