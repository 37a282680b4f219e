"""SIGKILL at each request: before the service has it, and after it was carried out, unanswered.

By default a request that only looks is killed at one of these moments, and where there are many some are left
out; `KILLS=all` tries all of them.
"""

import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import oss2
import pytest

import kill_table
from aggregation import cleaning, steps
from aggregation.layout import Layout, new_temporary
from aggregation.stores.promise import Settings, Storage
from oss_server import Call, Fault, OssServer, Reset
from places import Place, oss_place
from scripts import command, environment

MIB = 1 << 20
DAY = 24 * 3600
ROOT = "oss://demo/a/root"
OLD = b"what an earlier run left"
RUN = Layout(run="r")
ALL = os.environ.get("KILLS") == "all"
OPERATIONS = (
    *("HeadObject", "GetObject", "PutObject", "DeleteObject", "DeleteMultipleObjects", "ListObjects"),
    *("ListObjectsV2", "InitiateMultipartUpload", "UploadPart", "UploadPartCopy", "ListParts"),
    *("CompleteMultipartUpload", "AbortMultipartUpload", "ListMultipartUploads"),
)
LOOKS = frozenset(
    {"HeadObject", "GetObject", "ListObjects", "ListObjectsV2", "ListParts", "ListMultipartUploads"}
)


class Scenario(NamedTuple):
    """What is killed, and what it makes of which objects."""

    arguments: tuple[object, ...]
    inputs: tuple[str, ...]
    sizes: tuple[int, ...]
    target: str
    again: Callable[[Storage, int], None]
    """The same again, in this process."""
    options: Settings = Settings()
    step: int = 1


def process(storage: Storage, count: int) -> None:
    """What process.py does."""
    steps.process(storage, Layout(), 0, 1, fan_in=count)


def merge_and_clean(storage: Storage, count: int) -> None:
    """What merge.py --run r --clean does."""
    output = RUN.result()
    if cleaning.merged_before(storage, RUN, output) is None:
        steps.merge(storage, RUN, count, output=output)
    cleaning.clean(storage, RUN)


L1 = tuple(f"l1/{number}.txt" for number in range(5))
SCENARIOS = {
    "one PUT": Scenario(("process.py", 0, 1), L1[:2], (10, 20), "l2/0.txt", process, step=2),
    "copies": Scenario(("process.py", 0, 1), L1[:2], (2 * MIB, 3 * MIB), "l2/0.txt", process),
    "copies and uploads": Scenario(
        ("process.py", 0, 1, "--fan-in", 3), L1[:3], (10, 3 * MIB, 10), "l2/0.txt", process, step=4
    ),
    "--verify": Scenario(("process.py", 0, 1, "--verify"), L1[:2], (10, 20), "l2/0.txt", process, step=5),
    "a command's large output": Scenario(
        ("process.py", 0, 1, "--command", "cat {inputs}"),
        L1[:2],
        (5 * MIB, 5 * MIB),
        "l2/0.txt",
        process,
        step=7,
    ),
    "merge --run --clean": Scenario(
        ("merge.py", 2, "--run", "r", "--clean"),
        ("runs/r/l2/0.txt", "runs/r/l2/1.txt"),
        (2 * MIB, 3 * MIB),
        "result.txt",
        merge_and_clean,
        step=5,
    ),
}


@pytest.fixture
def oss(tmp_path: Path) -> Iterator[tuple[Place, OssServer]]:
    """A store, and its server."""
    with oss_place(tmp_path, Settings(timeout=5.0)) as found:
        yield found


