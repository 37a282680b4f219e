"""The worker on s3://, by s3fs, over a real server that fails as S3 does."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from aggregation import cleaning, steps
from aggregation.errors import AggregationError, ConfigurationError, IntegrityError
from aggregation.layout import Layout
from aggregation.location import parse
from aggregation.runner import Run
from aggregation.shape import Shape
from aggregation.stores.opening import open_storage
from aggregation.stores.promise import Settings
from places import Place, s3_place
from s3_server import KEYS, Fault, S3Server
from scripts import Outcome, command, environment, finished

MIB = 1 << 20
LAYOUT = Layout()


class Bucket(NamedTuple):
    """An empty bucket whose `r` is the root."""

    place: Place
    server: S3Server
    name: str

    def environment(self, **variables: str) -> dict[str, str]:
        """What a script needs to find it."""
        return environment(**{**self.server.environment(), **variables})


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    """A bucket of its own for each test, whose failures are waited out for a second."""
    with s3_place(tmp_path, "r", Settings(timeout=1.0)) as opened:
        yield Bucket(*opened)


def put_inputs(place: Place, size: int) -> list[bytes]:
    """Two files of level 1."""
    contents = [bytes([65 + number]) * size for number in range(2)]
    for number, content in enumerate(contents):
        place.put(f"l1/{number}.txt", content)
    return contents


def call(bucket: Bucket, script: str, *arguments: object, root: str = "", **variables: str) -> Outcome:
    """Run a script as a process of its own."""
    return finished(
        command(script, *arguments, "--root", root or f"s3://{bucket.name}/r"),
        env=bucket.environment(**variables),
    )


def check_line(outcome: Outcome, exit_code: int, *words: str) -> None:
    """An error is one line, without a traceback."""
    assert outcome.returncode == exit_code, outcome.stderr
    assert outcome.stderr.count("\n") == 1, outcome.stderr
    assert "a bug" not in outcome.stderr
    for word in words:
        assert word in outcome.stderr


@pytest.mark.parametrize("size", [MIB - 1, MIB + 1, 4 * MIB, 4 * MIB + 1])
def test_objects_of_any_size(bucket: Bucket, size: int) -> None:
    """One block and one part, or more of each: the target is the plain concatenation, and nothing is left."""
    contents = put_inputs(bucket.place, size)
    steps.process(bucket.place.storage, LAYOUT, 0, 1, fan_in=2)
    assert bucket.place.get("l2/0.txt") == b"".join(contents)
    assert bucket.place.names() == {"l1/0.txt", "l1/1.txt", "l2/0.txt"}


def test_reading_back(bucket: Bucket) -> None:
    """--verify reads the target back."""
    put_inputs(bucket.place, 5 * MIB)
    outcome = call(bucket, "process.py", 0, 1, "--verify")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert " verified, " in outcome.stdout


def test_a_command(bucket: Bucket) -> None:
    """A command's inputs are fetched and its target is uploaded, in parts where it is large."""
    contents = put_inputs(bucket.place, 5 * MIB)
    outcome = call(bucket, "process.py", 0, 1, "--command", "cat {inputs}")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert bucket.place.get("l2/0.txt") == b"".join(contents)


@pytest.mark.parametrize("prefix", ["a*b", "a?b", "a[x]b", "**", "a#b", "a b%20+"])
def test_a_prefix_is_taken_literally(tmp_path: Path, prefix: str) -> None:
    """What a pattern would match beside it is neither read, nor replaced, nor removed."""
    with s3_place(tmp_path, prefix) as (place, server, name):
        for number in range(4):
            place.put(f"l1/{number}.txt", b"%d" % number)
            server.put(name, f"axb/l1/{number}.txt", b"other")
        server.put(name, "axb/l2/0.txt", b"other")
        others = {key for key in server.keys(name) if key.startswith("axb/")}
        run = Run(place.storage, LAYOUT, Shape(4, 2, 1), workers=2, output="result.txt")
        run.execute(prepare=False, resume=False)
        cleaning.clean(place.storage, run.layout, run.mark.note())
        assert place.get("result.txt") == b"0123"
        inputs = {f"{prefix}/l1/{number}.txt" for number in range(4)}
        assert server.keys(name) == others | inputs | {f"{prefix}/result.txt"}


