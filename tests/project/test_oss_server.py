"""The OSS server of the tests, judged by clients that share no code with it: what the worker rests on.

The worker's own tests drive the faults and the server's settings; here is what they take for granted.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import alibabacloud_oss_v2 as oss_v2
import anycrc
import fsspec
import oss2
import pytest
from oss2.models import PartInfo

import oss_server
from oss_server import Answer, Call, Delay, Fault, Hold, OssServer, Truncate, WrongCrc
from oss_server.body import Body, Extent, Memory, Pattern

KB100 = 102_400
GIB = 1 << 30
KEYS = [
    "a b/c  d.txt",
    "plus+and%percent%20",
    "ünï/日本語/😀",
    "?query&x=1#frag",
    "quote\"'<&>",
    "a//b",
    "~-_.!*()",
]
CRC64 = anycrc.Model("CRC64-XZ").calc


@pytest.fixture
def server() -> Iterator[OssServer]:
    """A server with the bucket `demo`."""
    with OssServer(["demo"]) as running:
        yield running


class ClosingSession(oss2.Session):  # type: ignore[misc]
    """A session that can close the answers, too: oss2 leaves some unread, and their sockets open."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Any] = []

    def do_request(self, req: Any, timeout: Any) -> Any:
        """Send a request and remember its answer."""
        answer = super().do_request(req, timeout)
        self.answers.append(answer.response)
        return answer


SESSIONS: list[ClosingSession] = []


@pytest.fixture(autouse=True)
def _close_sessions() -> Iterator[None]:
    """Close what `connect` opened."""
    yield
    while SESSIONS:
        session = SESSIONS.pop()
        for answer in session.answers:
            answer.close()
        session.session.close()


def connect(
    server: OssServer, auth: Any = None, *, name: str = "demo", region: str = "", **options: Any
) -> Any:
    """Return an oss2 bucket that uses V4 signatures, or the given auth; closed after the test."""
    auth = auth or oss2.AuthV4(server.access_key_id, server.access_key_secret)
    SESSIONS.append(ClosingSession())
    region = region or server.region
    return oss2.Bucket(auth, server.endpoint, name, region=region, session=SESSIONS[-1], **options)


@pytest.fixture(params=[oss2.Auth, oss2.AuthV4], ids=["v1", "v4"])
def bucket(request: pytest.FixtureRequest, server: OssServer) -> Any:
    """The bucket `demo` through oss2, once with each signature."""
    return connect(server, request.param(server.access_key_id, server.access_key_secret))


@pytest.fixture
def client(server: OssServer) -> Any:
    """The server through alibabacloud-oss-v2, without retries."""
    config = oss_v2.config.load_default()
    keys = (server.access_key_id, server.access_key_secret)
    config.credentials_provider = oss_v2.credentials.StaticCredentialsProvider(*keys)
    config.region, config.endpoint, config.retry_max_attempts = server.region, server.endpoint, 1
    return oss_v2.Client(config)


def refused(code: str, call: Callable[..., object], *args: Any, **options: Any) -> Any:
    """Check that the service refuses a call with this code; return the error."""
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        call(*args, **options)
    assert caught.value.code == code
    return caught.value


