"""Bytes that change on their way, sources that change in between, and what an interruption leaves on OSS."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import oss2
import pytest

from aggregation import steps
from aggregation.errors import IntegrityError
from aggregation.layout import Layout
from aggregation.stores.promise import Settings
from oss_server import Call, Delay, Fault, Hold, Instead, OssServer
from places import Place, oss_place
from scripts import command, environment, finished
from tampering import tampered

LAYOUT = Layout()
KIB, MIB = 2**10, 2**20
ROOT = ("--root", "oss://demo/a/root")


@pytest.fixture
def oss(tmp_path: Path) -> Iterator[tuple[Place, OssServer]]:
    """A store that tries for a second, and its server."""
    with oss_place(tmp_path, Settings(timeout=1.0, parallel=16)) as found:
        yield found


def fill(place: Place, *contents: bytes) -> bytes:
    """Level 1; returns what its join must give."""
    for number, content in enumerate(contents):
        place.put(LAYOUT.file(1, number), content)
    return b"".join(contents)


def spoiled(server: OssServer, key: str, start: int, end: int) -> Instead:
    """An answer to a GET of a range with all that a right one has, and one byte that is another."""
    stored = server.head("demo", key)
    data = bytearray(stored.body.read()[start:end])
    data[len(data) // 2] ^= 1
    headers = {
        "ETag": f'"{stored.etag}"',
        "Content-Range": f"bytes {start}-{end - 1}/{stored.body.size}",
        "x-oss-hash-crc64ecma": str(stored.crc),
    }
    return Instead(206, bytes(data), headers)


@pytest.mark.parametrize("sizes", [[10, 20], [10, 3 * MIB, 10]], ids=["one PUT", "in parts"])
def test_a_byte_that_changed_on_its_way_here(oss: tuple[Place, OssServer], sizes: list[int]) -> None:
    """What a GET brings is compared with the CRC64 that the service has; nothing is published of it."""
    place, server = oss
    whole = fill(place, *(os.urandom(size) for size in sizes))
    place.put("l2/0.txt", b"old")
    server.faults.add(Fault("GetObject", spoiled(server, "a/root/l1/0.txt", 0, 10), key="l1/0.txt", times=1))
    with pytest.raises(IntegrityError, match=r"l1/0\.txt arrived with another CRC64"):
        steps.process(place.storage, LAYOUT, 0, 1, fan_in=len(sizes))
    assert place.get("l2/0.txt") == b"old"
    assert not server.uploads("demo")
    steps.process(place.storage, LAYOUT, 0, 1, fan_in=len(sizes))
    assert place.get("l2/0.txt") == whole


def test_a_block_that_changed_on_its_way_to_a_command(oss: tuple[Place, OssServer]) -> None:
    """The same for files that are fetched for a command, in blocks: that one of them never sees it."""
    place, server = oss
    whole = fill(place, os.urandom(2 * MIB + 5), b"second")
    arguments = [*command("process.py", 0, 1, *ROOT), "--command", "cat {inputs}"]
    bad = spoiled(server, "a/root/l1/0.txt", MIB, 2 * MIB)
    server.faults.add(Fault("GetObject", bad, key="l1/0.txt", skip=1, times=1))
    variables = environment(**server.environment())
    one_by_one = [*arguments, "--parallel", "1"]  # so that the second request is for the second block
    outcome = finished(one_by_one, env=variables)
    assert outcome.returncode == 4, outcome.stderr
    assert "l1/0.txt arrived with another CRC64" in outcome.stderr
    assert place.get("l2/0.txt") is None
    subprocess.run(arguments, env=variables, check=True, capture_output=True)
    assert place.get("l2/0.txt") == whole


def test_a_byte_that_changed_on_its_way_there(oss: tuple[Place, OssServer]) -> None:
    """The service refuses an object whose MD5 is another: it is sent again, and never published."""
    place, server = oss
    whole = fill(place, b"the first file", b"the second file")
    place.put("l2/0.txt", b"old")
    seen = []
    watch = Fault("PutObject", Call(lambda _, __: seen.append(place.get("l2/0.txt"))), key="l2/0.txt")
    server.faults.add(watch)
    with tampered(server.port, b"second file", b"SECOND FILE") as port:
        variables = server.environment() | {"OSS_ENDPOINT": f"http://127.0.0.1:{port}"}
        outcome = finished(command("process.py", 0, 1, *ROOT), env=environment(**variables))
    assert outcome.returncode == 0, outcome.stderr
    assert seen == [b"old", b"old"], "what was spoiled was published"
    assert place.get("l2/0.txt") == whole


def test_a_part_that_changed_on_its_way_there(oss: tuple[Place, OssServer]) -> None:
    """The CRC64 that the service has of a part is compared; the upload is aborted, the target stays."""
    place, server = oss
    whole = fill(place, b"the first file", os.urandom(3 * MIB))
    place.put("l2/0.txt", b"old")
    arguments = command("process.py", 0, 1, *ROOT)
    with tampered(server.port, b"the first file", b"THE FIRST FILE") as port:
        variables = server.environment() | {"OSS_ENDPOINT": f"http://127.0.0.1:{port}"}
        outcome = finished(arguments, env=environment(**variables))
    assert outcome.returncode == 4, outcome.stderr
    assert place.get("l2/0.txt") == b"old"
    assert not server.uploads("demo")
    subprocess.run(arguments, env=environment(**server.environment()), check=True, capture_output=True)
    assert place.get("l2/0.txt") == whole


@pytest.mark.parametrize("length", [5, 15, 10], ids=["shorter", "longer", "other bytes"])
def test_a_listed_source_that_is_replaced_before_it_is_read(
    oss: tuple[Place, OssServer], length: int
) -> None:
    """Of many short sources only sizes are known: another length is noticed, and the join begins anew."""
    place, server = oss
    contents = [os.urandom(10) for _ in range(120)]
    fill(place, *contents)
    contents[7] = os.urandom(length)
    replace = Call(lambda _, __: place.put("l1/7.txt", contents[7]))
    server.faults.add(Fault("GetObject", replace, key="l1/7.txt", times=1))
    steps.process(place.storage, LAYOUT, 0, 1, fan_in=120)
    assert place.get("l2/0.txt") == b"".join(contents)


@pytest.mark.parametrize("length", [85 * KIB, 95 * KIB], ids=["shorter", "longer"])
def test_a_listed_source_that_is_replaced_before_a_part_of_it_is_read(
    oss: tuple[Place, OssServer], length: int
) -> None:
    """So it is where the border of two uploaded parts lies in it, and its state is asked for late."""
    place, server = oss
    contents = [os.urandom(90 * KIB) for _ in range(120)]
    fill(place, *contents)
    cut = 4 * MIB // (90 * KIB)
    contents[cut] = os.urandom(length)
    replace = Call(lambda _, __: place.put(f"l1/{cut}.txt", contents[cut]))
    server.faults.add(Fault("InitiateMultipartUpload", replace, times=1))
    steps.process(place.storage, LAYOUT, 0, 1, fan_in=120)
    assert place.get("l2/0.txt") == b"".join(contents)
    assert server.counters.operations["InitiateMultipartUpload"].requests == 2
    assert not server.uploads("demo")


def stopped(server: OssServer, fault: Fault, *arguments: object) -> str:
    """Send SIGTERM to a script whose request is held; returns its line."""
    process = subprocess.Popen(
        command(*map(str, arguments), *ROOT),
        env=environment(**server.environment()),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    fault.wait_until_hit(30)
    time.sleep(0.3)  # until it waits
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    return said


def test_uploads_whose_threads_hang_are_aborted(oss: tuple[Place, OssServer]) -> None:
    """A thread that waits for an answer cannot abort its upload: the end of the process does it."""
    place, server = oss
    fill(place, *(os.urandom(2 * MIB) for _ in range(4)))
    held = server.faults.add(Fault("UploadPartCopy", Hold()))
    stopped(server, held, "pipeline.py", "--levels", 1, "--workers", 2)
    assert server.counters.operations["InitiateMultipartUpload"].requests == 2
    assert server.uploads("demo") == []


def test_intermediate_objects_whose_threads_hang_are_deleted(oss: tuple[Place, OssServer]) -> None:
    """The same for an object that is to be read back before it is published."""
    place, server = oss
    fill(place, *(os.urandom(10) for _ in range(4)))
    held = server.faults.add(Fault("GetObject", Hold(), key=".tmp"))
    stopped(server, held, "pipeline.py", "--levels", 1, "--workers", 2, "--verify")
    assert not [name for name in place.names() if ".tmp" in name]


def test_an_upload_of_another_key_is_no_stray(oss: tuple[Place, OssServer]) -> None:
    """Strays of a beginning whose answer got lost are uploads into this very key, not into its namesakes."""
    place, server = oss
    whole = fill(place, os.urandom(2 * MIB), os.urandom(2 * MIB))
    bucket = oss2.Bucket(oss2.Auth("id", "secret"), server.endpoint, "demo")
    backup = "a/root/l2/0.txt.backup"
    server.faults.add(
        Fault(
            "InitiateMultipartUpload",
            Call(lambda _, key: key != backup and bucket.init_multipart_upload(backup)),
            key="l2/0.txt",
            times=1,
        )
    )
    lost = Instead(200, b"", {"x-oss-request-id": ""}, after=True)
    server.faults.add(Fault("InitiateMultipartUpload", lost, key="l2/0.txt", times=1))
    steps.process(place.storage, LAYOUT, 0, 1, fan_in=2)
    bucket.session.session.close()
    assert place.get("l2/0.txt") == whole
    assert [upload.key for upload in server.uploads("demo")] == [backup]


def test_few_uploaded_parts_are_in_memory(oss: tuple[Place, OssServer]) -> None:
    """However many requests and joins may run at a time: a part that passes through the worker is 4 MiB."""
    place, server = oss
    server.settings.copy_appendable = False
    halves = [os.urandom(10 * MIB), os.urandom(10 * MIB)]
    for number in range(4):
        server.put("demo", f"a/root/l1/{number}.txt", halves[number % 2], kind="Appendable")
    server.faults.add(Fault("UploadPart", Delay(0.5)))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda number: steps.process(place.storage, LAYOUT, number, 1, fan_in=2), range(2)))
    assert [place.get(f"l2/{number}.txt") for number in range(2)] == [b"".join(halves)] * 2
    assert server.counters.operations["UploadPart"].requests == 10
    assert 2 <= server.counters.operations["UploadPart"].max_concurrent <= 4