ANSWERS: list[tuple[str, Fault, int, str]] = [
    ("denied to list or look", {"status": 403, "code": "AccessDenied"}, 5, "credentials"),
    ("denied to read", {"method": "GET", "status": 403, "code": "AccessDenied"}, 5, "AccessDenied"),
    ("denied to write", {"method": "PUT", "status": 403, "code": "AccessDenied"}, 5, "AccessDenied"),
    ("unknown key", {"method": "GET", "status": 403, "code": "InvalidAccessKeyId"}, 5, "InvalidAccessKeyId"),
    ("wrong secret", {"method": "PUT", "status": 403, "code": "SignatureDoesNotMatch"}, 5, "Signature"),
    ("expired token", {"method": "PUT", "status": 400, "code": "ExpiredToken"}, 5, "ExpiredToken"),
    ("archived", {"method": "GET", "status": 403, "code": "InvalidObjectState"}, 5, "restore"),
    ("clock", {"method": "GET", "status": 403, "code": "RequestTimeTooSkewed"}, 5, "clock"),
    ("wrong region", {"method": "GET", "status": 400, "code": "AuthorizationHeaderMalformed"}, 5, "region"),
    ("no such bucket", {"method": "PUT", "status": 404, "code": "NoSuchBucket"}, 5, "bucket"),
    ("full", {"method": "PUT", "status": 507, "code": "XMinioStorageFull"}, 6, "space"),
    ("throttled", {"method": "GET", "status": 503, "code": "SlowDown"}, 75, "SlowDown"),
    ("throttled to write", {"method": "PUT", "status": 503, "code": "SlowDown"}, 75, "SlowDown"),
    ("broken", {"method": "PUT", "status": 500, "code": "InternalError"}, 75, "InternalError"),
    ("broken without a word", {"method": "HEAD", "status": 500}, 75, "500"),
    ("a gateway", {"method": "GET", "status": 502}, 75, "502"),
    ("too many requests", {"method": "GET", "status": 429}, 75, "429"),
    ("gone", {"method": "HEAD", "status": 404}, 3, "l1/0.txt"),
]


@pytest.mark.parametrize(
    ("fault", "exit_code", "word"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS]
)
def test_an_answer_has_its_exit_code(bucket: Bucket, fault: Fault, exit_code: int, word: str) -> None:
    """What the service says decides whether another try can help; the target stays, and nothing is left."""
    put_inputs(bucket.place, 1)
    bucket.place.put("l2/0.txt", b"old")
    bucket.server.faults(fault)
    with pytest.raises(AggregationError) as raised:
        steps.process(bucket.place.storage, LAYOUT, 0, 1, fan_in=2)
    bucket.server.faults()
    assert raised.value.exit_code == exit_code
    assert word in str(raised.value)
    assert "s3://" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert bucket.place.get("l2/0.txt") == b"old"
    assert bucket.place.names() == {"l1/0.txt", "l1/1.txt", "l2/0.txt"}


def test_a_bucket_that_is_absent(bucket: Bucket) -> None:
    """It is no empty root: 5, whatever is looked for first."""
    outcome = call(bucket, "merge.py", 2, root="s3://there-is-none/r")
    check_line(outcome, 5, "NoSuchBucket", "check the bucket")
    storage = open_storage(parse("s3://there-is-none/r"))
    looks: list[Callable[[], object]] = [
        lambda: steps.process(storage, LAYOUT, 0, 1, fan_in=2),
        lambda: storage.find("l1/0.txt"),
        lambda: storage.write("l1/0.txt", b"0"),
    ]
    for look in looks:
        with pytest.raises(ConfigurationError, match="NoSuchBucket"):
            look()


def test_no_credentials(bucket: Bucket) -> None:
    """It says what to set."""
    put_inputs(bucket.place, 1)
    outcome = call(bucket, "process.py", 0, 1, **{key: "" for key in KEYS if "KEY" in key})
    check_line(outcome, 5, "NoCredentialsError", "AWS_ACCESS_KEY_ID")


def test_no_server(bucket: Bucket) -> None:
    """A refused connection is tried again until the time is over."""
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    check_line(call(bucket, "process.py", 0, 1, "--timeout", 1, **nowhere), 75, "127.0.0.1:9")


PASSING: list[tuple[str, list[Fault]]] = [
    ("throttled", [{"status": 503, "code": "SlowDown", "times": 3}]),
    ("look-up", [{"method": "HEAD", "status": 503, "times": 2}]),
    ("read", [{"method": "GET", "status": 500, "code": "InternalError", "times": 2, "skip": 3}]),
    ("begin", [{"method": "POST", "match": "uploads", "status": 503, "code": "SlowDown", "times": 2}]),
    ("part", [{"method": "PUT", "match": "partNumber=2", "status": 503, "code": "SlowDown", "times": 2}]),
    ("end", [{"method": "POST", "match": "uploadId", "status": 500, "code": "InternalError", "times": 1}]),
    ("end unheard", [{"method": "POST", "match": "uploadId", "status": 500, "times": 1, "done": True}]),
    (
        "end unheard, then unknown",
        [
            {"method": "POST", "match": "uploadId", "status": 500, "times": 1, "done": True},
            {"method": "POST", "match": "uploadId", "status": 404, "code": "NoSuchUpload"},
        ],
    ),
]


@pytest.mark.parametrize("faults", [row[1] for row in PASSING], ids=[row[0] for row in PASSING])
def test_what_passes_is_tried_again(bucket: Bucket, faults: list[Fault]) -> None:
    """A few failures of any request of a join in parts cost nothing but time."""
    contents = put_inputs(bucket.place, 5 * MIB)
    bucket.server.faults(*faults)
    steps.process(bucket.place.storage, LAYOUT, 0, 1, fan_in=2)
    assert sum("partNumber=1" in line for line in bucket.server.requests()) == 1  # nothing is sent twice
    bucket.server.faults()
    assert bucket.place.get("l2/0.txt") == b"".join(contents)
    assert bucket.place.names() == {"l1/0.txt", "l1/1.txt", "l2/0.txt"}