def send(server: OssServer, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Send a request as it stands; return the answer's body, or what `x-oss-err` says."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    connection.request(method, path, body, dict(headers))
    answer = connection.getresponse()
    read = answer.read() or base64.b64decode(answer.headers.get("x-oss-err", ""))
    connection.close()
    return read


def signed(server: OssServer, method: str, key: str = "", query: str = "") -> dict[str, str]:
    """Headers with a V4 signature over this canonical query."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = [stamp[:8], server.region, "oss", "aliyun_v4_request"]
    canonical = f"{method}\n/demo/{key}\n{query}\nx-oss-date:{stamp}\n\n\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    secret = ("aliyun_v4" + server.access_key_secret).encode()
    for part in scope:
        secret = hmac.digest(secret, part.encode(), "sha256")
    text = "\n".join(["OSS4-HMAC-SHA256", stamp, "/".join(scope), digest])
    signature = hmac.digest(secret, text.encode(), "sha256").hex()
    credential = "/".join([server.access_key_id, *scope])
    return {
        "x-oss-date": stamp,
        "Authorization": f"OSS4-HMAC-SHA256 Credential={credential},Signature={signature}",
    }


# Clients


def test_oss2(server: OssServer, bucket: Any) -> None:
    """Bytes, sizes, CRC64, metadata and listings come back for keys that every layer encodes differently."""
    for key in KEYS:
        data = key.encode() * 3
        put = bucket.put_object(key, data, headers={"x-oss-meta-token": "t", "Content-Type": "text/x"})
        assert (put.etag, put.crc) == (hashlib.md5(data).hexdigest().upper(), CRC64(data))
        got = bucket.get_object(key)
        assert (got.read(), got.server_crc, got.object_type) == (data, put.crc, "Normal")
        head = bucket.head_object(key)
        assert (head.content_length, head.etag, head.content_type) == (len(data), put.etag, "text/x")
        assert head.headers["x-oss-meta-token"] == "t"
        assert bucket.get_object_meta(key).content_length == len(data)
    bucket.copy_object("demo", KEYS[1], "copy")
    assert server.get("demo", "copy") == server.get("demo", KEYS[1])
    assert bucket.head_object("copy").headers["x-oss-meta-token"] == "t"
    assert bucket.put_object("chunked", iter([b"x" * 70_000] * 9)).crc == CRC64(b"x" * 630_000)
    bucket.delete_object("chunked")
    bucket.delete_object("chunked")
    assert sorted(bucket.batch_delete_objects([*KEYS, "copy"]).deleted_keys) == sorted([*KEYS, "copy"])
    assert server.keys("demo") == []


def test_alibabacloud_oss_v2(server: OssServer, client: Any) -> None:
    """The new SDK puts, reads, deletes, and runs a whole upload."""
    for key in KEYS:
        put = client.put_object(oss_v2.PutObjectRequest(bucket="demo", key=key, body=key.encode()))
        got = client.get_object(oss_v2.GetObjectRequest(bucket="demo", key=key))
        assert (got.body.content, got.hash_crc64) == (key.encode(), put.hash_crc64)
        got.body.close()
    client.delete_object(oss_v2.DeleteObjectRequest(bucket="demo", key=KEYS[0]))
    objects = [oss_v2.DeleteObject(key=key) for key in KEYS[1:]]
    request = oss_v2.DeleteMultipleObjectsRequest(bucket="demo", objects=objects, quiet=True)
    assert not client.delete_multiple_objects(request).deleted_objects
    assert server.keys("demo") == []
    server.put("demo", "source +%", bytes(2 * KB100))
    upload = client.initiate_multipart_upload(oss_v2.InitiateMultipartUploadRequest(bucket="demo", key="m ü"))
    common = {"bucket": "demo", "key": "m ü", "upload_id": upload.upload_id}
    client.upload_part(oss_v2.UploadPartRequest(part_number=1, body=b"A" * KB100, **common))
    copied = {"source_bucket": "demo", "source_key": "source +%", "source_range": "bytes=0-9"}
    client.upload_part_copy(oss_v2.UploadPartCopyRequest(part_number=2, **copied, **common))
    parts = client.list_parts(oss_v2.ListPartsRequest(**common)).parts
    assert [(part.part_number, part.size) for part in parts] == [(1, KB100), (2, 10)]
    assert parts[0].hash_crc64 == str(CRC64(b"A" * KB100))
    whole = oss_v2.CompleteMultipartUpload(
        parts=[oss_v2.UploadPart(part_number=part.part_number, etag=part.etag) for part in parts]
    )
    request = oss_v2.CompleteMultipartUploadRequest(complete_multipart_upload=whole, **common)
    assert client.complete_multipart_upload(request).hash_crc64 == str(CRC64(b"A" * KB100 + bytes(10)))
    assert server.get("demo", "m ü") == b"A" * KB100 + bytes(10)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves sockets open
def test_ossfs(server: OssServer) -> None:
    """The fsspec file system reads and, by AppendObject, writes: a benchmark compares the worker with it."""
    keys = {"key": server.access_key_id, "secret": server.access_key_secret}
    files = fsspec.filesystem("oss", endpoint=server.endpoint, **keys, skip_instance_cache=True)
    files.pipe_file("demo/l1/1 +%ü.txt", b"BB")
    assert files.find("demo/l1") == ["demo/l1/1 +%ü.txt"]
    with files.open("demo/written", "wb") as file:
        file.write(b"by append")
    assert server.head("demo", "written").kind == "Appendable"
    assert files.cat("demo/written") == b"by append"


# Objects


@pytest.mark.parametrize(
    ("wanted", "standard", "status", "data"),
    [
        ((0, 2), False, 206, b"012"),
        ((7, None), False, 206, b"789"),
        ((None, 4), False, 206, b"6789"),
        ((5, 20), False, 200, b"0123456789"),
        ((5, 20), True, 206, b"56789"),
        ((10, 20), False, 200, b"0123456789"),
        ((10, 20), True, 416, b""),
    ],
)
def test_ranges(server: OssServer, wanted: Any, standard: bool, status: int, data: bytes) -> None:
    """A range outside the object gives all of it, unless the client asks for the standard's behaviour."""
    server.put("demo", "a", b"0123456789")
    headers = {"x-oss-range-behavior": "standard"} if standard else {}
    if status == 416:
        assert refused("InvalidRange", connect(server).get_object, "a", wanted, headers=headers).status == 416
        return
    got = connect(server).get_object("a", wanted, headers=headers)
    assert (got.status, got.resp.read(), got.server_crc) == (status, data, CRC64(b"0123456789"))


REFUSED: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
    ("NoSuchKey", "get_object", ("none",), {}),
    ("NoSuchKey", "head_object", ("none",), {}),
    ("NoSuchKey", "copy_object", ("demo", "none", "a"), {}),
    ("NoSuchBucket", "copy_object", ("nowhere", "a", "a"), {}),
    ("NoSuchUpload", "upload_part", ("a", "0" * 32, 1, b"1"), {}),
    ("NoSuchUpload", "abort_multipart_upload", ("a", "0" * 32), {}),
    ("PreconditionFailed", "get_object", ("ten",), {"headers": {"If-Match": "X"}}),
    ("PreconditionFailed", "head_object", ("ten",), {"headers": {"If-Match": "X"}}),
    ("PreconditionFailed", "copy_object", ("demo", "ten", "a", {"x-oss-copy-source-if-match": "X"}), {}),
    ("InvalidDigest", "put_object", ("a", b"1"), {"headers": {"Content-MD5": base64.b64encode(bytes(16))}}),
    ("InvalidDigest", "put_object", ("a", b"1"), {"headers": {"Content-MD5": "?"}}),
    ("InvalidArgument", "put_object", ("a", b""), {"headers": {"x-oss-copy-source": "no-slash"}}),
    ("InvalidArgument", "list_objects", (), {"max_keys": 1001}),
    ("InvalidArgument", "list_objects_v2", (), {"continuation_token": "?"}),
    ("InvalidObjectName", "put_object", ("é" * 512, b"1"), {}),
    ("InvalidObjectName", "put_object", ("/a", b"1"), {}),
    ("EntityTooLarge", "put_object", ("a", b"0123456789X"), {}),
    ("EntityTooLarge", "put_object", ("a", iter([b"0123456789", b"X"])), {}),
    ("EntityTooLarge", "copy_object", ("demo", "eleven", "a"), {}),
    # What is not implemented says so: ignored, a condition would let through what the service refuses.
    ("NotImplemented", "put_object", ("a", b"1"), {"headers": {"x-oss-forbid-overwrite": "true"}}),
    ("NotImplemented", "get_object", ("ten",), {"headers": {"If-None-Match": "X"}}),
    ("NotImplemented", "get_bucket_acl", (), {}),
    ("NotImplemented", "create_bucket", (), {}),
]


