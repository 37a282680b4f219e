"""How processes that do not know of each other share a limit of requests a second."""

import heapq
import itertools
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from aggregation.stores.oss.pace import Pace
from oss_server import Fault, Instead, OssServer
from places import oss_place
from scripts import command, environment, finished


class Outcome(NamedTuple):
    """What came of a simulation."""

    used: float
    """Of the limit, what was answered."""
    refused: float
    """Of the requests, those that were refused."""


class Clock:
    """A time that goes on when it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def simulate(processes: int, limit: float, seconds: float, most: float | None, threads: int = 8) -> Outcome:
    """Processes whose threads ask all the time, each answer after 20 ms, of a service with a limit.

    It admits what a budget of a quarter of a second holds. Counted is the second half of the time.
    """
    clock = Clock()
    order = itertools.count()
    paces = [Pace(most, clock) for _ in range(processes)]
    # Each thread takes a turn (None), sends at its time (False), and then has its answer (True: refused).
    events: list[tuple[float, int, int, bool | None, float]] = []

    def at(when: float, process: int, step: bool | None, sent: float = 0.0) -> None:
        heapq.heappush(events, (when, next(order), process, step, sent))

    for process, number in itertools.product(range(processes), range(threads)):
        at(clock.now + process * 0.05 + number * 0.001, process, None)
    began, free, answered, refused = clock.now, 0.0, 0, 0
    while clock.now < began + seconds:
        clock.now, _, process, step, sent = heapq.heappop(events)
        counts = clock.now > began + seconds / 2
        if step is None:
            at(clock.now + paces[process].turn(), process, False)
        elif sent:
            if step:
                paces[process].refused(sent, 0.0)
            at(clock.now + (0.2 if step else 0.0), process, None)
        else:
            due = max(free, clock.now - 0.25)
            admitted = due <= clock.now
            free = due + 1 / limit if admitted else free
            answered += counts and admitted
            refused += counts and not admitted
            at(clock.now + 0.02, process, not admitted, clock.now)
    return Outcome(answered / (limit * seconds / 2), refused / (answered + refused))


@pytest.mark.parametrize(
    ("processes", "limit", "most"), [(64, 2000, 2000 / 64), (64, 2000, None), (16, 500, None), (1, 200, None)]
)
def test_the_limit_is_used_and_hardly_anything_refused(
    processes: int, limit: float, most: float | None
) -> None:
    """Whether each knows its share or not."""
    outcome = simulate(processes, limit, 60, most)
    assert outcome.used >= 0.9
    assert outcome.refused < 0.01


def test_nobody_waits_where_nothing_is_refused() -> None:
    """Without a limit of one's own."""
    pace = Pace(None, Clock())
    assert [pace.turn() for _ in range(1000)] == [0.0] * 1000


def test_one_refusal_is_forgotten_within_seconds() -> None:
    """A moment's trouble of the service makes no slow process for minutes."""
    clock = Clock()
    pace = Pace(None, clock)
    pace.refused(clock.now, 0.0)
    assert sum(pace.turn() for _ in range(10)) > 0
    clock.now += 10
    assert [pace.turn() for _ in range(100)] == [0.0] * 100


def test_what_was_sent_before_the_last_refusal_makes_it_no_slower() -> None:
    """The answers to what was on its way together say one thing, once."""

    def waits(refusals: int) -> float:
        clock = Clock()
        pace = Pace(None, clock)
        sent = clock.now - 0.02
        for _ in range(refusals):
            pace.refused(sent, 0.0)
        return sum(pace.turn() for _ in range(10))

    assert waits(1) == waits(30)


def test_the_time_that_the_service_asks_for_holds_for_all() -> None:
    """No thread sends before it is over."""
    clock = Clock()
    pace = Pace(None, clock)
    pace.refused(clock.now, 7.0)
    assert min(pace.turn() for _ in range(5)) >= 7.0


@pytest.mark.parametrize("header", [{"Retry-After": "1"}, {"x-oss-qos-delay-time": "1000"}])
def test_a_refusal_may_say_how_long_to_wait(tmp_path: Path, header: dict[str, str]) -> None:
    """By either header: the next try comes no earlier."""
    document = b"<Error><Code>TotalQpsLimitExceeded</Code></Error>"
    with oss_place(tmp_path) as (place, server):
        place.put("l1/0.txt", b"a")
        server.faults.add(Fault("HeadObject", Instead(503, document, header), times=1))
        began = time.monotonic()
        assert place.storage.find("l1/0.txt") is not None
        assert time.monotonic() - began >= 1.0
        assert server.counters.total.requests == 2


def _merges(server: OssServer, *options: str) -> list[int]:
    """Exit codes of three merges at once, of 25 objects each."""
    variables = environment(**server.environment())
    running = []
    for number in range(3):
        for file in range(25):
            server.put("demo", f"{number}/l1/{file}.txt", b"a")
        argv = command("merge.py", 25, "--root", f"oss://demo/{number}", *options)
        running.append(subprocess.Popen(argv, env=variables, stdout=subprocess.DEVNULL))
    return [process.wait() for process in running]


@pytest.fixture
def limited() -> Iterator[OssServer]:
    """A server that answers 100 requests a second."""
    with OssServer(["demo"]) as server:
        server.settings.requests_per_second = 100.0
        yield server


def test_processes_that_know_their_share_are_never_refused(limited: OssServer) -> None:
    """By --requests-per-second."""
    assert _merges(limited, "--requests-per-second", "30") == [0, 0, 0]
    assert limited.counters.total.refused == 0


def test_processes_that_do_not_know_it_come_to_their_end(limited: OssServer) -> None:
    """The time in which they hold back is not one in which the service fails."""
    assert _merges(limited, "--timeout", "5") == [0, 0, 0]
    assert limited.counters.total.refused > 0


def test_a_service_that_refuses_all_is_given_up_after_the_timeout(tmp_path: Path) -> None:
    """However long it asks to wait: nobody is answered meanwhile."""
    with oss_place(tmp_path) as (place, server):
        for number in range(40):
            place.put(f"l1/{number}.txt", b"a")
        server.faults.add(Fault("HeadObject", Instead(503, b"", {"Retry-After": "60"})))
        call = command("merge.py", 40, "--root", "oss://demo/a/root", "--timeout", 2)
        outcome = finished(call, env=environment(**server.environment()))
    assert outcome.returncode == 75, outcome.stderr
