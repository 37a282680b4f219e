"""The OSS store: requests and bytes, faults at every operation, sources that change, runs that are killed."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import oss2
import pytest

from aggregation import steps
from aggregation.errors import AggregationError, IntegrityError, UnavailableError
from aggregation.layout import Layout
from aggregation.stores.checksum import combined
from aggregation.stores.promise import Settings
from oss_server import (
    Answer,
    Call,
    Delay,
    Fault,
    Hold,
    LoseAnswer,
    OmitCrc,
    OssServer,
    Reset,
    Truncate,
    WrongCrc,
)
from places import Place, oss_place
from scripts import command, environment

LAYOUT = Layout()
KIB, MIB = 2**10, 2**20
CRC64 = __import__("anycrc").Model("CRC64-XZ").calc


class Oss(NamedTuple):
    """A place on a server of its own."""

    place: Place
    server: OssServer

    def put(self, *contents: bytes) -> bytes:
        """Write level 1; returns what its join must give."""
        for number, content in enumerate(contents):
            self.place.put(LAYOUT.file(1, number), content)
        return b"".join(contents)

    def join(self, fan_in: int = 2) -> steps.Done:
        """Join the first group of level 1."""
        return steps.process(self.place.storage, LAYOUT, 0, 1, fan_in=fan_in)

    @property
    def target(self) -> bytes | None:
        """What process.py 0 1 made."""
        return self.place.get("l2/0.txt")


@pytest.fixture
def oss(tmp_path: Path) -> Iterator[Oss]:
    """A server, an empty bucket, and a store that tries for a second."""
    settings = Settings(timeout=1.0, parallel=8, parallel_small=8, max_parts=10)
    with oss_place(tmp_path, settings) as (place, server):
        yield Oss(place, server)


def test_no_byte_of_large_objects_passes_through(oss: Oss) -> None:
    """2x64 MiB: at most 8 requests, under 8 kB each way, counted by the server."""
    for number in range(2):
        oss.server.put_pattern("demo", f"a/root/l1/{number}.txt", 64 * MIB, bytes([number]) * 1000)
    oss.server.counters.reset()
    done = oss.join()
    total = oss.server.counters.total
    assert total.requests <= 8
    assert total.bytes_in < 8000
    assert total.bytes_out < 8000
    assert (done.written.moved, done.written.verified) == ("server-side", True)
    assert done.written.requests == total.requests
    found = oss.target
    assert found is not None
    assert len(found) == 128 * MIB
    assert done.written.crc64 == CRC64(found)


def test_a_look_at_the_start_fetches_the_start(oss: Oss) -> None:
    """Reading the first bytes of a large object, as pipeline.py does to show them, fetches no more of it."""
    oss.put(b"start" + bytes(5 * MIB))
    oss.server.counters.reset()
    assert oss.place.storage.read("l1/0.txt", 5) == b"start"
    assert oss.server.counters.total.bytes_out < 2000


def test_progress_costs_a_listing(oss: Oss, tmp_path: Path) -> None:
    """In a pod the bytes to do are learned by one request, not by one for each object."""
    whole = oss.put(*[os.urandom(30 * KIB)] * 40)
    oss.server.settings.bandwidth = len(whole) / 1.5
    oss.server.counters.reset()
    progress = tmp_path / "progress"
    subprocess.run(
        command("merge.py", 40, "--root", "oss://demo/a/root"),
        env=environment(**oss.server.environment(), ARGO_PROGRESS_FILE=str(progress)),
        check=True,
    )
    assert progress.read_text().endswith(f"/{len(whole)}\n")
    assert oss.server.counters.operations["HeadObject"].requests < 50
    assert oss.place.get("result.txt") == whole


def test_progress_of_a_group_looks_at_no_other(oss: Oss, tmp_path: Path) -> None:
    """Where a level holds far more than a group, some of the group's objects tell the bytes to do."""
    whole = oss.put(*[os.urandom(30 * KIB)] * 40)
    for number in range(40, 1200):
        oss.place.put(LAYOUT.file(1, number), b"x")
    oss.server.settings.bandwidth = len(whole) / 1.5
    oss.server.counters.reset()
    progress = tmp_path / "progress"
    subprocess.run(
        command("process.py", 0, 1, "--fan-in", 40, "--files", 1200, "--root", "oss://demo/a/root"),
        env=environment(**oss.server.environment(), ARGO_PROGRESS_FILE=str(progress)),
        check=True,
    )
    assert progress.read_text().endswith(f"/{len(whole)}\n")
    assert oss.server.counters.operations["ListObjects"].requests == 0
    assert oss.server.counters.operations["HeadObject"].requests <= 40 + 16
    assert oss.place.get("l2/0.txt") == whole