@pytest.mark.parametrize(("code", "method", "args", "options"), REFUSED)
def test_refusals(server: OssServer, code: str, method: str, args: Any, options: Any) -> None:
    """Each is refused with the service's code, and nothing is kept."""
    server.settings.max_put = server.settings.max_copy = 10
    etag = server.put("demo", "ten", b"0123456789").etag
    server.put("demo", "eleven", bytes(11))
    bucket = connect(server)
    assert refused(code, getattr(bucket, method), *args, **options).request_id
    assert server.keys("demo") == ["eleven", "ten"]
    bucket.put_object("é" * 511, b"0123456789")
    assert bucket.get_object("ten", headers={"If-Match": etag}).read() == b"0123456789"
    refused("NoSuchBucket", connect(server, name="other").put_object, "a", b"1")


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_listing_pages(server: OssServer, bucket: Any, client: Any, size: int) -> None:
    """Every page size gives the same keys and common prefixes, in both versions and both SDKs."""
    for key in [*KEYS, "l1/0.txt", "l1/1.txt", "l2/0.txt"]:
        server.put("demo", key, b"123")
    keys = server.keys("demo")
    top = sorted({key.partition("/")[0] + "/" if "/" in key else key for key in keys})
    for iterator in (oss2.ObjectIterator, oss2.ObjectIteratorV2):
        assert [(item.key, item.size) for item in iterator(bucket, max_keys=size)] == [
            (key, 3) for key in keys
        ]
        assert [item.key for item in iterator(bucket, delimiter="/", max_keys=size)] == top
        level = iterator(bucket, prefix="l1/", delimiter="/", max_keys=size)
        assert [item.key for item in level] == ["l1/0.txt", "l1/1.txt"]
    found = []
    request = oss_v2.ListObjectsV2Request(bucket="demo", delimiter="/", max_keys=size)
    for page in client.list_objects_v2_paginator().iter_page(request):
        found += [item.key for item in page.contents or []]
        found += [item.prefix for item in page.common_prefixes or []]
    assert sorted(found) == top


