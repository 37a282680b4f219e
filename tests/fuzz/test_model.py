"""A model of the whole: runs, pods, kills, late pods, changed inputs in any order, on three kinds of store.

Whatever the order, a result with exit code 0 holds each input once, in order, as it was at some time since
its run began; and a target is whole, old or new, whatever was killed.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyFailure
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from aggregation import tree
from aggregation.shape import Shape
from hostile import FACTOR
from oss_server import OssServer
from s3_server import S3Server
from scripts import environment
from warm import Ended, Warm

MAY_PASS = {0, 2, 3, 4, 75}
"""How a step may end that something was in the way of; 2 where other runs than the one to resume are left."""
RESULT = "result.txt"
ENDS = st.sampled_from(["whole", "whole", "whole", "changed", signal.SIGKILL, signal.SIGTERM])
"""What happens while a script is at work: nothing, an input changes, or it is killed."""

PICK = st.integers(0, 999)
"""What is chosen of so many as there are: what is drawn depends on nothing that was done."""
Chance = tuple[int, int, int]
CHANCE = st.tuples(st.integers(0, 6), st.integers(0, 5), st.integers(0, 30))
"""Which input changes meanwhile, how large it is then, and after how many milliseconds the kill comes."""
WORK = (
    *("begin", "pod", "pod", "level", "level", "level", "late", "together", "merge", "merge"),
    *("inputs", "inputs", "pipeline"),
)
SHAPE = st.tuples(st.integers(2, 4), st.integers(0, 2))
"""Fan-in and levels."""
Item = TypeVar("Item")


def chosen(items: Sequence[Item], pick: int) -> Item:
    """One of them."""
    return items[pick % len(items)]


class WrongResultError(AssertionError):
    """A result is not made of the inputs as they were."""


class Place(NamedTuple):
    """A root, and a way past the worker."""

    root: str
    env: dict[str, str]
    put: Callable[[str, bytes], object]
    get: Callable[[str], bytes | None]
    remove: Callable[[str], None]


class Job:
    """A workflow: its shape, when it began, and which of its steps are done."""

    def __init__(self, name: str, shape: Shape, began: int) -> None:
        self.name = name
        self.shape = shape
        self.began = began
        self.done: set[tuple[int, int]] = set()
        self.cleaned = False

    def steps(self) -> list[tuple[int, int]]:
        """Level and number of each step, level by level."""
        widths = self.shape.widths()
        return [
            (level, number)
            for level, width in enumerate(widths[:-1], start=1)
            for number in range(tree.group_count(width, self.shape.fan_in))
        ]

    def pending(self) -> list[tuple[int, int]]:
        """The steps of its present level that are not done."""
        left = [step for step in self.steps() if step not in self.done]
        return [step for step in left if step[0] == left[0][0]]


class Whole(RuleBasedStateMachine):
    """What is done, and what must come of it. Without `named` no step has a --run."""

    def __init__(self, place: Place, folder: Path, *, named: bool = True) -> None:
        super().__init__()
        self._place = place
        self._folder = folder
        self._named = named
        self._now = 0
        self._history: list[list[tuple[int, bytes]]] = []  # of each input: since when it is what
        self._count = 0  # inputs that are there
        self._jobs: list[Job] = []
        self._killed: list[tuple[str, ...]] = []  # pipelines
        self._result: bytes | None = None

    @rule(what=st.sampled_from(WORK), pick=PICK, shape=SHAPE, end=ENDS, chance=CHANCE)
    def act(self, what: str, pick: int, shape: tuple[int, int], end: Any, chance: Chance) -> None:
        """Level 1 changes, a workflow is submitted or goes on, or a pipeline runs.

        One rule for all: of several Hypothesis leaves some out of an example, and all depend on each other.
        """
        if what in ("pod", "level") and not any(job.pending() for job in self._jobs):
            self._begin(*shape)
        if what == "begin":
            self._begin(*shape)
        elif what == "pod":
            self._pod(pick, end, chance)
        elif what == "level":
            self._level(pick, chance)
        elif what == "late":
            self._late(pick, end, chance)
        elif what == "together":
            self._together(pick, pick // 3)
        elif what == "merge":
            self._merge(pick, end, chance)
        elif what == "inputs":
            self._inputs(pick % 8, chance)
        elif self._named and (pick % 2 or not self._killed):
            self._pipeline(*shape, keep=pick % 3 == 0, end=end, chance=chance)
        elif self._named:
            self._resume(pick, end, chance)

    # What is there.

    @initialize(count=st.integers(1, 7))
    def prepare(self, count: int) -> None:
        """Level 1, as the tutorial has it."""
        assert self._ended(self._start("prepare.py", str(count))).code == 0
        for number in range(count):
            self._note(number, self._place.get(f"l1/{number}.txt") or b"")
        self._count = count

    def _inputs(self, what: int, chance: Chance) -> None:
        if what == 0:
            self._prepare_again(chance[0] + 1)
        elif what == 1:
            self._add()
        elif what == 2 and self._count > 1:
            self._remove()
        elif what == 3:
            self._plan(2 + chance[0] % 3)
        else:
            self._change(*chance[:2])

    def _prepare_again(self, count: int) -> None:
        """Letters are kept, and anything else is never replaced."""
        before = [self._place.get(f"l1/{number}.txt") for number in range(self._count)]
        ended = self._ended(self._start("prepare.py", str(count)))
        assert ended.code == (5 if any(len(data or b"") != 1 for data in before) else 0), ended
        assert [self._place.get(f"l1/{number}.txt") for number in range(self._count)] == before
        while ended.code == 0 and self._count < count:
            self._note(self._count, self._place.get(f"l1/{self._count}.txt") or b"")
            self._count += 1

    def _change(self, pick: int, large: int) -> None:
        """Another file takes an input's place."""
        number = pick % self._count
        data = f"<{number}:{self._now + 1}>".encode()
        data += os.urandom(1) * 150_000 if not large else b""
        self._note(number, data)
        self._place.put(f"l1/{number}.txt", data)

    def _add(self) -> None:
        """One input more."""
        self._count += 1
        self._change(self._count - 1, 1)

    def _remove(self) -> None:
        """One input less: the last one."""
        self._count -= 1
        self._place.remove(f"l1/{self._count}.txt")

    # What workflows do.

    def _begin(self, fan_in: int, levels: int) -> None:
        """A workflow is submitted."""
        shape = Shape(self._count, fan_in, levels)
        self._jobs.append(Job(f"job-{len(self._jobs)}", shape, self._now))

    def _pod(self, pick: int, end: Any, chance: Chance) -> None:
        """A pod of the next steps."""
        if job := self._one(pick, lambda job: bool(job.pending())):
            self._step(job, chosen(job.pending(), pick), end, chance)

    def _level(self, pick: int, chance: Chance) -> None:
        """All pods of a level that are left, the first ones last or last ones first."""
        if job := self._one(pick, lambda job: bool(job.pending())):
            for step in sorted(job.pending(), reverse=pick % 2 == 0):
                self._step(job, step, "whole", chance)

    def _late(self, pick: int, end: Any, chance: Chance) -> None:
        """A pod that everybody took for dead does its step again."""
        if job := self._one(pick, lambda job: bool(job.done)):
            self._work(self._process(job, *chosen(sorted(job.done), pick)), end, chance)

    def _together(self, first: int, second: int) -> None:
        """Two pods at once, of one workflow or two."""
        jobs = [self._one(pick, lambda job: bool(job.pending() or job.done)) for pick in (first, second)]
        pods = [
            (job, chosen([*job.pending(), *sorted(job.done)], pick))
            for job, pick in zip(jobs, (first, second), strict=True)
            if job
        ]
        for (job, step), pid in [(pod, self._process(pod[0], *pod[1])) for pod in pods]:
            ended = self._ended(pid)
            assert ended.code in MAY_PASS, ended
            if ended.code == 0:
                job.done.add(step)

    def _merge(self, pick: int, end: Any, chance: Chance) -> None:
        """The last step of a workflow whose others are done."""
        job = self._one(pick, lambda job: not job.pending())
        if job is None:
            return
        # Of a run that was cleaned late pods may have made a level anew that holds less: its level is named.
        shape, named, clean = job.shape, pick % 2 == 0 or job.cleaned, pick % 3 == 0
        arguments = ["merge.py", str(shape.widths()[-1])]
        arguments += [f"--level={shape.levels + 1}"] if named or not self._named else []
        arguments += ["--clean"] if clean and self._named else []
        ended = self._work(self._start(*arguments, *self._of(job)), end, chance)
        self._look(ended, job.began, shape.files)
        is_sure = named and not job.cleaned and (shape.levels or self._count == shape.files)
        assert ended.code == 0 or not (is_sure and end == "whole" and self._named), ended
        job.cleaned |= clean

    def _pipeline(self, fan_in: int, levels: int, keep: bool, end: Any, chance: Chance) -> None:
        """All of it in one process."""
        shape = (f"--fan-in={fan_in}", f"--levels={levels}")
        began = self._now
        options = ("--workers=2", *(["--keep"] if keep else []))
        ended = self._work(self._start("pipeline.py", *shape, *options), end, chance)
        self._look(ended, began, self._count)
        assert ended.code == 0 or end != "whole", ended
        if ended.code not in MAY_PASS:
            self._killed.append((*shape, f"--files={self._count}"))

    def _resume(self, pick: int, end: Any, chance: Chance) -> None:
        """One that was killed is taken up again, or begun anew."""
        shape = chosen(self._killed, pick)
        files = int(shape[-1].partition("=")[2])
        began = self._now
        ended = self._work(self._start("pipeline.py", *shape, "--resume", "--partial"), end, chance)
        self._look(ended, began, files)
        assert ended.code in (0, 2) or files > self._count or end != "whole", ended

    def _plan(self, fan_in: int) -> None:
        """The groups of level 1."""
        ended = self._ended(self._start("plan.py", "1", f"--fan-in={fan_in}"))
        groups = ",".join(map(str, range(tree.group_count(self._count, fan_in))))
        assert ended[:2] == (0, f"[{groups}]\n"), ended

    # How it is done.

    def _one(self, pick: int, fits: Callable[[Job], bool]) -> Job | None:
        fitting = [job for job in self._jobs if fits(job)]
        return chosen(fitting, pick // 8) if fitting else None

    def _note(self, number: int, data: bytes) -> None:
        self._now += 1
        if number == len(self._history):
            self._history.append([])
        self._history[number].append((self._now, data))

    def _since(self, began: int, number: int) -> set[bytes]:
        """What an input was at that time and later."""
        states = self._history[number]
        first = max((index for index, (since, _) in enumerate(states) if since <= began), default=0)
        return {data for _, data in states[first:]}

    def _of(self, job: Job) -> list[str]:
        return [f"--run={job.name}"] if self._named else []

    def _start(self, script: str, *arguments: str) -> int:
        call = [*arguments, f"--root={self._place.root}", "--timeout=30"]
        return Warm.shared().start(script, call, environment(**self._place.env), self._folder)

    def _ended(self, pid: int) -> Ended:
        ended = Warm.shared().wait(pid)
        assert ended.code != 1, ended
        return ended

    def _process(self, job: Job, level: int, number: int) -> int:
        shape = job.shape
        width = shape.widths()[level - 1]
        options = [f"--fan-in={shape.fan_in}", f"--files={width}", *self._of(job)]
        return self._start("process.py", str(number), str(level), *options)

    def _step(self, job: Job, step: tuple[int, int], end: Any, chance: Chance) -> None:
        ended = self._work(self._process(job, *step), end, chance)
        if ended.code == 0:
            job.done.add(step)
        level_1_is_as_it_was = self._count == job.shape.files or step[0] > 1
        if end == "whole" and self._named and not job.cleaned and level_1_is_as_it_was:
            assert ended.code == 0, ended

    def _work(self, pid: int, end: Any, chance: Chance) -> Ended:
        """Wait for a script, and do meanwhile what is to be done."""
        if end == "changed":
            self._change(*chance[:2])
        elif end != "whole":
            time.sleep(chance[2] / 1000)
            os.kill(pid, end)  # which is not reaped before it is waited for
        ended = self._ended(pid)
        assert ended.code in MAY_PASS or -ended.code == end or ended.code == 143, ended
        return ended

    def _look(self, ended: Ended, began: int, files: int) -> None:
        """See what the result is: after exit code 0 a new one, else a new one or the one before."""
        found = self._place.get(RESULT)
        if found == self._result and (ended.code != 0 or "merged before" in ended.stdout):
            return
        assert found is not None, ended
        reached = {0}
        for number in range(files):
            states = self._since(began, number)
            reached = {at + len(s) for at in reached for s in states if found.startswith(s, at)}
        if len(found) not in reached:
            inputs = [sorted(data[:20] for data in self._since(began, n)) for n in range(files)]
            raise WrongResultError(ended, found[:200], inputs)
        self._result = found


@contextmanager
def directory(folder: Path) -> Iterator[Callable[[], Place]]:
    """A directory of this machine for each example."""
    serial = iter(range(10**9))

    def make() -> Place:
        root = folder / f"root-{next(serial)}"
        (root / "l1").mkdir(parents=True)

        def put(name: str, data: bytes) -> None:
            (root / "new").write_bytes(data)
            (root / "new").rename(root / name)

        def get(name: str) -> bytes | None:
            return (root / name).read_bytes() if (root / name).exists() else None

        return Place(str(root), {}, put, get, lambda name: (root / name).unlink())

    yield make


@contextmanager
def oss(_: Path) -> Iterator[Callable[[], Place]]:
    """A prefix of a bucket on our own server for each example."""
    serial = iter(range(10**9))
    with OssServer(["demo"], access_key_id="id", access_key_secret="secret") as server:

        def make() -> Place:
            prefix = f"root-{next(serial)}"

            def get(name: str) -> bytes | None:
                key = f"{prefix}/{name}"
                return server.get("demo", key) if key in server.keys("demo", f"{prefix}/") else None

            return Place(
                f"oss://demo/{prefix}",
                server.environment(),
                lambda name, data: server.put("demo", f"{prefix}/{name}", data),
                get,
                lambda name: server.delete("demo", f"{prefix}/{name}"),
            )

        yield make


@contextmanager
def s3(_: Path) -> Iterator[Callable[[], Place]]:
    """A prefix of a bucket on moto's server for each example."""
    serial = iter(range(10**9))
    server = S3Server.shared()
    server.faults()
    bucket = server.bucket()

    def make() -> Place:
        prefix = f"root-{next(serial)}"
        return Place(
            f"s3://{bucket}/{prefix}",
            server.environment(),
            lambda name, data: server.put(bucket, f"{prefix}/{name}", data),
            lambda name: server.get(bucket, f"{prefix}/{name}"),
            lambda name: server.client.delete_object(Bucket=bucket, Key=f"{prefix}/{name}"),
        )

    yield make


PLACES = {"directory": directory, "oss": oss, "s3": s3}


def machine(make: Callable[[], Place], folder: Path, *, named: bool = True) -> Any:
    """What makes a model for each example, as Hypothesis takes it."""
    return lambda: Whole(make(), folder, named=named)


def steps(examples: int, count: int, **more: Any) -> settings:
    """So many examples of so many steps; by hand more, and others each time."""
    return settings(
        max_examples=examples * max(FACTOR, 1),
        stateful_step_count=count,
        derandomize=not FACTOR,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )


@pytest.mark.parametrize(("kind", "examples", "count"), [("directory", 7, 25), ("oss", 3, 25), ("s3", 1, 15)])
def test_any_order(kind: str, examples: int, count: int, tmp_path: Path) -> None:
    """A result is made of the inputs as they were, whole and in order."""
    with PLACES[kind](tmp_path) as make:
        run_state_machine_as_test(machine(make, tmp_path), settings=steps(examples, count))


def test_without_a_run_of_its_own(tmp_path: Path) -> None:
    """The same without --run has an order that ends in a wrong result: the model would notice."""
    # Kills and pods side by side do not come out alike twice, which Hypothesis says in an error of its own.
    with directory(tmp_path) as make, pytest.raises((WrongResultError, FlakyFailure)) as caught:
        run_state_machine_as_test(
            machine(make, tmp_path, named=False), settings=steps(100, 30, phases=[Phase.generate])
        )
    assert WrongResultError.__name__ in repr(caught.value)