class Killer:
    """Starts a script and kills it at one of its requests."""

    def __init__(self, server: OssServer, scenario: Scenario) -> None:
        self._server = server
        self._arguments = command(*map(str, scenario.arguments), "--root", ROOT)
        self._process: subprocess.Popen[str] | None = None

        self._here = threading.local()
        for operation in OPERATIONS:
            note = Call(lambda _, __, name=operation: setattr(self._here, "operation", name))  # type: ignore[misc]
            server.faults.add(Fault(operation, note))

    def kill_at(self, which: int, *, after: bool) -> str:
        """Kill at request number `which`; returns the operation, or "" if it ended before."""
        at: list[str] = []

        def kill(_: str, __: str) -> None:
            assert self._process is not None
            at.append(self._here.operation)  # who waits for the process looks at it as soon as that has ended
            self._process.kill()
            self._process.wait()

        rules = [Fault("*", Call(kill, after=after), skip=which, times=1)]
        if not after:
            rules.append(Fault("*", Reset(), skip=which, times=1))
        for rule in rules:
            self._server.faults.add(rule)
        self._process = subprocess.Popen(
            self._arguments,
            env=environment(**self._server.environment()),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        _, said = self._process.communicate(timeout=60)
        for rule in rules:
            self._server.faults.remove(rule)
        assert at or self._process.returncode == 0, said
        return at[0] if at else ""


def arrange(place: Place, server: OssServer, scenario: Scenario) -> bytes:
    """Fill the root: inputs, an old target, and what others have there. Returns what the target must be."""
    for upload in server.uploads("demo"):
        bucket = oss2.Bucket(oss2.Auth("id", "secret"), server.endpoint, "demo")
        bucket.abort_multipart_upload(upload.key, upload.id)
        bucket.session.session.close()
    for key in server.keys("demo"):
        server.delete("demo", key)
    contents = [bytes([number + 65]) * size for number, size in enumerate(scenario.sizes)]
    for name, content in zip(scenario.inputs, contents, strict=True):
        place.put(name, content)
    place.put(scenario.target, OLD)
    return b"".join(contents)


LIVE = f"a/root/l2/{new_temporary('0.txt', 'another-host').name()}"
FOREIGN = ("a/root/l2/backup.tar", "a/root/l2/.backup.2024.12.31.tmp")


def others(server: OssServer) -> set[str]:
    """Begin what others have begun: an upload of a live run, and old ones of another program."""
    bucket = oss2.Bucket(oss2.Auth("id", "secret"), server.endpoint, "demo")
    for key in (LIVE, *FOREIGN):
        bucket.init_multipart_upload(key)
        server.put("demo", key, b"others'", modified=time.time() - 2 * DAY * (key != LIVE))
    bucket.session.session.close()
    return {LIVE, *FOREIGN}


def age(server: OssServer, foreign: set[str]) -> None:
    """Let a day pass over all but what a live run has."""
    for upload in server.uploads("demo"):
        if upload.key != LIVE:
            upload.initiated -= DAY + 60
    for key in server.keys("demo", "a/root/"):
        if ".tmp" in key and key not in foreign:
            server.put("demo", key, server.get("demo", key), modified=time.time() - DAY - 60)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_each_request(oss: tuple[Place, OssServer], name: str) -> None:
    """Old or whole at any moment; the next run is right; a day later a merge leaves nothing of ours."""
    place, server = oss
    scenario = SCENARIOS[name]
    killer = Killer(server, scenario)
    outcomes: Counter[tuple[str, str]] = Counter()
    which, after = 0, False
    while True:
        whole = arrange(place, server, scenario)
        foreign = others(server)
        at = killer.kill_at(which, after=after)
        moment = f"{at} ({'carried out' if after else 'not carried out'})"
        found = place.get(scenario.target)
        assert found in (OLD, whole), moment
        finished = scenario.target == "result.txt" and not place.names() & {*scenario.inputs, "runs/r~"}
        if not finished:  # else nothing is left to be done
            scenario.again(place.storage, len(scenario.sizes))
        assert place.get(scenario.target) == whole, moment
        uploads = [upload.key for upload in server.uploads("demo") if upload.key not in foreign]
        age(server, foreign)
        place.put("l9/0.txt", b"x")
        steps.merge(place.storage, Layout(), 1, level=9, output="merged.txt")
        for folder in ("l2", ""):
            place.storage.sweep(folder)
        left = [key for key in server.keys("demo", "a/root/") if ".tmp" in key and key not in foreign]
        stay = [upload.key for upload in server.uploads("demo") if upload.key not in foreign]
        assert not left, moment
        # Nothing shows who began an upload into the target: it is the bucket's lifecycle rule's.
        assert set(stay) <= {f"a/root/{scenario.target}"}, moment
        assert foreign <= set(server.keys("demo")), moment
        assert foreign == {upload.key for upload in server.uploads("demo")} - set(stay), moment
        said = "old" if found == OLD else "whole"
        swept = ", a leftover" if len(uploads) > len(stay) else ""
        outcomes[moment, said + swept + (", an upload for the lifecycle rule" if stay else "")] += bool(at)
        if not at and not after:  # else it was refused, and there was nothing to carry out
            break
        if not after and (ALL or at not in LOOKS):
            after = True
        else:
            after = False
            which += 1 if ALL else scenario.step
    assert which > 3, "nothing was killed"
    kill_table.add(f"oss: {name}", +outcomes)