# Multipart uploads


def test_multipart(server: OssServer, bucket: Any) -> None:
    """Uploaded parts, whole copies and inclusive ranges join in order of number, gaps allowed."""
    data = os.urandom(3 * KB100)
    match = {"x-oss-copy-source-if-match": server.put("demo", KEYS[1], data).etag}
    upload_id = bucket.init_multipart_upload("m").upload_id
    copied = bucket.upload_part_copy("demo", KEYS[1], (5, KB100 + 4), "m", upload_id, 7, headers=match)
    whole = bucket.upload_part_copy("demo", KEYS[1], None, "m", upload_id, 2)
    last = bucket.upload_part("m", upload_id, 10_000, b"end")
    assert server.keys("demo") == [KEYS[1]]
    parts = [PartInfo(2, whole.etag), PartInfo(7, copied.etag), PartInfo(10_000, last.etag)]
    done = bucket.complete_multipart_upload("m", upload_id, parts)
    expected = data + data[5 : KB100 + 5] + b"end"
    assert (server.get("demo", "m"), done.crc, done.etag[-2:]) == (expected, CRC64(expected), "-3")
    assert bucket.head_object("m").object_type == "Multipart"
    assert server.uploads("demo") == []
    refused("NoSuchUpload", bucket.complete_multipart_upload, "m", upload_id, parts)


def test_parts_are_checked(server: OssServer) -> None:
    """Numbers, sizes, ranges, ETags and order are what the service takes; the upload outlives a refusal."""
    bucket = connect(server)
    etag = server.put("demo", "ten", b"0123456789").etag
    upload_id = bucket.init_multipart_upload("m").upload_id
    for number in (0, 10_001):
        refused("InvalidArgument", bucket.upload_part, "m", upload_id, number, b"x")
    for span, headers, code in (
        ((5, 10), {}, "InvalidRange"),
        ((5, 4), {}, "InvalidArgument"),
        ((0, 9), {"x-oss-copy-source-if-match": "X"}, "PreconditionFailed"),
    ):
        refused(code, bucket.upload_part_copy, "demo", "ten", span, "m", upload_id, 1, headers=headers)
    server.settings.max_part = 9
    refused("EntityTooLarge", bucket.upload_part_copy, "demo", "ten", None, "m", upload_id, 1)
    refused("EntityTooLarge", bucket.upload_part, "m", upload_id, 1, b"0123456789")
    server.settings.max_part = GIB
    small, big, last = (
        PartInfo(number, bucket.upload_part("m", upload_id, number, bytes(size)).etag)
        for number, size in ((1, KB100 - 1), (2, KB100), (3, 1))
    )
    complete = bucket.complete_multipart_upload
    refused("EntityTooSmall", complete, "m", upload_id, [small, big])
    for wrong in (PartInfo(2, etag), PartInfo(9, last.etag)):
        refused("InvalidPart", complete, "m", upload_id, [wrong])
    refused("MalformedXML", complete, "m", upload_id, [])
    order = "".join(
        f"<Part><PartNumber>{part.part_number}</PartNumber><ETag>{part.etag}</ETag></Part>"
        for part in (last, big)
    )
    body = f"<CompleteMultipartUpload>{order}</CompleteMultipartUpload>".encode()
    query = urlencode({"uploadId": upload_id})
    said = send(server, "POST", f"/demo/m?{query}", signed(server, "POST", "m", query), body)
    assert b"InvalidPartOrder" in said
    complete("m", upload_id, [big, last])
    assert server.get("demo", "m") == bytes(KB100 + 1)