def test_many_small_objects_are_fetched_in_parallel(oss: Oss) -> None:
    """1,000 x 4 KiB at 20 ms: 100 GETs are under way before the first is answered, in little memory.

    How much faster that is `make bench BENCH=oss` says: beside other tests a time says nothing.
    """
    whole = oss.put(*(os.urandom(4 * KIB) for _ in range(1000)))
    oss.server.settings.latency = 0.02
    held = oss.server.faults.add(Fault("GetObject", Hold(), times=100))
    measured = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    merging = subprocess.Popen(
        [sys.executable, "-c", measured, *command("merge.py", 1000, "--root", "oss://demo/a/root")],
        env=environment(**oss.server.environment()),
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while held.hits < 100:
        assert time.monotonic() < deadline, f"{held.hits} requests are under way"
        time.sleep(0.01)
    held.release()
    printed, _ = merging.communicate()
    assert merging.returncode == 0
    assert int(printed.splitlines()[-1]) < 96 * KIB, "KiB of memory"
    assert oss.place.get("result.txt") == whole


@pytest.mark.parametrize(
    ("sizes", "moved"),
    [
        ([0, 0], "streamed"),
        ([1, 0], "streamed"),
        ([3 * MIB, 0], "server-side"),
        ([10, 3 * MIB], "server-side"),
        ([3 * MIB, 10], "server-side"),
        ([3 * MIB, 10, 3 * MIB, 20, 30, 102_400, 1], "server-side"),
        ([102_399] * 7, "streamed"),
        ([90 * KIB] * 120, "streamed"),
        ([40 * KIB] * 200 + [5 * MIB] + [200 * KIB], "streamed"),
    ],
)
def test_any_mix_of_sizes(oss: Oss, sizes: list[int], moved: str) -> None:
    """Long, short and empty objects in any order are joined byte for byte, and compared."""
    whole = oss.put(*(os.urandom(size) for size in sizes))
    done = oss.join(len(sizes))
    assert oss.target == whole
    assert (done.written.size, done.written.crc64) == (len(whole), CRC64(whole))
    assert (done.written.moved, done.written.verified) == (moved, True)


def test_appendable_sources_are_streamed(oss: Oss) -> None:
    """The service may refuse to copy an Appendable object: it goes through the worker."""
    oss.server.settings.copy_appendable = False
    first, second = os.urandom(9 * MIB), os.urandom(3 * MIB)
    oss.server.put("demo", "a/root/l1/0.txt", first, kind="Appendable")
    oss.server.put("demo", "a/root/l1/1.txt", second)
    oss.join()
    assert oss.target == first + second
    assert oss.server.counters.operations["UploadPartCopy"].requests >= 1


def test_more_sources_than_parts(tmp_path: Path) -> None:
    """More sources than parts go through intermediate objects, which are removed even if that fails once."""
    with oss_place(tmp_path, Settings(timeout=2.0, max_parts=10)) as (place, server):
        oss = Oss(place, server)
        server.settings.max_part_number = 10
        whole = oss.put(*(os.urandom(102_400 + number) for number in range(137)))
        server.faults.add(Fault("DeleteObject", Answer(503, "ServiceUnavailable"), times=1))
        before = place.names()
        done = oss.join(137)
        assert oss.target == whole
        assert (done.written.crc64, done.written.verified) == (CRC64(whole), True)
        assert server.counters.operations["DeleteObject"].requests > 10
        assert place.names() == before | {"l2/0.txt"}


SHAPES: dict[str, tuple[list[int], list[str]]] = {
    "one PUT": ([10, 20], ["HeadObject", "GetObject", "PutObject"]),
    "copies": (
        [2 * MIB, 2 * MIB],
        ["HeadObject", "InitiateMultipartUpload", "UploadPartCopy", "CompleteMultipartUpload"],
    ),
    "copies and uploads": (
        [10, 3 * MIB, 10],
        ["GetObject", "InitiateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload"],
    ),
    "intermediate objects": (
        [700 * KIB] * 11,
        ["HeadObject", "InitiateMultipartUpload", "UploadPartCopy", "CompleteMultipartUpload"],
    ),
}
FAULTS: dict[str, tuple[Callable[[], Fault], int]] = {
    "503 twice": (lambda: Fault("", Answer(503, "ServiceUnavailable"), times=2), 0),
    "500 always": (lambda: Fault("", Answer(500, "InternalError")), 75),
    "403 always": (lambda: Fault("", Answer(403, "AccessDenied")), 5),
    "403 on the second": (lambda: Fault("", Answer(403, "AccessDenied"), skip=1, times=1), 0),
    "reset once": (lambda: Fault("", Reset(), times=1), 0),
    "reset always": (lambda: Fault("", Reset()), 75),
    "lost answer once": (lambda: Fault("", LoseAnswer(), times=1), 0),
    "slow": (lambda: Fault("", Delay(0.05)), 0),
    "truncated once": (lambda: Fault("", Truncate(), times=1), 0),
    "no CRC": (lambda: Fault("", OmitCrc()), 0),
    "wrong CRC": (lambda: Fault("", WrongCrc()), 0),
}
EXCEPTIONS = {
    "403 on the second": (
        5,  # where it is sent twice or more
        {
            *("one PUT-HeadObject", "one PUT-GetObject", "copies-HeadObject", "copies-UploadPartCopy"),
            *("copies and uploads-GetObject", "copies and uploads-UploadPart"),
            *(f"intermediate objects-{operation}" for operation in SHAPES["intermediate objects"][1]),
        },
    ),
    "wrong CRC": (
        4,  # where the answer is all that there is to compare with; else a HEAD, or the target's, tells
        {
            *("one PUT-GetObject", "copies-HeadObject", "copies-UploadPartCopy"),
            *("copies and uploads-GetObject", "copies and uploads-UploadPart"),
            *("copies and uploads-UploadPartCopy",),
            *("intermediate objects-HeadObject", "intermediate objects-UploadPartCopy"),
        },
    ),
}
"""Faults that end in another code in these shapes, at these operations."""
MATRIX = [
    (shape, operation, fault)
    for shape, (_, operations) in SHAPES.items()
    for operation in operations
    for fault in FAULTS
    if fault != "truncated once" or operation == "GetObject"
]


@pytest.mark.parametrize(("shape", "operation", "fault"), MATRIX, ids=map("-".join, MATRIX))
def test_every_fault_at_every_operation(oss: Oss, shape: str, operation: str, fault: str) -> None:
    """The right result or the right exit code; the target whole; no upload and no object left behind."""
    whole = oss.put(*(os.urandom(size) for size in SHAPES[shape][0]))
    oss.place.put("l2/0.txt", b"old")
    before = oss.place.names()
    make, expected = FAULTS[fault]
    other, places = EXCEPTIONS.get(fault, (expected, set()))
    expected = other if f"{shape}-{operation}" in places else expected
    rule = make()
    rule.operation = operation
    oss.server.faults.add(rule)
    code, complaint = 0, ""
    try:
        done = oss.join(len(SHAPES[shape][0]))
        assert done.written.crc64 in (None, CRC64(whole))
        assert done.written.verified or fault in ("no CRC", "wrong CRC")
    except AggregationError as error:
        code = error.exit_code
        complaint = str(error)
    oss.server.faults.clear()
    assert rule.seen > 0, "this shape does not use this operation"
    assert code == expected
    assert "secret" not in complaint
    assert "\n" not in complaint
    published = operation in ("PutObject", "CompleteMultipartUpload")
    if code == 0:
        assert oss.target == whole
    elif published:
        assert oss.target in (b"old", whole)
    else:
        assert oss.target == b"old"
    assert oss.place.names() == before
    oss.join(len(SHAPES[shape][0]))
    assert oss.target == whole


def test_an_error_names_operation_object_and_request(oss: Oss) -> None:
    """The one line is enough to ask the service's support."""
    oss.put(b"a", b"b")
    oss.server.faults.add(Fault("GetObject", Answer(503, "ServiceUnavailable")))
    with pytest.raises(UnavailableError) as caught:
        oss.join()
    line = str(caught.value)
    assert "GetObject oss://demo/a/root/l1/" in line
    assert "503 ServiceUnavailable (request " in line
    assert "--timeout" in line


@pytest.mark.parametrize("shape", ["copies", "copies and uploads"])
def test_a_source_replaced_once(oss: Oss, shape: str) -> None:
    """A source that is replaced in the middle of a join: the join begins anew and never mixes."""
    sizes = SHAPES[shape][0]
    contents = [os.urandom(size) for size in sizes]
    oss.put(*contents)
    new = os.urandom(3 * MIB)
    oss.server.faults.add(
        Fault("UploadPartCopy", Call(lambda _, __: oss.place.put("l1/1.txt", new)), times=1)
    )
    oss.join(len(sizes))
    assert oss.target == b"".join([contents[0], new, *contents[2:]])
    assert not oss.server.uploads("demo")


def test_a_source_replaced_all_the_time(oss: Oss) -> None:
    """If that happens again, it is an integrity error, and the old target stays."""
    oss.put(os.urandom(2 * MIB), os.urandom(2 * MIB))
    oss.place.put("l2/0.txt", b"old")
    oss.server.faults.add(
        Fault("UploadPartCopy", Call(lambda _, __: oss.place.put("l1/1.txt", os.urandom(2 * MIB))))
    )
    with pytest.raises(IntegrityError, match="was replaced while it was read"):
        oss.join()
    assert oss.target == b"old"
    assert not oss.server.uploads("demo")


def test_an_upload_aborted_by_another_run(oss: Oss) -> None:
    """Whoever finds its upload gone begins again."""
    whole = oss.put(os.urandom(2 * MIB), os.urandom(2 * MIB))

    def abort(_: str, __: str) -> None:
        bucket = oss2.Bucket(oss2.Auth("id", "secret"), oss.server.endpoint, "demo")
        for upload in oss.server.uploads("demo"):
            bucket.abort_multipart_upload(upload.key, upload.id)
        bucket.session.session.close()

    oss.server.faults.add(Fault("CompleteMultipartUpload", Call(abort), times=1))
    oss.join()
    assert oss.target == whole
    assert not oss.server.uploads("demo")


def test_without_any_crc_it_says_unverified(oss: Oss) -> None:
    """Where neither sources nor parts have a CRC64 the summary says so; --verify reads back."""
    oss.server.settings.crc_on_copies = False
    oss.server.settings.crc_in_list_parts = False
    whole = oss.put(os.urandom(2 * MIB), os.urandom(2 * MIB))
    for operation in ("HeadObject", "GetObject"):
        oss.server.faults.add(Fault(operation, OmitCrc()))
    done = oss.join()
    assert oss.target == whole
    assert (done.written.crc64, done.written.verified) == (None, False)


def test_verify_reads_back(tmp_path: Path) -> None:
    """--verify compares the target with its sources by reading both, and finds a service that lies."""
    with oss_place(tmp_path, Settings(timeout=2.0, verify=True)) as (place, server):
        oss = Oss(place, server)
        server.settings.crc_on_copies = False
        server.settings.crc_in_list_parts = False
        whole = oss.put(os.urandom(2 * MIB), os.urandom(2 * MIB))
        assert oss.join().written.verified is True
        assert oss.target == whole
        server.faults.add(
            Fault(
                "CompleteMultipartUpload",
                Call(lambda _, key: server.put("demo", key, b"x" * 4 * MIB), after=True),
            )
        )
        with pytest.raises(IntegrityError, match="CRC64"):
            oss.join()


def test_crc64_is_carried_from_level_to_level(oss: Oss) -> None:
    """Objects made of copies may have no CRC64; the next level finds the one that the worker noted."""
    oss.server.settings.crc_on_copies = False
    whole = oss.put(*(os.urandom(2 * MIB) for _ in range(4)))
    for number in range(2):
        steps.process(oss.place.storage, LAYOUT, number, 1, fan_in=2)
    done = steps.process(oss.place.storage, LAYOUT, 0, 2, fan_in=2)
    assert oss.place.get("l3/0.txt") == whole
    assert (done.written.crc64, done.written.verified) == (CRC64(whole), True)


def test_parallel_is_bounded_and_used(oss: Oss) -> None:
    """Parts run side by side, as many as --parallel says, and no more."""
    oss.put(*(os.urandom(2 * MIB) for _ in range(9)))
    held = oss.server.faults.add(Fault("UploadPartCopy", Hold(), times=8))
    oss.server.counters.reset()
    with ThreadPoolExecutor(1) as beside:
        joining = beside.submit(oss.join, 9)
        deadline = time.monotonic() + 60
        while held.hits < 8 and time.monotonic() < deadline:
            time.sleep(0.01)
        under_way = held.hits
        held.release()
        joining.result()
    assert under_way == 8
    assert oss.server.counters.total.max_concurrent == 8
    assert oss.server.counters.connections <= 2 * 8 + 1


@pytest.mark.parametrize(("operation", "found"), [("PutObject", b""), ("GetObject", b"A")])
def test_letters_are_made_side_by_side(oss: Oss, operation: str, found: bytes) -> None:
    """prepare.py writes as many at a time as --parallel says, and so looks at those that are there."""
    oss.put(*[found] * 50 if found else [])
    held = oss.server.faults.add(Fault(operation, Hold(), times=8))
    with ThreadPoolExecutor(1) as beside:
        preparing = beside.submit(steps.prepare, oss.place.storage, LAYOUT, 50, parallel=8)
        deadline = time.monotonic() + 60
        while held.hits < 8 and time.monotonic() < deadline:
            time.sleep(0.01)
        held.release()
        preparing.result()
    assert oss.server.counters.operations[operation].max_concurrent == 8
    assert oss.place.names() == {LAYOUT.file(1, number) for number in range(50)}


def test_a_copy_may_take_long(oss: Oss) -> None:
    """The service answers when it has copied: as long as that may be on its way, nothing is sent again."""
    for number in range(2):
        oss.server.put_pattern("demo", f"a/root/l1/{number}.txt", 400 * MIB)
    oss.server.faults.add(Fault("UploadPartCopy", Delay(10.5), times=2))
    assert oss.join().written.requests == 6


def test_combined_checksums() -> None:
    """CRC64s of pieces give the whole's; one unknown piece makes it unknown, an empty one does not."""
    pieces = [b"1234", b"", b"56789"]
    known: list[tuple[int | None, int]] = [(CRC64(piece), len(piece)) for piece in pieces]
    assert combined(known) == CRC64(b"123456789")
    assert combined([*known, (None, 0)]) == CRC64(b"123456789")
    assert combined([*known, (None, 1)]) is None


def test_two_runs_at_once(oss: Oss) -> None:
    """Eight runs of one step at once leave one whole result and no upload."""
    whole = oss.put(os.urandom(2 * MIB), os.urandom(2 * MIB), os.urandom(10))
    threads = [threading.Thread(target=oss.join, args=(3,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert oss.target == whole
    assert not oss.server.uploads("demo")
