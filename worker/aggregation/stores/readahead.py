"""Fetching many pieces at once and handing them on in order, within a bound on memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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
    *,
    pool: ThreadPoolExecutor | None = None,
) -> Generator[Fetched]:
    """What `fetch` gives for each piece, in order, with at most `parallel` pieces fetched or waiting.

    The first failure is raised in its piece's place. Leaving early does not wait for what is under way;
    `discard` gets what was fetched for nothing. The threads are those of `pool`, if there is one.
    """

    def pass_on(late: Future[Fetched]) -> None:
        if not late.cancelled() and late.exception() is None:
            discard(late.result())

    waiting: deque[Future[Fetched]] = deque()
    rest = iter(pieces)
    threads = pool or ThreadPoolExecutor(parallel, thread_name_prefix="read-ahead")
    try:
        waiting.extend(threads.submit(fetch, piece) for piece in islice(rest, parallel))
        while waiting:
            fetched = waiting.popleft().result()
            waiting.extend(threads.submit(fetch, piece) for piece in islice(rest, 1))
            yield fetched
    finally:
        for future in waiting:
            future.cancel()
            future.add_done_callback(pass_on)
        if pool is None:
            threads.shutdown(wait=False)


def blocks(size: int) -> Iterator[tuple[int, int]]:
    """The borders of a file's pieces; one empty piece for an empty file."""
    for start in range(0, max(size, 1), BLOCK):
        yield start, min(start + BLOCK, size)