def test_listings_of_uploads(server: OssServer, bucket: Any) -> None:
    """Unfinished uploads and their parts are listed page by page until they are aborted."""
    ids = [bucket.init_multipart_upload(key).upload_id for key in ("a/1", "a/2", "ü +%", "ü +%")]
    listed = [item.upload_id for item in oss2.MultipartUploadIterator(bucket, max_uploads=1)]
    assert (listed[:2], sorted(listed)) == (ids[:2], sorted(ids))
    level = bucket.list_multipart_uploads(delimiter="/")
    assert (level.prefix_list, len(level.upload_list)) == (["a/"], 2)
    for number in (5, 3, 9, 3):
        bucket.upload_part("a/1", ids[0], number, bytes(number))
    parts = list(oss2.PartIterator(bucket, "a/1", ids[0], max_parts=2))
    assert [(part.part_number, part.size) for part in parts] == [(3, 3), (5, 5), (9, 9)]
    for upload in server.uploads("demo"):
        bucket.abort_multipart_upload(upload.key, upload.id)
    assert server.uploads("demo") == []


def test_crc_switches(server: OssServer) -> None:
    """Copies lose their CRC64 by one switch, ListParts by another; uploads keep it."""
    bucket = connect(server)
    server.put("demo", "a", bytes(KB100))
    server.settings.crc_on_copies = False
    bucket.copy_object("demo", "a", "copy")
    assert bucket.head_object("copy").server_crc is None
    upload_id = bucket.init_multipart_upload("m").upload_id
    parts = [
        bucket.upload_part_copy("demo", "a", None, "m", upload_id, 1),
        bucket.upload_part("m", upload_id, 2, b"x"),
    ]
    assert [part.crc for part in parts] == [None, CRC64(b"x")]
    query = urlencode({"uploadId": upload_id})
    for shown in (True, False):
        server.settings.crc_in_list_parts = shown
        said = send(server, "GET", f"/demo/m?{query}", signed(server, "GET", "m", query)).decode()
        assert (f"<HashCrc64ecma>{CRC64(bytes(KB100))}</HashCrc64ecma>" in said) is shown
    whole = [PartInfo(number, part.etag) for number, part in enumerate(parts, start=1)]
    assert bucket.complete_multipart_upload("m", upload_id, whole).crc is None


def test_huge_objects_cost_nothing(server: OssServer) -> None:
    """64 GiB made of part copies of a patterned object has the right CRC64 and reads at any offset."""
    bucket, block = connect(server), bytes(range(251))
    server.put_pattern("demo", "source", 16 * GIB, block)
    upload_id = bucket.init_multipart_upload("huge").upload_id
    parts = []
    for number in range(16):
        first = number % 4 * 4 * GIB
        span = (first, first + 4 * GIB - 1)
        copied = bucket.upload_part_copy("demo", "source", span, "huge", upload_id, number + 1)
        parts.append(PartInfo(number + 1, copied.etag))
    done = bucket.complete_multipart_upload("huge", upload_id, parts)
    assert done.crc == Body([Extent(Pattern(block), 0, 16 * GIB)] * 4).crc()
    offset = 40 * GIB + 7
    got = bucket.get_object("huge", (offset, offset + 9)).resp.read()
    assert got == bytes((offset % (16 * GIB) + i) % 251 for i in range(10))


# Signatures and credentials


@pytest.mark.parametrize("version", [oss2.AUTH_VERSION_1, oss2.AUTH_VERSION_4])
def test_who_may_sign(server: OssServer, version: str) -> None:
    """A wrong secret, an unknown key, no key, another token and an expired one are told apart."""
    key, secret = server.access_key_id, server.access_key_secret
    account, other = server.issue_credentials(), server.issue_credentials()
    theirs, token = (account.access_key_id, account.access_key_secret), account.security_token
    sts = connect(server, oss2.StsAuth(*theirs, token, version))
    sts.put_object("a", b"1")
    for auth, code in (
        (oss2.make_auth(key, "wrong", version), "SignatureDoesNotMatch"),
        (oss2.make_auth("unknown", secret, version), "InvalidAccessKeyId"),
        (oss2.AnonymousAuth(), "AccessDenied"),
        (oss2.StsAuth(*theirs, other.security_token, version), "InvalidSecurityToken"),
        (oss2.make_auth(*theirs, version), "InvalidAccessKeyId"),
        (oss2.StsAuth(key, secret, "token", version), "InvalidSecurityToken"),
    ):
        assert refused(code, connect(server, auth).head_object, "a").status == 403
    server.settings.clock_offset = 10 * 60
    server.settings.credential_seconds = -1
    late = server.issue_credentials()
    auth = oss2.StsAuth(late.access_key_id, late.access_key_secret, late.security_token, version)
    refused("SecurityTokenExpired", connect(server, auth).get_object, "a")


