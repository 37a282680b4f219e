"""What OSS, and what stands in for it, answers: successes that are none, redirects, odd objects."""

import gzip
import http.server
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import oss2
import pytest

from aggregation import steps
from aggregation.errors import AggregationError, IntegrityError
from aggregation.layout import Layout, new_temporary
from aggregation.stores.promise import Settings
from oss_server import Answer, Fault, Instead, OmitCrc, OssServer, Reset, WrongCrc
from places import Place, oss_place
from scripts import command, environment, finished

LAYOUT = Layout()
MIB = 2**20
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"
ERROR = b"<Error><Code>InternalError</Code><Message>Please try again.</Message></Error>"
DAY = 24 * 3600


@pytest.fixture
def oss(tmp_path: Path) -> Iterator[tuple[Place, OssServer]]:
    """A store that tries for a second, and its server."""
    with oss_place(tmp_path, Settings(timeout=1.0, parallel=4)) as found:
        yield found


def run_worker(script: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script, and return what came of it."""
    env = environment(**variables)
    return finished(command(script, *arguments), env=env)


def fill(place: Place, size: int = 3 * MIB, count: int = 2) -> bytes:
    """Level 1: files of so many bytes; returns all of them."""
    contents = [os.urandom(size) for _ in range(count)]
    for number, content in enumerate(contents):
        place.put(LAYOUT.file(1, number), content)
    return b"".join(contents)


def join(place: Place, count: int = 2) -> steps.Done:
    """Join all of level 1."""
    return steps.process(place.storage, LAYOUT, 0, 1, fan_in=count)


NOT_OSS = {"x-oss-request-id": "", "ETag": ""}
FALSE_SUCCESSES = {
    "a proxy's page": Instead(200, PAGE, NOT_OSS | {"Content-Type": "text/html"}),
    "nothing": Instead(200, b"", NOT_OSS),
    "an error": Instead(200, ERROR),
    "another document": Instead(200, b"<Buckets><IsTruncated>false</IsTruncated></Buckets>"),
    "no document, no ETag": Instead(200, b""),
    "half a document": Instead(200, b"<CompleteMultipartUploadResult><ETag>"),
    "entities without end": Instead(
        200, b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;' + b"&b;" * 9 + b"</x>"
    ),
}


FALSE_ANSWERS = {
    "an object without a size": (
        Instead(200, PAGE, {"Content-Length": "", "ETag": '"x"', "Last-Modified": "never"}),
        75,
    ),
    "a CRC64 that is no number": (
        Instead(200, PAGE, {"ETag": '"x"', "x-oss-hash-crc64ecma": "many", "Last-Modified": "1970"}),
        75,
    ),
    "a range of nothing": (Instead(206, PAGE, {"ETag": '"x"', "Content-Range": "bytes 0-1/*"}), 75),
    "another server's 404": (Instead(404, b"", NOT_OSS), 5),
    "another server's 403": (Instead(403, PAGE, NOT_OSS), 5),
    "a login page": (Instead(302, b"", NOT_OSS | {"Location": "http://127.0.0.1:9/login?secret=x"}), 5),
}
"""Answers to a look, and the exit code."""
READ_AS_REPLACED = {("a CRC64 that is no number", "HeadObject"), ("a range of nothing", "GetObject")}
"""Where another ETag or length says that the source is no longer what it was."""


@pytest.mark.parametrize("false", FALSE_SUCCESSES)
@pytest.mark.parametrize(
    ("operation", "size"),
    [
        ("PutObject", 10),
        ("InitiateMultipartUpload", 3 * MIB),
        ("UploadPartCopy", 3 * MIB),
        ("CompleteMultipartUpload", 3 * MIB),
    ],
)
def test_a_success_that_is_none(oss: tuple[Place, OssServer], operation: str, size: int, false: str) -> None:
    """Answered so for ever, the join ends with 75 and there is no target; answered so once, it is right."""
    place, server = oss
    whole = fill(place, size)
    fault = server.faults.add(Fault(operation, FALSE_SUCCESSES[false]))
    with pytest.raises(AggregationError) as caught:
        join(place)
    assert caught.value.exit_code == 75
    assert place.get("l2/0.txt") is None
    server.faults.remove(fault)
    server.faults.add(Fault(operation, FALSE_SUCCESSES[false], times=1))
    assert join(place).written.size == len(whole)
    assert place.get("l2/0.txt") == whole


@pytest.mark.parametrize(("code", "expected"), [("AccessDenied", 5), ("InternalError", 75)])
def test_an_error_in_a_200(oss: tuple[Place, OssServer], code: str, expected: int) -> None:
    """The service begins to answer before it has copied or completed: the error in the document counts."""
    place, server = oss
    fill(place)
    document = f"<Error><Code>{code}</Code></Error>".encode()
    server.faults.add(Fault("UploadPartCopy", Instead(200, document)))
    with pytest.raises(AggregationError, match=code) as caught:
        join(place)
    assert caught.value.exit_code == expected


@pytest.mark.parametrize("false", FALSE_SUCCESSES)
def test_a_completion_whose_answer_is_hidden(oss: tuple[Place, OssServer], false: str) -> None:
    """Carried out, and never answered as OSS does: a HEAD tells that the object is there, whole and ours."""
    place, server = oss
    whole = fill(place)
    hidden = FALSE_SUCCESSES[false]
    action = Instead(hidden.status, hidden.document, hidden.headers, after=True)
    server.faults.add(Fault("CompleteMultipartUpload", action, times=1))
    server.faults.add(Fault("CompleteMultipartUpload", hidden, skip=1))
    assert join(place).written.verified
    assert place.get("l2/0.txt") == whole
    assert not server.uploads("demo")


@pytest.mark.parametrize("operation", ["ListObjects", "HeadObject", "GetObject"])
@pytest.mark.parametrize("answer", [*FALSE_ANSWERS, *(name for name in FALSE_SUCCESSES if name != "nothing")])
def test_reading_what_is_not_oss(oss: tuple[Place, OssServer], operation: str, answer: str) -> None:
    """One line and the right code, never a bug: 75 where it may pass, 4 or 5 where it stays."""
    action, expected = FALSE_ANSWERS.get(answer) or (FALSE_SUCCESSES[answer], 75)
    if (answer, operation) in READ_AS_REPLACED:
        expected = 4
    place, server = oss
    fill(place, 10)
    server.faults.add(Fault(operation, action))
    with pytest.raises(AggregationError) as caught:
        place.storage.names("l1") if operation == "ListObjects" else join(place)
    assert caught.value.exit_code == expected
    assert "\n" not in str(caught.value)
    assert "secret=x" not in str(caught.value)


@contextmanager
def elsewhere() -> Iterator[tuple[int, list[str]]]:
    """A server that takes all it gets; its port, and what came."""
    came: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def take(self) -> None:
            came.append(f"{self.command} {self.path} {dict(self.headers)}")
            self.send_response(200)
            self.send_header("ETag", '"x"')
            self.send_header("x-oss-request-id", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = take  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, came
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [301, 307])
@pytest.mark.parametrize("operation", ["HeadObject", "GetObject", "PutObject", "*"])
def test_a_redirect_is_not_followed(oss: tuple[Place, OssServer], operation: str, status: int) -> None:
    """No request, and so no signature, goes where it points; the code is 5, and nothing counts as written."""
    place, server = oss
    fill(place, 10)
    with elsewhere() as (port, came):
        location = {"Location": f"http://127.0.0.1:{port}/x"}
        server.faults.add(Fault(operation, Instead(status, b"", location)))
        with pytest.raises(AggregationError) as caught:
            join(place)
    assert caught.value.exit_code == 5
    assert not came
    assert place.get("l2/0.txt") is None


@pytest.mark.parametrize(
    ("code", "document", "expected", "said"),
    [
        ("AccessDenied", "<Message>No policy allows it.</Message>", 5, "No policy allows it."),
        (
            "AccessDenied",
            "<Message>Wrong endpoint.</Message><Endpoint>oss-cn-x.aliyuncs.com</Endpoint>",
            5,
            "set OSS_ENDPOINT to oss-cn-x.aliyuncs.com",
        ),
        ("InvalidObjectState", "<Message>Not restored.</Message>", 5, "restore it first"),
        ("NoSuchBucket", "", 5, "check the bucket"),
        ("SymlinkTargetNotExist", "", 3, "run the step that makes it"),
        ("NoSuchKey", "", 3, "run the step that makes it"),
        ("KmsServiceNotEnabled", "<Message>Look.</Message>", 5, "Look."),
    ],
)
def test_an_error_says_what_to_do(
    oss: tuple[Place, OssServer], code: str, document: str, expected: int, said: str
) -> None:
    """The service's own message, and the cure that fits: an archived object is no matter of credentials."""
    place, server = oss
    fill(place, 10)
    status = 404 if code.startswith(("NoSuch", "Symlink")) else 403
    text = f"<Error><Code>{code}</Code>{document}</Error>".encode()
    server.faults.add(Fault("GetObject", Instead(status, text)))
    with pytest.raises(AggregationError, match=said) as caught:
        join(place)
    assert caught.value.exit_code == expected


def test_objects_with_an_encoding_are_joined_as_stored(oss: tuple[Place, OssServer]) -> None:
    """Compressed or only said to be: the bytes in the bucket are what is joined, small and large."""
    place, server = oss
    for encoding, contents in (
        ("gzip", [gzip.compress(os.urandom(999)) for _ in range(2)]),
        ("gzip", [b"plain", b"text"]),
        ("deflate", [os.urandom(110_000), os.urandom(3 * MIB)]),
    ):
        for number, content in enumerate(contents):
            headers = {"content-encoding": encoding}
            server.put("demo", f"a/root/l1/{number}.txt", content, headers=headers)
        join(place)
        assert place.get("l2/0.txt") == b"".join(contents)


@pytest.mark.parametrize(("size", "count"), [(3 * MIB, 3), (10, 3), (7, 120)])
def test_symlinks_are_joined(oss: tuple[Place, OssServer], size: int, count: int) -> None:
    """A symlink, which the service does not copy and a listing shows with no bytes, is fetched."""
    place, server = oss
    whole = fill(place, size, count)
    server.put("demo", "a/root/l1/1.txt", whole[size : 2 * size], kind="Symlink")
    done = join(place, count)
    assert place.get("l2/0.txt") == whole
    assert done.written.verified


def test_keys_with_dots_are_what_they_are(oss: tuple[Place, OssServer]) -> None:
    """Nothing on the way shortens a key that looks like a path with `..` in it."""
    place, server = oss
    server.put("demo", "a/root/x/../y", b"data")
    assert place.storage.read("x/../y", 4) == b"data"


def test_a_listing_is_tried_again_page_by_page(oss: tuple[Place, OssServer]) -> None:
    """Each page has its own tries and time; all pages arrive, and each request is counted."""
    place, server = oss
    for number in range(3100):
        server.put("demo", f"a/root/l1/{number}.txt", b"")
    server.latency = 0.4
    server.faults.add(Fault("ListObjects", Reset(), skip=3, times=1))
    server.counters.reset()
    assert len(place.storage.names("l1")) == 3100
    assert server.counters.total.requests == 5


def test_an_empty_folder_costs_a_request(oss: tuple[Place, OssServer]) -> None:
    """One listing, whether it holds something or not."""
    place, server = oss
    server.counters.reset()
    assert place.storage.names("l1") == []
    assert server.counters.total.requests == 1


def test_many_parts_and_uploads_are_listed_to_the_end(oss: tuple[Place, OssServer]) -> None:
    """ListParts and ListMultipartUploads go on after 1,000 entries."""
    place, server = oss
    server.settings.crc_on_copies = False
    whole = b""
    with oss_place(Path(), Settings(timeout=5.0, parallel=32)) as (wide, its_server):
        its_server.settings.crc_on_copies = False
        block = os.urandom(102_400)
        for number in range(1100):
            its_server.put("demo", f"a/root/l1/{number}.txt", block)
        done = steps.process(wide.storage, LAYOUT, 0, 1, fan_in=1100)
        assert done.written.verified
        whole = wide.get("l2/0.txt") or b""
    assert whole == block * 1100
    bucket = oss2.Bucket(oss2.Auth("id", "secret"), server.endpoint, "demo")
    stale = [new_temporary("9.txt", "another-host").name() for _ in range(1005)]
    for name in stale:
        bucket.init_multipart_upload(f"a/root/l2/{name}")
    for upload in server.uploads("demo"):
        upload.initiated -= 2 * DAY
    place.storage.sweep("l2")
    assert not server.uploads("demo")


def test_a_wrong_crc_in_an_answer_is_looked_at_again(oss: tuple[Place, OssServer]) -> None:
    """What was sent was compared by the service itself: a HEAD settles whose number is wrong."""
    place, server = oss
    whole = fill(place, 10)
    server.faults.add(Fault("PutObject", WrongCrc()))
    join(place)
    assert place.get("l2/0.txt") == whole
    server.faults.add(Fault("HeadObject", WrongCrc(), key="l2/"))
    with pytest.raises(IntegrityError, match="is published") as caught:
        join(place)
    assert "do not use it" in str(caught.value)


@pytest.mark.parametrize("size", [10, 3 * MIB])
def test_what_verify_refuses_is_not_published(size: int) -> None:
    """With --verify the target stays as it was until what was made has been read back."""
    with oss_place(Path(), Settings(timeout=1.0, verify=True)) as (checked, its_server):
        whole = fill(checked, size)
        checked.put("l2/0.txt", b"old")
        bad = os.urandom(2 * size)
        its_server.faults.add(Fault("GetObject", Instead(206, bad, {"ETag": '"x"'}), key=".tmp"))
        with pytest.raises(AggregationError) as caught:
            join(checked)
        # Of a copied object the bytes are another's; of a small one nothing of that length ever comes.
        assert caught.value.exit_code == (75 if size == 10 else 4)
        assert checked.get("l2/0.txt") == b"old"
        its_server.faults.clear()
        join(checked)
        assert checked.get("l2/0.txt") == whole
        assert not [name for name in checked.names() if ".tmp" in name]


def test_what_others_began_is_left_alone(oss: tuple[Place, OssServer]) -> None:
    """Old uploads of other programs, and objects that look like ours, stay; our own go after a day."""
    place, server = oss
    fill(place, 10)
    bucket = oss2.Bucket(oss2.Auth("id", "secret"), server.endpoint, "demo")
    ours = new_temporary("0.txt", "another-host").name()
    fresh = new_temporary("1.txt", "another-host").name()
    foreign = {f"a/root/{name}" for name in ("l1/backup.tar", "result.txt", "l1/.backup.2024.12.31.tmp")}
    for key in (*foreign, f"a/root/l1/{ours}", f"a/root/l1/{fresh}"):
        bucket.init_multipart_upload(key)
        server.put("demo", key, b"x", modified=time.time() - (0.9 if fresh in key else 2) * DAY)
    for upload in server.uploads("demo"):
        upload.initiated -= 2 * DAY if fresh not in upload.key else 0.9 * DAY
    place.storage.sweep("l1")
    place.storage.sweep("")
    assert {upload.key for upload in server.uploads("demo")} == foreign | {f"a/root/l1/{fresh}"}
    kept = {str(key) for key in server.keys("demo", "a/root/")}
    assert f"a/root/l1/{ours}" not in kept
    assert foreign | {f"a/root/l1/{fresh}"} <= kept


def test_a_run_s_folder_goes_with_its_uploads(oss: tuple[Place, OssServer]) -> None:
    """Whoever began them: nobody completes them any more. Those beside the folder stay."""
    place, server = oss
    bucket = oss2.Bucket(oss2.Auth("id", "secret"), server.endpoint, "demo")
    for run in ("r", "rr"):
        bucket.init_multipart_upload(f"a/root/runs/{run}/l2/0.txt")
    place.storage.remove_tree("runs/r")
    assert [upload.key for upload in server.uploads("demo")] == ["a/root/runs/rr/l2/0.txt"]


def test_the_day_is_the_services(oss: tuple[Place, OssServer]) -> None:
    """A node's clock that differs makes a leftover neither younger nor older."""
    place, server = oss
    bucket = oss2.Bucket(oss2.Auth("id", "secret"), server.endpoint, "demo")
    bucket.init_multipart_upload(f"a/root/l1/{new_temporary('0.txt', 'another-host').name()}")
    for upload in server.uploads("demo"):
        upload.initiated = time.time() - DAY + 600
    place.storage.sweep("l1")
    assert server.uploads("demo")
    server.settings.clock_offset = 800
    place.storage.sweep("l1")
    assert not server.uploads("demo")


def test_a_lost_beginning_takes_no_older_upload_along(oss: tuple[Place, OssServer]) -> None:
    """A stray of our own is aborted by its time; an upload into the same key that began before it is not."""
    place, server = oss
    whole = fill(place)
    bucket = oss2.Bucket(oss2.Auth("id", "secret"), server.endpoint, "demo")
    older = bucket.init_multipart_upload("a/root/l2/0.txt").upload_id
    for upload in server.uploads("demo"):
        upload.initiated -= 60
    server.faults.add(Fault("InitiateMultipartUpload", Instead(200, PAGE, NOT_OSS, after=True), times=1))
    join(place)
    assert place.get("l2/0.txt") == whole
    assert [upload.id for upload in server.uploads("demo")] == [older]


def test_an_unknown_error_of_the_service_is_tried_again(oss: tuple[Place, OssServer]) -> None:
    """A status from 500 on passes, whatever its code."""
    place, server = oss
    whole = fill(place, 10)
    server.faults.add(Fault("GetObject", Answer(507, "NeverHeardOf"), times=2))
    join(place)
    assert place.get("l2/0.txt") == whole


def test_a_command_is_a_worker(oss: tuple[Place, OssServer]) -> None:
    """The line of an error that is not OSS's names host and variable."""
    _, server = oss
    server.faults.add(Fault("HeadObject", Instead(200, PAGE, NOT_OSS)))
    outcome = run_worker(
        "process.py", 0, 1, "--root", "oss://demo/a", "--timeout", "0.3", **server.environment()
    )
    assert outcome.returncode == 75
    assert "(OSS_ENDPOINT)" in outcome.stderr
    assert "127.0.0.1:" in outcome.stderr


def test_another_range_or_state_is_not_taken(oss: tuple[Place, OssServer]) -> None:
    """An answer of the right length that is of another object's state, or begins elsewhere, is no answer."""
    place, server = oss
    fill(place, 10)
    etag = server.head("demo", "a/root/l1/0.txt").etag
    for headers in (
        {"ETag": '"other"', "Content-Range": "bytes 0-9/10"},
        {"ETag": etag, "Content-Range": "bytes 5-14/99"},
    ):
        server.faults.add(Fault("GetObject", Instead(206, b"Z" * 10, headers), key="l1/0"))
        with pytest.raises(AggregationError) as caught:
            join(place)
        assert caught.value.exit_code == 75
        server.faults.clear()
    assert place.get("l2/0.txt") is None


def test_a_put_that_did_not_take_place(oss: tuple[Place, OssServer]) -> None:
    """Answered with everything but a CRC64, and not carried out: a HEAD tells, and it is 75."""
    place, server = oss
    fill(place, 10)
    place.put("l2/0.txt", b"old")
    server.faults.add(Fault("PutObject", Instead(200, PAGE, {"ETag": '"x"'})))
    with pytest.raises(AggregationError, match="is not there") as caught:
        join(place)
    assert caught.value.exit_code == 75


def test_a_completion_that_never_ran_is_not_an_earlier_one(oss: tuple[Place, OssServer]) -> None:
    """The object that this process wrote before, of the same size, does not pass for the new one."""
    place, server = oss
    fill(place)
    join(place)
    before = place.get("l2/0.txt")
    fill(place)
    server.faults.add(Fault("CompleteMultipartUpload", Instead(200, PAGE, NOT_OSS)))
    with pytest.raises(AggregationError) as caught:
        join(place)
    assert caught.value.exit_code == 75
    assert place.get("l2/0.txt") == before


@pytest.mark.parametrize(
    "page",
    [
        b"<Contents><Key>a/root/l1/0.txt</Key><Size>x</Size></Contents>",
        b"<Contents><Key>a/root/l1/0.txt</Key><Size>1</Size><LastModified>?</LastModified></Contents>",
        b"<Contents><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>",
        b"<IsTruncated>true</IsTruncated>",
        b"<IsTruncated>true</IsTruncated><NextMarker>a</NextMarker>",
    ],
)
def test_a_page_that_cannot_be_read(oss: tuple[Place, OssServer], page: bytes) -> None:
    """Tried again as a request that fails; a listing that never goes on ends too."""
    place, server = oss
    place.put("l1/0.txt", b"x")
    document = b"<ListBucketResult>" + page + b"</ListBucketResult>"
    server.faults.add(Fault("ListObjects", Instead(200, document)))
    with pytest.raises(AggregationError) as caught:
        place.storage.names("l1")
    assert caught.value.exit_code == 75
    server.faults.clear()
    if b"IsTruncated" not in page:
        server.faults.add(Fault("ListObjects", Instead(200, document), times=1))
        assert place.storage.names("l1") == ["0.txt"]


def test_a_target_has_the_type_of_its_name(oss: tuple[Place, OssServer]) -> None:
    """Made by one PUT or in parts."""
    place, server = oss
    for size in (10, 3 * MIB):
        fill(place, size)
        join(place)
        assert server.head("demo", "a/root/l2/0.txt").headers["content-type"] == "text/plain"


def test_verify_where_the_service_says_no_crc() -> None:
    """What was published is read back too, so that the summary may say verified."""
    with oss_place(Path(), Settings(timeout=1.0, verify=True)) as (place, server):
        server.settings.crc_on_copies = server.settings.crc_in_list_parts = False
        whole = fill(place, 6 * MIB)
        for operation in ("HeadObject", "GetObject"):
            server.faults.add(Fault(operation, OmitCrc()))
        assert join(place).written.verified
        assert place.get("l2/0.txt") == whole


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "NoSuchKey", 3),
        (404, "NoSuchBucket", 5),
        (403, "AccessDenied", 5),
        (403, "SignatureDoesNotMatch", 5),
        (403, "InvalidAccessKeyId", 5),
        (403, "InvalidSecurityToken", 5),
        (403, "InvalidObjectState", 5),
        (403, "RequestTimeTooSkewed", 75),
        (400, "InvalidBucketName", 5),
        (400, "EntityTooSmall", 6),
        (400, "InvalidPart", 6),
        (400, "InvalidDigest", 75),
        (409, "FileAlreadyExists", 6),
        (409, "PositionNotEqualToLength", 6),
        (409, "ObjectNotAppendable", 6),
        (412, "PreconditionFailed", 4),
        (408, "RequestTimeout", 75),
        (429, "", 75),
        (500, "InternalError", 75),
        (503, "ServiceUnavailable", 75),
        (503, "TotalQpsLimitExceeded", 75),
        (503, "UploadTrafficRateLimitExceeded", 75),
        (503, "DownloadTrafficRateLimitExceeded", 75),
        (403, "MetaOperationQpsLimitExceeded", 75),
        (403, "ActiveRequestLimitExceeded", 75),
        (507, "", 75),
    ],
)
def test_each_answer_has_its_exit_code(
    oss: tuple[Place, OssServer], status: int, code: str, expected: int
) -> None:
    """The service's table, row by row, as a join meets it; the target stays as it was."""
    place, server = oss
    fill(place, 10)
    place.put("l2/0.txt", b"old")
    server.faults.add(Fault("GetObject", Answer(status, code)))
    with pytest.raises(AggregationError) as caught:
        join(place)
    assert caught.value.exit_code == expected
    assert place.get("l2/0.txt") == b"old"