@pytest.mark.parametrize("match", ["partNumber=2", "uploadId"])
def test_a_failure_aborts_the_upload(bucket: Bucket, match: str) -> None:
    """What stays forbidden in the middle of an upload leaves no unfinished one."""
    put_inputs(bucket.place, 5 * MIB)
    method = "PUT" if "part" in match else "POST"
    bucket.server.faults({"method": method, "match": match, "status": 403, "code": "AccessDenied"})
    with pytest.raises(ConfigurationError, match="AccessDenied"):
        steps.process(bucket.place.storage, LAYOUT, 0, 1, fan_in=2)
    bucket.server.faults()
    assert bucket.place.names() == {"l1/0.txt", "l1/1.txt"}


MOMENTS: list[tuple[str, str, Fault]] = [
    ("process.py", "looking", {"method": "HEAD", "wait": 20}),
    ("process.py", "reading", {"method": "GET", "wait": 20, "skip": 3}),
    ("process.py", "beginning", {"method": "POST", "match": "uploads", "wait": 1, "times": 1}),
    ("process.py", "uploading", {"method": "PUT", "match": "partNumber=2", "wait": 20}),
    ("process.py", "throttled", {"method": "PUT", "status": 503, "code": "SlowDown"}),
    ("pipeline.py", "reading", {"method": "GET", "wait": 20, "skip": 4}),
    ("pipeline.py", "throttled", {"method": "POST", "status": 503, "code": "SlowDown"}),
]


@pytest.mark.parametrize(
    ("script", "fault"), [(row[0], row[2]) for row in MOMENTS], ids=[f"{row[0]}-{row[1]}" for row in MOMENTS]
)
def test_sigterm(bucket: Bucket, script: str, fault: Fault) -> None:
    """Wherever it comes, the end is 143 within ten seconds; the target is whole, and no upload is left."""
    contents = put_inputs(bucket.place, 5 * MIB)
    target = "l2/0.txt" if script == "process.py" else "result.txt"
    arguments = [0, 1] if script == "process.py" else ["--levels", 0]
    bucket.server.faults(fault)
    with subprocess.Popen(
        command(script, *arguments, "--root", f"s3://{bucket.name}/r"),
        env=bucket.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not bucket.server.struck():
            time.sleep(0.02)
            assert process.poll() is None, process.communicate()
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        _, stderr = process.communicate(timeout=60)
        seconds = time.monotonic() - started
    bucket.server.faults()
    time.sleep(fault.get("wait", 0) if fault.get("times") else 0)  # what was asked for comes to its end
    assert process.returncode == 143, stderr
    assert seconds < 10
    assert stderr.count("\n") == 1
    assert "SIGTERM" in stderr
    assert bucket.place.get(target) in (None, b"".join(contents))
    assert not [left for left in bucket.place.names() if "unfinished" in left]


def test_a_source_that_is_replaced_is_read_anew(bucket: Bucket) -> None:
    """The target is of one state of each source: the new one."""
    place = bucket.place
    _, second = put_inputs(place, 2 * MIB)
    replaced = False

    def advance(_: int) -> None:
        nonlocal replaced
        if not replaced:
            replaced = True
            place.put("l1/0.txt", b"new!" * (MIB // 2))

    steps.process(place.storage, LAYOUT, 0, 1, fan_in=2, advance=advance)
    assert place.get("l2/0.txt") == b"new!" * (MIB // 2) + second


def test_a_source_that_never_rests_is_refused(bucket: Bucket) -> None:
    """Begun anew once, then 4: the target stays as it was."""
    place = bucket.place
    put_inputs(place, 2 * MIB)
    place.put("l2/0.txt", b"before")
    count = 0

    def advance(_: int) -> None:
        nonlocal count
        count += 1
        place.put("l1/0.txt", b"%04d" % count * (MIB // 2))

    with pytest.raises(IntegrityError, match=r"l1/0\.txt was replaced while it was read"):
        steps.process(place.storage, LAYOUT, 0, 1, fan_in=2, advance=advance)
    assert place.get("l2/0.txt") == b"before"
    assert place.names() == {"l1/0.txt", "l1/1.txt", "l2/0.txt"}


def test_memory_does_not_grow(bucket: Bucket) -> None:
    """Three times the bytes take about the same memory."""
    measured = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    peaks = []
    for size in (16 * MIB, 48 * MIB):
        put_inputs(bucket.place, size)
        join = command("process.py", 0, 1, "--root", f"s3://{bucket.name}/r", "--parallel", 4)
        outcome = subprocess.run(
            [join[0], "-c", measured, *join],
            env=bucket.environment(),
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
        peaks.append(int(outcome.stdout.split()[-1]))
    assert peaks[1] < peaks[0] + 40 * 1024, peaks