def test_skewed_clocks(server: OssServer, bucket: Any) -> None:
    """A clock off by more than 15 minutes is refused; less passes. V4 names the region."""
    server.settings.clock_offset = 14 * 60
    bucket.put_object("a", b"1")
    for minutes in (16, -16):
        server.settings.clock_offset = minutes * 60
        assert refused("RequestTimeTooSkewed", bucket.get_object, "a").details["ServerTime"]
    server.settings.clock_offset = 0
    assert (
        "signing region"
        in refused("InvalidArgument", connect(server, region="cn-beijing").list_objects).message
    )


@pytest.mark.parametrize("sent", ["prefix", "prefix="])
@pytest.mark.parametrize(("canonical", "taken"), [("prefix", True), ("prefix=", False)])
def test_an_empty_value_is_signed_without_its_sign(
    server: OssServer, sent: str, canonical: str, taken: bool
) -> None:
    """However the URL spells it: oss2 and the Go SDK sign `prefix`; ali-oss signs `prefix=`: refused."""
    headers = signed(server, "GET", query=f"delimiter=%2F&{canonical}")
    said = send(server, "GET", f"/demo/?{sent}&delimiter=%2F", headers)
    assert (b"<ListBucketResult>" in said) is taken
    assert (b"<CanonicalRequest>GET\n/demo/\ndelimiter=%2F&amp;prefix\n" in said) is not taken


# Faults, counters, control


def test_faults(server: OssServer) -> None:
    """A rule hits the chosen occurrences of the chosen key; others pass."""
    bucket = connect(server)
    fault = server.faults.add(
        Fault("PutObject", Answer(503, "ServiceUnavailable"), key="l1/", skip=1, times=2)
    )
    bucket.put_object("l1/0.txt", b"1")
    for _ in range(2):
        assert refused("ServiceUnavailable", bucket.put_object, "l1/0.txt", b"2").status == 503
    assert server.get("demo", "l1/0.txt") == b"1"
    bucket.put_object("l1/0.txt", b"3")
    bucket.put_object("l2/0.txt", b"1")
    assert (fault.seen, fault.hits) == (4, 2)
    server.faults.add(Fault("PutObject", WrongCrc(), times=1))
    with pytest.raises(oss2.exceptions.InconsistentError):
        bucket.put_object("a", b"data")
    server.faults.add(Fault("UploadPartCopy", Call(lambda name, _: server.put(name, "a", b"new")), times=1))
    upload_id = bucket.init_multipart_upload("m").upload_id
    match = {"x-oss-copy-source-if-match": server.head("demo", "a").etag}
    refused(
        "PreconditionFailed", bucket.upload_part_copy, "demo", "a", None, "m", upload_id, 1, headers=match
    )


@pytest.mark.parametrize(("after", "size"), [(None, 10), (3, 10), (0, 10), (100_000, 300_000)])
def test_truncate_fault(server: OssServer, after: int | None, size: int) -> None:
    """A GET's body ends early under a Content-Length that announces all of it."""
    server.put("demo", "a", bytes(size))
    server.faults.add(Fault("GetObject", Truncate(after)))
    got = connect(server).get_object("a")
    assert got.content_length == size
    with pytest.raises(Exception, match="IncompleteRead") as caught:
        got.resp.read()
    assert f"({size // 2 if after is None else after} bytes read" in str(caught.value)


def test_complete_goes_on_without_its_client(server: OssServer) -> None:
    """A client that leaves during Complete does not stop it."""
    bucket = connect(server)
    upload_id = bucket.init_multipart_upload("m").upload_id
    parts = [PartInfo(1, bucket.upload_part("m", upload_id, 1, b"x").etag)]
    held = server.faults.add(Fault("CompleteMultipartUpload", Hold()))
    done = server.faults.add(Fault("CompleteMultipartUpload", Call(lambda *_: None, after=True)))
    with pytest.raises(oss2.exceptions.RequestError):
        connect(server, connect_timeout=0.1).complete_multipart_upload("m", upload_id, parts)
    assert server.keys("demo") == []
    held.release()
    done.wait_until_hit()
    assert server.get("demo", "m") == b"x"


@pytest.mark.parametrize(
    "framing", ["Content-Length: 9\r\n\r\nshort", "Transfer-Encoding: chunked\r\n\r\n9\r\nshort"]
)
def test_a_body_cut_short_is_never_published(server: OssServer, framing: str) -> None:
    """Fewer bytes than announced leave the old object as it was."""
    server.put("demo", "a", b"old")
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(server, "PUT", "a").items())
    with socket.create_connection((server.host, server.port)) as sock:
        sock.sendall(f"PUT /demo/a HTTP/1.1\r\nHost: {server.host}\r\n{head}{framing}".encode())
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""
    assert server.get("demo", "a") == b"old"


def test_refused_bodies_and_waiting_ones(server: OssServer) -> None:
    """A refused upload's body is read, so that its answer arrives; one that waits for leave gets it."""
    assert b"AccessDenied" in send(server, "PUT", "/demo/a", {}, bytes(1 << 20))
    assert b"<Code>AccessDenied</Code>" in send(server, "HEAD", "/demo/a", {})
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(server, "PUT", "a").items())
    with socket.create_connection((server.host, server.port)) as sock:
        sock.sendall(f"PUT /a HTTP/1.1\r\nHost: demo.localhost\r\n{head}".encode())
        sock.sendall(b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"data")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    assert server.get("demo", "a") == b"data"


def test_counters(server: OssServer) -> None:
    """Requests and bytes are counted per operation and per client, and how many came at once."""
    bucket, other = connect(server), server.issue_credentials()
    keys = (other.access_key_id, other.access_key_secret, other.security_token)
    theirs = connect(server, oss2.StsAuth(*keys))
    bucket.put_object("a", bytes(1000))
    held = server.faults.add(Fault("GetObject", Hold()))
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(lambda: theirs.get_object("a").read()) for _ in range(4)]
        while server.counters.total.concurrent < 4:
            time.sleep(0.005)
        held.release()
        assert {len(call.result(10)) for call in calls} == {1000}
    counters = server.counters
    puts, gets = counters.operations["PutObject"], counters.operations["GetObject"]
    assert (puts.requests, gets.requests, gets.max_concurrent, counters.connections) == (1, 4, 4, 5)
    assert 1000 < puts.bytes_in < 2000
    assert 4000 < gets.bytes_out < 6000
    assert counters.clients[other.access_key_id].operations["GetObject"].requests == 4
    assert counters.operations["DeleteObject"].requests == counters.clients["nobody"].total.requests == 0
    counters.reset()
    assert (counters.total.requests, counters.connections, counters.clients) == (0, 0, {})


def test_latency_and_bandwidth(server: OssServer) -> None:
    """Latency delays each request; bandwidth is shared by all; server-side copies cost none."""
    bucket, data = connect(server), bytes(400_000)
    server.latency = 0.1
    began = time.monotonic()
    bucket.put_object("a", b"1")
    assert time.monotonic() - began >= 0.1
    server.latency, server.settings.bandwidth = 0, 4_000_000
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda key: bucket.put_object(key, data), ["a", "b"]))
    bucket.get_object("a").read()
    assert time.monotonic() - began >= 0.25  # 1.2 MB at 4 MB/s
    server.put_pattern("demo", "big", 1 << 50)
    server.settings.max_copy = 1 << 50
    bucket.copy_object("demo", "big", "copy")  # eight years of bandwidth


def test_control_endpoint(server: OssServer) -> None:
    """Another process sets faults and switches and reads counters over HTTP, uncounted."""

    def control(method: str, path: str, value: object = None) -> Any:
        data = b"" if value is None else json.dumps(value).encode()
        return json.loads(send(server, method, path, {}, data))

    action = {"kind": "answer", "status": 500, "code": "InternalError"}
    control("POST", "/-/faults", {"operation": "PutObject", "key": "a", "times": 1, "action": action})
    refused("InternalError", connect(server).put_object, "a", b"1")
    rule = control("GET", "/-/faults")[0]
    assert (rule["hits"], rule["action"]["kind"]) == (1, "answer")
    counters = control("GET", "/-/counters")
    assert counters["total"]["requests"] == counters["operations"]["PutObject"]["requests"] == 1
    assert counters["clients"][server.access_key_id]["total"]["requests"] == counters["connections"] == 1
    assert control("POST", "/-/settings", {"latency": 0.01})["latency"] == server.latency == 0.01
    assert control("DELETE", "/-/faults") == []
    control("POST", "/-/reset", {})
    assert server.counters.total.requests == 0
    for path, value in (("faults", {"action": {"kind": "?"}}), ("settings", {"speed": 1}), ("none", {})):
        assert control("POST", f"/-/{path}", value)["error"]


# Bodies, directory, command line


def test_bodies_share_and_cut() -> None:
    """Ranges and CRC64s of joined bodies and of patterns equal those of the plain bytes."""
    data = os.urandom(1000)
    body = Body.joined([Body.of(data[:300]), Body.of(b""), Body([Extent(Memory(data), 300, 700)])])
    body = Body.joined([body, Body([Extent(Pattern(b"abc"), 0, 700)])])
    expected = data + (b"abc" * 300)[:700]
    assert (body.size, body.read(), body.crc()) == (1700, expected, CRC64(expected))
    for first, size in ((0, 0), (0, 300), (299, 2), (250, 800), (1000, 1), (1699, 1), (1500, 999)):
        part = body.part(first, size)
        assert (part.read(), part.crc()) == (
            expected[first : first + size],
            CRC64(expected[first : first + size]),
        )
        assert b"".join(body.pieces(first, size, 7)) == expected[first : first + size]
    pattern = Pattern(bytes(range(7)))
    for size in (0, 1, 1 << 20, (5 << 20) + 12_345):
        assert pattern.crc(3, size) == CRC64(bytes(pattern.read(3, size)))


def test_directory_mode(tmp_path: Path) -> None:
    """Large bodies live in files, which go with their objects and with the server."""

    def sizes() -> list[int]:
        return sorted(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())

    with OssServer(directory=tmp_path) as server:
        bucket, data = connect(server), os.urandom(3 << 20)
        bucket.put_object("a", data)
        bucket.put_object("chunked", iter([data, data]))
        bucket.put_object("small", b"in memory")
        assert sizes() == [3 << 20, 6 << 20]
        upload_id = bucket.init_multipart_upload("m").upload_id
        copied = bucket.upload_part_copy("demo", "a", (7, 2 << 20), "m", upload_id, 1)
        bucket.complete_multipart_upload("m", upload_id, [PartInfo(1, copied.etag)])
        bucket.batch_delete_objects(["a", "chunked"])
        assert bucket.get_object("m").read() == data[7 : (2 << 20) + 1]
        bucket.delete_object("m")
        assert sizes() == []
        bucket.put_object("a", data)
    assert list(tmp_path.iterdir()) == []


def test_close_ends_everything() -> None:
    """A server closes under held and delayed requests, and leaves no thread."""

    def gone(call: Callable[[str], object]) -> None:
        with pytest.raises(oss2.exceptions.OssError):
            call("a")

    before = set(threading.enumerate())
    with OssServer() as server:
        bucket = connect(server)
        faults = [Fault("GetObject", Hold()), Fault("HeadObject", Delay(60))]
        calls = [
            threading.Thread(target=gone, args=(call,)) for call in (bucket.get_object, bucket.head_object)
        ]
        for fault, call in zip(faults, calls, strict=True):
            server.faults.add(fault)
            call.start()
            fault.wait_until_hit()
    for call in calls:
        call.join(10)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_line(number: signal.Signals, tmp_path: Path) -> None:
    """Started by its path it prints lines for a shell, serves, and ends with exit code 0 by a signal."""
    argv = [sys.executable, str(Path(oss_server.__file__).parent), "--bucket", "one", "--bucket", "two"]
    with subprocess.Popen(
        [*argv, "--directory", str(tmp_path), "--latency", "0.001", "--bandwidth", "1e9"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        names = "OSS_ENDPOINT OSS_REGION OSS_ACCESS_KEY_ID OSS_ACCESS_KEY_SECRET"
        script = "".join(lines) + f"for n in {names}; do eval echo \\$$n; done"
        shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        endpoint, region, key, secret = shell.stdout.split()
        SESSIONS.append(ClosingSession())
        bucket = oss2.Bucket(oss2.AuthV4(key, secret), endpoint, "two", region=region, session=SESSIONS[-1])
        bucket.put_object("a", b"1")
        assert bucket.get_object("a").read() == b"1"
        process.send_signal(number)
        assert process.wait(10) == 0
    assert list(tmp_path.iterdir()) == []
