"""The OSS server of the tests, judged by three clients that share no code with it."""

import base64
import gc
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import alibabacloud_oss_v2 as oss_v2
import anycrc
import fsspec
import oss2
import pytest
from oss2.models import PartInfo

from oss_server import (
    Account,
    Answer,
    Call,
    Delay,
    Fault,
    Hold,
    LoseAnswer,
    OmitCrc,
    OssError,
    OssServer,
    Reset,
    Settings,
    Truncate,
    WrongCrc,
)
from oss_server.body import Body, Extent, Memory, Pattern

KB100 = 102_400
ODD_KEYS = [
    "a b/c  d.txt",
    "plus+and%percent%20",
    "ünï/日本語/😀",
    "?query&x=1#frag",
    "quote\"'<&>",
    "a//b",
    "~-_.!*()",
]
# For oss2 only, which encodes the slashes: requests shortens the path that alibabacloud-oss-v2 gives it.
DOTS = "dot/../dot/./x"
CRC64 = anycrc.Model("CRC64-XZ")
HERE = Path(__file__).resolve().parent


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

    def close(self) -> None:
        """Close all connections."""
        for answer in self.answers:
            answer.close()
        self.session.close()


SESSIONS: list[ClosingSession] = []


@pytest.fixture(autouse=True)
def _close_sessions() -> Iterator[None]:
    """Close what `connect` opened."""
    yield
    while SESSIONS:
        SESSIONS.pop().close()


def connect(server: OssServer, auth: Any = None, *, name: str = "demo", **options: Any) -> Any:
    """Return an oss2 bucket that uses V4 signatures, or the given auth; closed after the test."""
    auth = auth or oss2.AuthV4(server.access_key_id, server.access_key_secret)
    SESSIONS.append(ClosingSession())
    return oss2.Bucket(auth, server.endpoint, name, region=server.region, session=SESSIONS[-1], **options)


def connect_v2(server: OssServer, **options: Any) -> Any:
    """Return a client of alibabacloud-oss-v2 that does not retry."""
    config = oss_v2.config.load_default()
    config.credentials_provider = oss_v2.credentials.StaticCredentialsProvider(
        server.access_key_id, server.access_key_secret
    )
    config.region, config.endpoint, config.retry_max_attempts = server.region, server.endpoint, 1
    for name, value in options.items():
        setattr(config, name, value)
    return oss_v2.Client(config)


@pytest.fixture
def bucket(server: OssServer) -> Any:
    """The bucket `demo` through oss2 with V4 signatures."""
    return connect(server)


@pytest.fixture
def client(server: OssServer) -> Any:
    """The server through alibabacloud-oss-v2."""
    return connect_v2(server)


@pytest.fixture(params=["oss2-v1", "oss2-v4"])
def either(request: pytest.FixtureRequest, server: OssServer) -> Any:
    """The bucket `demo` through oss2, once with each signature."""
    kind = oss2.Auth if request.param == "oss2-v1" else oss2.AuthV4
    return connect(server, kind(server.access_key_id, server.access_key_secret))


def control(server: OssServer, method: str, path: str, value: object = None) -> Any:
    """Ask the control endpoint."""
    data = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(server.endpoint + path, data, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def refused(
    code: str, call: Callable[..., object], *args: Any, **options: Any
) -> oss2.exceptions.ServerError:
    """Check that the service refuses a call with this code; return the error."""
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        call(*args, **options)
    assert caught.value.code == code
    return caught.value


# Objects


def test_put_get_head_and_delete_with_odd_keys(server: OssServer, either: Any) -> None:
    """Bytes, sizes and CRC64 come back for keys that every layer encodes differently."""
    for key in [*ODD_KEYS, DOTS]:
        data = key.encode() * 3
        put = either.put_object(key, data)
        assert put.etag == hashlib.md5(data).hexdigest().upper()
        assert put.crc == CRC64.calc(data)
        got = either.get_object(key)
        assert (got.read(), got.server_crc, got.object_type) == (data, put.crc, "Normal")
        head = either.head_object(key)
        assert (head.content_length, head.etag, head.server_crc) == (len(data), put.etag, put.crc)
        assert either.get_object_meta(key).content_length == len(data)
        assert server.get("demo", key) == data
    assert server.keys("demo") == sorted([*ODD_KEYS, DOTS])
    for key in [*ODD_KEYS, DOTS]:
        either.delete_object(key)
        either.delete_object(key)
    assert server.keys("demo") == []


def test_alibabacloud_oss_v2_with_odd_keys(server: OssServer, client: Any) -> None:
    """The new SDK puts, heads, reads and deletes the same keys."""
    for key in ODD_KEYS:
        put = client.put_object(oss_v2.PutObjectRequest(bucket="demo", key=key, body=key.encode()))
        got = client.get_object(oss_v2.GetObjectRequest(bucket="demo", key=key))
        assert (got.body.content, got.hash_crc64) == (key.encode(), put.hash_crc64)
        assert client.head_object(oss_v2.HeadObjectRequest(bucket="demo", key=key)).etag == put.etag
        meta = client.get_object_meta(oss_v2.GetObjectMetaRequest(bucket="demo", key=key))
        assert meta.content_length == len(key.encode())
        got.body.close()
    for key in ODD_KEYS[1:]:
        client.delete_object(oss_v2.DeleteObjectRequest(bucket="demo", key=key))
    assert server.keys("demo") == ODD_KEYS[:1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves sockets open
def test_ossfs_through_fsspec(server: OssServer) -> None:
    """The fsspec filesystem writes, lists, reads, copies and removes."""
    files = fsspec.filesystem(
        "oss",
        endpoint=server.endpoint,
        key=server.access_key_id,
        secret=server.access_key_secret,
        skip_instance_cache=True,
    )
    files.pipe_file("demo/l1/0.txt", b"A")
    files.pipe_file("demo/l1/1 +%ü.txt", b"BB")
    assert sorted(files.find("demo/l1")) == ["demo/l1/0.txt", "demo/l1/1 +%ü.txt"]
    assert [item["name"] for item in files.ls("demo", detail=True)] == ["demo/l1/"]
    assert files.info("demo/l1/1 +%ü.txt")["size"] == 2
    assert files.cat("demo/l1/1 +%ü.txt") == b"BB"
    files.cp_file("demo/l1/0.txt", "demo/l2/0.txt")
    with files.open("demo/written", "wb") as file:
        file.write(b"by append")
    assert server.head("demo", "written").kind == "Appendable"
    with files.open("demo/written", "rb") as file:
        assert file.read(2) == b"by"
    files.rm("demo/l1", recursive=True)
    assert not files.exists("demo/l1/0.txt")
    assert server.keys("demo") == ["l2/0.txt", "written"]
    with pytest.raises(FileNotFoundError):
        files.cat_file("demo/none")
    del files
    gc.collect()


def test_metadata_comes_back(bucket: Any) -> None:
    """User metadata, content type and storage class are kept, copied, and replaced on demand."""
    bucket.put_object(
        "a", b"1", headers={"x-oss-meta-token": "t1", "Content-Type": "text/x", "x-oss-storage-class": "IA"}
    )
    head = bucket.head_object("a")
    assert (head.headers["x-oss-meta-token"], head.content_type) == ("t1", "text/x")
    assert head.headers["x-oss-storage-class"] == "IA"
    bucket.copy_object("demo", "a", "b")
    assert bucket.head_object("b").headers["x-oss-meta-token"] == "t1"
    replace = {"x-oss-metadata-directive": "REPLACE", "x-oss-meta-token": "t2"}
    bucket.copy_object("demo", "a", "b", headers=replace)
    assert bucket.head_object("b").headers["x-oss-meta-token"] == "t2"
    assert (
        bucket.get_object("a", params={"response-content-type": "text/y"}).headers["content-type"] == "text/y"
    )


@pytest.mark.parametrize(
    ("wanted", "standard", "status", "data"),
    [
        ((0, 2), False, 206, b"012"),
        ((7, None), False, 206, b"789"),
        ((None, 4), False, 206, b"6789"),
        ((5, 20), False, 200, b"0123456789"),
        ((5, 20), True, 206, b"56789"),
        ((None, 20), True, 206, b"0123456789"),
        ((10, 20), False, 200, b"0123456789"),
        ((10, 20), True, 416, b""),
    ],
)
def test_ranges(
    bucket: Any, wanted: tuple[int | None, int | None], standard: bool, status: int, data: bytes
) -> None:
    """A range outside the object gives all of it, unless the client asks for the standard's behaviour."""
    bucket.put_object("a", b"0123456789")
    headers = {"x-oss-range-behavior": "standard"} if standard else {}
    if status == 416:
        assert refused("InvalidRange", bucket.get_object, "a", wanted, headers=headers).status == 416
        return
    got = bucket.get_object("a", wanted, headers=headers)
    assert (got.status, got.resp.read(), got.server_crc) == (status, data, CRC64.calc(b"0123456789"))


def test_conditions(bucket: Any) -> None:
    """If-Match, If-None-Match and the dates decide about 200, 304 and 412."""
    etag = bucket.put_object("a", b"1").etag
    old, new = "Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
    for headers in (
        {"If-Match": f'"{etag}"'},
        {"If-None-Match": '"X"'},
        {"If-Modified-Since": old},
        {"If-Unmodified-Since": new},
    ):
        assert bucket.get_object("a", headers=headers).read() == b"1"
    for headers in ({"If-None-Match": etag}, {"If-Modified-Since": new}):
        with pytest.raises(oss2.exceptions.NotModified):
            bucket.get_object("a", headers=headers)
    for headers in ({"If-Match": "X"}, {"If-Unmodified-Since": old}):
        refused("PreconditionFailed", bucket.get_object, "a", headers=headers)
        refused("PreconditionFailed", bucket.head_object, "a", headers=headers)


def test_content_md5_is_checked(server: OssServer, bucket: Any) -> None:
    """A body that does not fit its Content-MD5 is refused and not kept."""
    good = base64.b64encode(hashlib.md5(b"data").digest()).decode()
    bucket.put_object("good", b"data", headers={"Content-MD5": good})
    for bad in (base64.b64encode(bytes(16)).decode(), "?"):
        refused("InvalidDigest", bucket.put_object, "bad", b"data", headers={"Content-MD5": bad})
    assert server.keys("demo") == ["good"]


def test_errors_of_missing_things(server: OssServer, bucket: Any, client: Any) -> None:
    """A missing object, bucket or upload has its own 404, in a body and in x-oss-err."""
    assert refused("NoSuchKey", bucket.get_object, "none").details["Key"] == "none"
    assert refused("NoSuchKey", bucket.head_object, "none").request_id
    assert not bucket.object_exists("none")
    other = connect(server, name="other")
    refused("NoSuchBucket", other.put_object, "a", b"1")
    refused("NoSuchBucket", other.get_bucket_info)
    refused("NoSuchUpload", bucket.upload_part, "a", "0" * 32, 1, b"1")
    with pytest.raises(oss_v2.exceptions.OperationError, match="NoSuchKey"):
        client.head_object(oss_v2.HeadObjectRequest(bucket="demo", key="none"))
    assert not client.is_object_exist("demo", "none")


def test_names_are_checked(server: OssServer, bucket: Any) -> None:
    """Keys have at most 1,023 bytes and begin with no slash; bucket names follow their rules."""
    bucket.put_object("é" * 511, b"1")
    for key in ("é" * 512, "k" * 1024, "/a", "\\a"):
        refused("InvalidObjectName", bucket.put_object, key, b"1")
    for name in ("ab", "Upper", "-dash", "under_score", "x" * 64):
        with pytest.raises(OssError, match="InvalidBucketName"):
            server.create_bucket(name)


def test_limits_of_sizes(server: OssServer, bucket: Any) -> None:
    """Put, append, parts and single copies have limits, which a test may lower."""
    server.settings.max_put = server.settings.max_part = server.settings.max_copy = 10
    bucket.put_object("ten", b"0123456789")
    refused("EntityTooLarge", bucket.put_object, "a", b"0123456789X")
    refused("EntityTooLarge", bucket.put_object, "a", iter([b"0123456789", b"X"]))
    bucket.append_object("log", 0, b"01234567")
    refused("EntityTooLarge", bucket.append_object, "log", 8, b"XYZ")
    upload_id = bucket.init_multipart_upload("m").upload_id
    refused("EntityTooLarge", bucket.upload_part, "m", upload_id, 1, b"0123456789X")
    server.put("demo", "eleven", bytes(11))
    refused("EntityTooLarge", bucket.upload_part_copy, "demo", "eleven", None, "m", upload_id, 1)
    bucket.upload_part_copy("demo", "eleven", (0, 9), "m", upload_id, 1)
    refused("EntityTooLarge", bucket.copy_object, "demo", "eleven", "b")
    assert server.keys("demo") == ["eleven", "log", "ten"]


def test_append(server: OssServer, bucket: Any, client: Any) -> None:
    """Appends go to the end only, report the next position, and combine the CRC64."""
    first = bucket.append_object("log", 0, b"one ")
    assert first.next_position == 4
    second = bucket.append_object("log", 4, b"two", init_crc=first.crc)
    assert (second.next_position, second.crc) == (7, CRC64.calc(b"one two"))
    with pytest.raises(oss2.exceptions.PositionNotEqualToLength) as caught:
        bucket.append_object("log", 4, b"again")
    assert caught.value.next_position == 7
    bucket.put_object("plain", b"1")
    refused("ObjectNotAppendable", bucket.append_object, "plain", 1, b"2")
    request = oss_v2.AppendObjectRequest(bucket="demo", key="log", position=7, body=b"!")
    assert client.append_object(request).next_position == 8
    assert server.get("demo", "log") == b"one two!"
    assert bucket.head_object("log").headers["x-oss-object-type"] == "Appendable"


def test_delete_many(server: OssServer, bucket: Any, client: Any) -> None:
    """One request deletes up to 1,000 keys and names them, or stays quiet."""
    for key in [*ODD_KEYS, "x", "y", "z"]:
        server.put("demo", key, b"1")
    assert bucket.batch_delete_objects(ODD_KEYS).deleted_keys == ODD_KEYS
    request = oss_v2.DeleteMultipleObjectsRequest(
        bucket="demo", objects=[oss_v2.DeleteObject(key="x"), oss_v2.DeleteObject(key="y")]
    )
    assert [item.key for item in client.delete_multiple_objects(request).deleted_objects] == ["x", "y"]
    quiet = oss_v2.DeleteMultipleObjectsRequest(
        bucket="demo", objects=[oss_v2.DeleteObject(key="z")], quiet=True
    )
    assert not client.delete_multiple_objects(quiet).deleted_objects
    assert server.keys("demo") == []


def test_copy(server: OssServer, either: Any) -> None:
    """CopyObject copies within and across buckets, with odd keys and conditions."""
    server.create_bucket("other")
    source = server.put("other", ODD_KEYS[1], b"data")
    copied = either.copy_object("other", ODD_KEYS[1], ODD_KEYS[2])
    assert copied.etag == source.etag.strip('"')
    assert server.get("demo", ODD_KEYS[2]) == b"data"
    refused(
        "PreconditionFailed",
        either.copy_object,
        "other",
        ODD_KEYS[1],
        "c",
        headers={"x-oss-copy-source-if-match": "X"},
    )
    refused("NoSuchKey", either.copy_object, "other", "none", "c")
    refused("NoSuchBucket", either.copy_object, "nowhere", "a", "c")
    refused("InvalidArgument", either.put_object, "c", b"", headers={"x-oss-copy-source": "no-slash"})


def test_forbid_overwrite(server: OssServer, bucket: Any) -> None:
    """Put, Copy, Init and Complete refuse to replace an object when told so."""
    forbid = {"x-oss-forbid-overwrite": "true"}
    bucket.put_object("a", b"1", headers=forbid)
    refused("FileAlreadyExists", bucket.put_object, "a", b"2", headers=forbid)
    refused("FileAlreadyExists", bucket.copy_object, "demo", "a", "a", headers=forbid)
    refused("FileAlreadyExists", bucket.init_multipart_upload, "a", headers=forbid)
    for on_init, on_complete in ((forbid, None), (None, forbid)):
        upload_id = bucket.init_multipart_upload("b", headers=on_init).upload_id
        part = bucket.upload_part("b", upload_id, 1, b"x")
        server.put("demo", "b", b"meanwhile")
        parts = [PartInfo(1, part.etag)]
        refused(
            "FileAlreadyExists", bucket.complete_multipart_upload, "b", upload_id, parts, headers=on_complete
        )
        server.delete("demo", "b")
    assert server.get("demo", "a") == b"1"


def test_chunked_bodies(server: OssServer, bucket: Any) -> None:
    """A body of unknown length arrives whole."""
    pieces = [bytes([number]) * 70_000 for number in range(40)]
    assert bucket.put_object("a", iter(pieces)).crc == CRC64.calc(b"".join(pieces))
    assert server.get("demo", "a") == b"".join(pieces)


# Buckets and listings


def test_buckets(server: OssServer, client: Any) -> None:
    """Buckets are made, described, listed and deleted when empty."""
    SESSIONS.append(ClosingSession())
    auth = oss2.AuthV4(server.access_key_id, server.access_key_secret)
    service = oss2.Service(auth, server.endpoint, region=server.region, session=SESSIONS[-1])
    made = connect(server, name="made")
    made.create_bucket(oss2.BUCKET_ACL_PRIVATE)
    assert [item.name for item in oss2.BucketIterator(service)] == ["demo", "made"]
    assert [item.name for item in oss2.BucketIterator(service, max_keys=1)] == ["demo", "made"]
    assert [item.name for item in client.list_buckets(oss_v2.ListBucketsRequest()).buckets] == [
        "demo",
        "made",
    ]
    info = made.get_bucket_info()
    assert (info.name, info.location, info.acl.grant) == ("made", "oss-cn-hangzhou", "private")
    assert made.get_bucket_location().location == "oss-cn-hangzhou"
    assert made.get_bucket_acl().acl == "private"
    assert client.is_bucket_exist("made")
    made.put_object("a", b"1")
    refused("BucketNotEmpty", made.delete_bucket)
    made.delete_object("a")
    made.delete_bucket()
    refused("NoSuchBucket", made.get_bucket_info)
    refused("NotImplemented", made.get_bucket_lifecycle)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_listing_pages(server: OssServer, either: Any, client: Any, size: int) -> None:
    """Every page size gives the same keys and common prefixes, in both versions and both SDKs."""
    for key in [*ODD_KEYS, "l1/0.txt", "l1/1.txt", "l2/0.txt"]:
        server.put("demo", key, b"1")
    keys = server.keys("demo")
    top = sorted({key.partition("/")[0] + "/" if "/" in key else key for key in keys})
    for iterator in (oss2.ObjectIterator, oss2.ObjectIteratorV2):
        assert [item.key for item in iterator(either, max_keys=size)] == keys
        assert [item.key for item in iterator(either, delimiter="/", max_keys=size)] == top
        assert [item.key for item in iterator(either, prefix="l1/", delimiter="/", max_keys=size)] == [
            "l1/0.txt",
            "l1/1.txt",
        ]
    pages = client.list_objects_v2_paginator().iter_page(
        oss_v2.ListObjectsV2Request(bucket="demo", delimiter="/", max_keys=size)
    )
    found = []
    for page in pages:
        found += [item.key for item in page.contents or []]
        found += [item.prefix for item in page.common_prefixes or []]
    assert sorted(found) == top


def test_listing_details(server: OssServer, bucket: Any) -> None:
    """Entries tell size, ETag and type; a marker and start-after begin behind a key."""
    stored = server.put("demo", "a", b"123", kind="Appendable")
    server.put("demo", "b", b"")
    item = bucket.list_objects().object_list[0]
    assert (item.size, item.etag, item.type) == (3, stored.etag.strip('"'), "Appendable")
    assert abs(item.last_modified - time.time()) < 60
    assert [item.key for item in bucket.list_objects(marker="a").object_list] == ["b"]
    assert [item.key for item in bucket.list_objects_v2(start_after="a").object_list] == ["b"]
    refused("InvalidArgument", bucket.list_objects, max_keys=1001)
    refused("InvalidArgument", bucket.list_objects_v2, continuation_token="?")


# Multipart uploads


def test_multipart_by_uploads_and_copies(server: OssServer, either: Any) -> None:
    """Uploaded parts, whole copies and inclusive ranges join in order of number, gaps allowed."""
    source = server.put("demo", ODD_KEYS[1], os.urandom(3 * KB100))
    data = server.get("demo", ODD_KEYS[1])
    upload_id = either.init_multipart_upload("m").upload_id
    match = {"x-oss-copy-source-if-match": source.etag}
    copied = either.upload_part_copy("demo", ODD_KEYS[1], (5, KB100 + 4), "m", upload_id, 7, headers=match)
    whole = either.upload_part_copy("demo", ODD_KEYS[1], None, "m", upload_id, 2)
    last = either.upload_part("m", upload_id, 10_000, b"end")
    assert [part.id for part in server.uploads("demo")] == [upload_id]
    assert server.keys("demo") == [ODD_KEYS[1]]
    parts = [PartInfo(2, whole.etag), PartInfo(7, copied.etag), PartInfo(10_000, last.etag)]
    done = either.complete_multipart_upload("m", upload_id, parts)
    expected = data + data[5 : KB100 + 5] + b"end"
    assert server.get("demo", "m") == expected
    assert done.crc == CRC64.calc(expected)
    assert done.etag.endswith("-3")
    head = either.head_object("m")
    assert (head.server_crc, head.object_type) == (done.crc, "Multipart")
    assert server.uploads("demo") == []
    refused("NoSuchUpload", either.complete_multipart_upload, "m", upload_id, parts)


def test_multipart_by_alibabacloud_oss_v2(server: OssServer, client: Any) -> None:
    """The new SDK runs a whole upload: parts, a part copy, ListParts, Complete of all."""
    server.put("demo", "source +%", bytes(2 * KB100))
    upload = client.initiate_multipart_upload(oss_v2.InitiateMultipartUploadRequest(bucket="demo", key="m ü"))
    common = {"bucket": "demo", "key": "m ü", "upload_id": upload.upload_id}
    client.upload_part(oss_v2.UploadPartRequest(part_number=1, body=b"A" * KB100, **common))
    copy = oss_v2.UploadPartCopyRequest(
        part_number=2, source_bucket="demo", source_key="source +%", source_range="bytes=0-9", **common
    )
    client.upload_part_copy(copy)
    parts = client.list_parts(oss_v2.ListPartsRequest(**common)).parts
    assert [(part.part_number, part.size) for part in parts] == [(1, KB100), (2, 10)]
    assert parts[0].hash_crc64 == str(CRC64.calc(b"A" * KB100))
    uploads = client.list_multipart_uploads(oss_v2.ListMultipartUploadsRequest(bucket="demo")).uploads
    assert [item.key for item in uploads] == ["m ü"]
    done = client.complete_multipart_upload(
        oss_v2.CompleteMultipartUploadRequest(complete_all="yes", **common)
    )
    assert done.hash_crc64 == str(CRC64.calc(b"A" * KB100 + bytes(10)))
    assert server.get("demo", "m ü") == b"A" * KB100 + bytes(10)
    second = client.initiate_multipart_upload(oss_v2.InitiateMultipartUploadRequest(bucket="demo", key="n"))
    abort = oss_v2.AbortMultipartUploadRequest(bucket="demo", key="n", upload_id=second.upload_id)
    client.abort_multipart_upload(abort)
    assert server.uploads("demo") == []


def test_complete_checks_its_parts(server: OssServer, bucket: Any) -> None:
    """A small part, a wrong ETag, an unknown number and a wrong order are refused; the upload goes on."""
    upload_id = bucket.init_multipart_upload("m").upload_id
    small = bucket.upload_part("m", upload_id, 1, bytes(KB100 - 1))
    big = bucket.upload_part("m", upload_id, 2, bytes(KB100))
    last = bucket.upload_part("m", upload_id, 3, b"x")
    one, two, three = PartInfo(1, small.etag), PartInfo(2, big.etag), PartInfo(3, last.etag)
    complete = bucket.complete_multipart_upload
    refused("EntityTooSmall", complete, "m", upload_id, [one, two])
    refused("InvalidPart", complete, "m", upload_id, [PartInfo(2, last.etag)])
    refused("InvalidPart", complete, "m", upload_id, [two, PartInfo(9, last.etag)])
    refused("InvalidPart", bucket.complete_multipart_upload, "m", upload_id, [PartInfo(2, '"?"')])
    refused("MalformedXML", complete, "m", upload_id, [])
    for wrong in ([three, two], [two, two]):
        refused("InvalidPartOrder", complete_in_order_given(bucket), "m", upload_id, wrong)
    refused("NoSuchUpload", complete, "other", upload_id, [two])
    complete("m", upload_id, [two, three])
    assert server.get("demo", "m") == bytes(KB100) + b"x"


def complete_in_order_given(bucket: Any) -> Callable[[str, str, list[Any]], None]:
    """Return a Complete that sends the parts as they are; oss2's sorts them."""

    def complete(key: str, upload_id: str, parts: list[Any]) -> None:
        inner = "".join(
            f"<Part><PartNumber>{p.part_number}</PartNumber><ETag>{p.etag}</ETag></Part>" for p in parts
        )
        url = bucket.sign_url("POST", key, 60, params={"uploadId": upload_id})
        body = f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()
        answer = bucket.session.do_request(oss2.http.Request("POST", url, data=body), timeout=10)
        if answer.status >= 300:
            raise oss2.exceptions.make_exception(answer)

    return complete


def test_part_numbers(bucket: Any) -> None:
    """Parts have the numbers 1 to 10,000."""
    upload_id = bucket.init_multipart_upload("m").upload_id
    bucket.upload_part("m", upload_id, 10_000, b"x")
    for number in (0, 10_001):
        refused("InvalidArgument", bucket.upload_part, "m", upload_id, number, b"x")
        refused("InvalidArgument", bucket.upload_part_copy, "demo", "a", None, "m", upload_id, number)


def test_part_copy_conditions_and_ranges(server: OssServer, bucket: Any) -> None:
    """A changed source, a range that it does not hold and (by a switch) an Appendable source are refused."""
    etag = server.put("demo", "a", b"0123456789").etag
    upload_id = bucket.init_multipart_upload("m").upload_id

    def copy(span: tuple[int, int] | None = None, **conditions: str) -> Any:
        headers = {
            f"x-oss-copy-source-if-{name.replace('_', '-')}": value for name, value in conditions.items()
        }
        return bucket.upload_part_copy("demo", "a", span, "m", upload_id, 1, headers=headers)

    copy((0, 9), match=etag, none_match="X", unmodified_since="Fri, 01 Jan 2100 00:00:00 GMT")
    for condition in (
        {"match": "X"},
        {"none_match": etag},
        {"unmodified_since": "Sat, 01 Jan 2000 00:00:00 GMT"},
        {"modified_since": "Fri, 01 Jan 2100 00:00:00 GMT"},
    ):
        assert refused("PreconditionFailed", copy, **condition).status == 412
    refused("InvalidRange", copy, (5, 10))
    refused("InvalidArgument", copy, (5, 4))
    server.put("demo", "a", b"0", kind="Appendable")
    copy()
    server.settings.copy_appendable = False
    refused("OperationNotSupported", copy)


def test_abort_and_listings_of_uploads(server: OssServer, bucket: Any) -> None:
    """Unfinished uploads and their parts are listed page by page until they are aborted."""
    ids = [bucket.init_multipart_upload(key).upload_id for key in ("a/1", "a/2", "ü +%", "ü +%")]
    assert [item.upload_id for item in oss2.MultipartUploadIterator(bucket, max_uploads=1)] == sorted(
        ids, key=lambda upload_id: (ids.index(upload_id) if upload_id in ids[:2] else 2, upload_id)
    )
    listed = bucket.list_multipart_uploads(delimiter="/")
    assert (listed.prefix_list, len(listed.upload_list)) == (["a/"], 2)
    for number in (5, 3, 9):
        bucket.upload_part("a/1", ids[0], number, bytes(number))
    parts = list(oss2.PartIterator(bucket, "a/1", ids[0], max_parts=2))
    assert [(part.part_number, part.size) for part in parts] == [(3, 3), (5, 5), (9, 9)]
    bucket.upload_part("a/1", ids[0], 3, b"again")
    assert bucket.list_parts("a/1", ids[0]).parts[0].size == 5
    refused("BucketNotEmpty", bucket.delete_bucket)
    for upload in server.uploads("demo"):
        bucket.abort_multipart_upload(upload.key, upload.id)
    assert server.uploads("demo") == []
    refused("NoSuchUpload", bucket.abort_multipart_upload, "a/1", ids[0])


def test_crc_switches(server: OssServer, bucket: Any) -> None:
    """Copies lose their CRC64 by one switch, ListParts by another; uploads keep it."""
    server.settings.crc_on_copies = False
    server.put("demo", "a", bytes(KB100))
    bucket.copy_object("demo", "a", "copy")
    assert bucket.head_object("copy").server_crc is None
    upload_id = bucket.init_multipart_upload("m").upload_id
    copied = bucket.upload_part_copy("demo", "a", None, "m", upload_id, 1)
    assert copied.crc is None
    uploaded = bucket.upload_part("m", upload_id, 2, b"x")
    assert uploaded.crc == CRC64.calc(b"x")
    url = bucket.sign_url("GET", "m", 60, params={"uploadId": upload_id})
    with urllib.request.urlopen(url) as answer:
        assert f"<HashCrc64ecma>{CRC64.calc(bytes(KB100))}</HashCrc64ecma>" in answer.read().decode()
    server.settings.crc_in_list_parts = False
    with urllib.request.urlopen(url) as answer:
        assert "HashCrc64ecma" not in answer.read().decode()
    done = bucket.complete_multipart_upload(
        "m", upload_id, [PartInfo(1, copied.etag), PartInfo(2, uploaded.etag)]
    )
    assert done.crc is None
    assert bucket.get_object("m").server_crc is None


def test_huge_objects_cost_nothing(server: OssServer, bucket: Any) -> None:
    """64 GiB made of part copies of a patterned object has the right CRC64 and reads at any offset."""
    gib, block = 1 << 30, bytes(range(251))
    server.put_pattern("demo", "source", 16 * gib, block)
    upload_id = bucket.init_multipart_upload("huge").upload_id
    parts = []
    for number in range(16):
        first = number % 4 * 4 * gib
        copied = bucket.upload_part_copy(
            "demo", "source", (first, first + 4 * gib - 1), "huge", upload_id, number + 1
        )
        parts.append(PartInfo(number + 1, copied.etag))
    done = bucket.complete_multipart_upload("huge", upload_id, parts)
    whole = [Extent(Pattern(block), 0, 16 * gib)] * 4
    assert done.crc == Body(whole).crc()
    assert bucket.head_object("huge").content_length == 64 * gib
    offset = 40 * gib + 7
    got = bucket.get_object("huge", (offset, offset + 9)).resp.read()
    assert got == bytes((offset % (16 * gib) + i) % 251 for i in range(10))


# Signatures and credentials


def test_wrong_secrets_and_unknown_keys(server: OssServer) -> None:
    """Both signatures are checked: a wrong secret, an unknown key and no key are told apart."""
    for kind in (oss2.Auth, oss2.AuthV4):
        wrong = connect(server, kind(server.access_key_id, "wrong"))
        error = refused("SignatureDoesNotMatch", wrong.put_object, "a", b"1")
        assert error.status == 403
        refused("SignatureDoesNotMatch", wrong.head_object, "a")
        refused("InvalidAccessKeyId", connect(server, kind("unknown", "x")).list_objects)
    anonymous = connect(server, oss2.AnonymousAuth())
    assert refused("AccessDenied", anonymous.get_object, "a").status == 403
    refused("AccessDenied", anonymous.list_objects)
    provider = oss_v2.credentials.StaticCredentialsProvider(server.access_key_id, "wrong")
    client = connect_v2(server, credentials_provider=provider)
    with pytest.raises(oss_v2.exceptions.OperationError, match="SignatureDoesNotMatch"):
        client.get_bucket_info(oss_v2.GetBucketInfoRequest(bucket="demo"))
    assert server.keys("demo") == []


def test_v1_of_alibabacloud_oss_v2(server: OssServer) -> None:
    """The new SDK's V1 signatures pass too."""
    client = connect_v2(server, signature_version="v1")
    client.put_object(oss_v2.PutObjectRequest(bucket="demo", key="a b+%", body=b"1", metadata={"m": "1"}))
    page = client.list_objects_v2(oss_v2.ListObjectsV2Request(bucket="demo", prefix="a b+"))
    assert [item.key for item in page.contents] == ["a b+%"]


def test_v4_scope(server: OssServer) -> None:
    """A V4 signature for another region is refused with the service's own words."""
    auth = oss2.AuthV4(server.access_key_id, server.access_key_secret)
    elsewhere = connect(server, auth)
    elsewhere.region = "cn-beijing"
    assert "signing region" in refused("InvalidArgument", elsewhere.list_objects).message


def test_skewed_clocks(server: OssServer, either: Any, client: Any) -> None:
    """A clock off by more than 15 minutes is refused; less passes."""
    server.settings.clock_offset = 14 * 60
    either.put_object("a", b"1")
    server.settings.clock_offset = 16 * 60
    assert refused("RequestTimeTooSkewed", either.get_object, "a").details["ServerTime"]
    server.settings.clock_offset = -16 * 60
    refused("RequestTimeTooSkewed", either.head_object, "a")
    with pytest.raises(oss_v2.exceptions.OperationError, match="RequestTimeTooSkewed"):
        client.get_object_meta(oss_v2.GetObjectMetaRequest(bucket="demo", key="a"))


def test_signed_urls(server: OssServer, either: Any, client: Any) -> None:
    """URLs signed by V1 and V4 work until they expire, and not for another key."""
    server.put("demo", "a ü+", b"data")
    for url in (
        either.sign_url("GET", "a ü+", 60),
        client.presign(oss_v2.GetObjectRequest(bucket="demo", key="a ü+")).url,
    ):
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == b"data"
        with pytest.raises(urllib.error.HTTPError, match="403") as caught:
            urllib.request.urlopen(url.replace("/a%20", "/b%20"))
        caught.value.close()
    late = either.sign_url("GET", "a ü+", 60)
    server.settings.clock_offset = 61
    with pytest.raises(urllib.error.HTTPError, match="403") as caught:
        urllib.request.urlopen(late)
    caught.value.close()


def test_security_tokens(server: OssServer) -> None:
    """Temporary credentials work with their own token, until they expire."""
    account, other = server.issue_credentials(), server.issue_credentials()
    key, secret = account.access_key_id, account.access_key_secret
    for version in (oss2.AUTH_VERSION_1, oss2.AUTH_VERSION_4):
        sts = connect(server, oss2.StsAuth(key, secret, account.security_token, version))
        sts.put_object("a", b"1")
        with urllib.request.urlopen(sts.sign_url("GET", "a", 60)) as answer:
            assert answer.read() == b"1"
        mixed = connect(server, oss2.StsAuth(key, secret, other.security_token, version))
        refused("InvalidSecurityToken", mixed.get_object, "a")
        bare = connect(server, oss2.make_auth(key, secret, version))
        refused("InvalidAccessKeyId", bare.get_object, "a")
        own = oss2.StsAuth(server.access_key_id, server.access_key_secret, "token", version)
        refused("InvalidSecurityToken", connect(server, own).get_object, "a")
    server.accounts.add(Account(key, secret, account.security_token, time.time() - 1))
    refused("SecurityTokenExpired", sts.get_object, "a")
    server.accounts.remove(key)
    refused("InvalidAccessKeyId", sts.get_object, "a")


def test_an_account_with_a_token() -> None:
    """The first account itself may need a token."""
    with OssServer(security_token="t0ken") as server:
        auth = oss2.StsAuth(server.access_key_id, server.access_key_secret, "t0ken", oss2.AUTH_VERSION_4)
        connect(server, auth).put_object("a", b"1")
        refused("InvalidAccessKeyId", connect(server).get_object, "a")
        assert server.environment()["OSS_SESSION_TOKEN"] == "t0ken"


def test_ram_role_of_an_instance(server: OssServer) -> None:
    """oss2's provider takes credentials from the metadata endpoint and signs with them."""
    roles = server.endpoint + "/latest/meta-data/ram/security-credentials/"
    with urllib.request.urlopen(roles) as answer:
        role = answer.read().decode()
    provider = oss2.credentials.EcsRamRoleCredentialsProvider(roles + role)
    connect(server, oss2.ProviderAuthV4(provider)).put_object("a", b"1")
    assert server.get("demo", "a") == b"1"
    assert [name[:4] for name in server.counters.clients if name] == ["STS."]
    token = urllib.request.Request(server.endpoint + "/latest/api/token", method="PUT")
    with urllib.request.urlopen(token) as answer:
        assert answer.read()
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        urllib.request.urlopen(roles + "other")
    caught.value.close()


def test_assume_role_with_oidc(server: OssServer) -> None:
    """STS exchanges an OIDC token, in a form or in the query, for credentials that the server accepts."""
    fields = {
        "Action": "AssumeRoleWithOIDC",
        "RoleArn": "acs:ram::1:role/r",
        "OIDCProviderArn": "acs:ram::1:oidc/p",
    }
    whole = urllib.parse.urlencode({**fields, "OIDCToken": "jwt"})
    for url, data in ((server.endpoint, whole.encode()), (f"{server.endpoint}/?{whole}", b"")):
        with urllib.request.urlopen(url, data) as answer:
            issued = json.load(answer)["Credentials"]
        auth = oss2.StsAuth(
            issued["AccessKeyId"], issued["AccessKeySecret"], issued["SecurityToken"], oss2.AUTH_VERSION_4
        )
        connect(server, auth).put_object("a", b"1")
        assert issued["Expiration"].endswith("Z")
    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        urllib.request.urlopen(server.endpoint, urllib.parse.urlencode(fields).encode())
    assert json.load(caught.value)["Code"] == "MissingParameter.OIDCToken"
    caught.value.close()


# Faults


def test_answer_fault_by_occurrence_and_key(server: OssServer, bucket: Any) -> None:
    """An injected error hits the chosen occurrences of the chosen key, and nothing is carried out."""
    fault = server.faults.add(
        Fault("PutObject", Answer(503, "ServiceUnavailable"), key="l1/", skip=1, times=2)
    )
    bucket.put_object("l1/0.txt", b"1")
    for _ in range(2):
        error = refused("ServiceUnavailable", bucket.put_object, "l1/0.txt", b"2")
        assert (error.status, error.message) == (503, "Injected by a test.")
    assert server.get("demo", "l1/0.txt") == b"1"
    for _ in range(2):
        bucket.put_object("l1/0.txt", b"3")
    bucket.put_object("l2/0.txt", b"1")
    assert (fault.seen, fault.hits) == (5, 2)
    server.faults.clear()
    server.faults.add(Fault("*", Answer(429, "TotalQpsLimitExceeded")))
    assert refused("TotalQpsLimitExceeded", bucket.head_object, "l2/0.txt").status == 429
    server.faults.clear()
    bucket.head_object("l2/0.txt")


def test_delay_fault(server: OssServer, bucket: Any) -> None:
    """A delayed request takes longer, and a client with a short timeout gives up."""
    server.put("demo", "a", b"1")
    server.faults.add(Fault("GetObject", Delay(0.15), times=1))
    began = time.monotonic()
    bucket.get_object("a").read()
    assert time.monotonic() - began >= 0.15
    server.faults.add(Fault("GetObject", Delay(30), times=1))
    with pytest.raises(oss2.exceptions.RequestError, match="timed out"):
        connect(server, connect_timeout=0.05).get_object("a")


def test_reset_fault(server: OssServer, bucket: Any) -> None:
    """A reset connection carries nothing out."""
    server.faults.add(Fault("PutObject", Reset(), times=1))
    with pytest.raises(oss2.exceptions.RequestError):
        bucket.put_object("a", b"1")
    assert server.keys("demo") == []
    bucket.put_object("a", b"1")


def test_lost_answer_fault(server: OssServer, bucket: Any) -> None:
    """A lost answer leaves the work done: the repeated Complete finds no upload, but the object is there."""
    upload_id = bucket.init_multipart_upload("m").upload_id
    parts = [PartInfo(1, bucket.upload_part("m", upload_id, 1, b"x").etag)]
    server.faults.add(Fault("CompleteMultipartUpload", LoseAnswer(), times=1))
    with pytest.raises(oss2.exceptions.RequestError):
        bucket.complete_multipart_upload("m", upload_id, parts)
    refused("NoSuchUpload", bucket.complete_multipart_upload, "m", upload_id, parts)
    assert server.get("demo", "m") == b"x"


@pytest.mark.parametrize(("after", "size"), [(None, 10), (3, 10), (0, 10), (100_000, 300_000)])
def test_truncate_fault(server: OssServer, bucket: Any, after: int | None, size: int) -> None:
    """A GET's body ends early under a Content-Length that announces all of it."""
    server.put("demo", "a", bytes(size))
    server.faults.add(Fault("GetObject", Truncate(after), times=1))
    got = bucket.get_object("a")
    assert got.content_length == size
    with pytest.raises(Exception, match="IncompleteRead") as caught:
        got.resp.read()
    assert f"({size // 2 if after is None else after} bytes read" in str(caught.value)
    assert len(bucket.get_object("a").resp.read()) == size


def test_crc_faults(server: OssServer, bucket: Any) -> None:
    """The CRC64 header of an answer can be wrong or missing; the object's stays right."""
    server.faults.add(Fault("PutObject", WrongCrc(), times=1))
    with pytest.raises(oss2.exceptions.InconsistentError):
        bucket.put_object("a", b"data")
    server.faults.add(Fault("HeadObject", OmitCrc(), times=1))
    assert bucket.head_object("a").server_crc is None
    assert bucket.head_object("a").server_crc == CRC64.calc(b"data")


def test_hold_fault(server: OssServer, bucket: Any) -> None:
    """A held request waits, before or after its work, until it is released."""
    before = server.faults.add(Fault("PutObject", Hold(), key="before"))
    after = server.faults.add(Fault("PutObject", Hold(after=True), key="after"))
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(bucket.put_object, key, b"1") for key in ("before", "after")]
        before.wait_until_hit()
        after.wait_until_hit()
        assert server.keys("demo") == ["after"]
        assert not any(call.done() for call in calls)
        before.release()
        calls[0].result(10)
        assert not calls[1].done()
        server.faults.clear()
        calls[1].result(10)
    assert server.keys("demo") == ["after", "before"]
    with pytest.raises(TimeoutError):
        server.faults.add(Fault("GetObject", Hold())).wait_until_hit(0.01)


def test_call_fault(server: OssServer, bucket: Any) -> None:
    """A callback may change the source between two part copies, which if-match then notices."""
    etag = server.put("demo", "a", b"old").etag
    upload_id = bucket.init_multipart_upload("m").upload_id
    headers = {"x-oss-copy-source-if-match": etag}
    server.faults.add(
        Fault("UploadPartCopy", Call(lambda name, _key: server.put(name, "a", b"new")), skip=1, times=1)
    )
    bucket.upload_part_copy("demo", "a", None, "m", upload_id, 1, headers=headers)
    refused(
        "PreconditionFailed", bucket.upload_part_copy, "demo", "a", None, "m", upload_id, 2, headers=headers
    )


def test_complete_goes_on_without_its_client(server: OssServer, bucket: Any) -> None:
    """A client that leaves during Complete does not stop it."""
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


def test_a_body_cut_short_is_never_published(server: OssServer, bucket: Any) -> None:
    """Fewer bytes than Content-Length leave the old object as it was."""
    server.put("demo", "a", b"old")
    url = bucket.sign_url("PUT", "a", 60)
    target = url.removeprefix(server.endpoint)
    for framing in ("Content-Length: 100\r\n\r\nshort", "Transfer-Encoding: chunked\r\n\r\n64\r\nshort"):
        with socket.create_connection((server.host, server.port)) as sock:
            sock.sendall(f"PUT {target} HTTP/1.1\r\nHost: {server.host}\r\n{framing}".encode())
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(100) == b""
    assert server.get("demo", "a") == b"old"


# HTTP


def test_expect_continue_and_virtual_hosts(server: OssServer) -> None:
    """The server invites a waiting body, and takes the bucket from the Host header too."""
    bucket = connect(server, oss2.Auth(server.access_key_id, server.access_key_secret))
    target = bucket.sign_url("PUT", "a", 60).removeprefix(server.endpoint + "/demo")
    head = (
        f"PUT {target} HTTP/1.1\r\nHost: demo.localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection((server.host, server.port)) as sock:
        sock.sendall(head.encode())
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"data")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    assert server.get("demo", "a") == b"data"


def test_keep_alive_and_refused_bodies(server: OssServer) -> None:
    """A refused upload's body is read, so that the answer arrives and the connection serves on."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    for _ in range(2):
        connection.request("PUT", "/demo/a", body=bytes(1 << 20))
        answer = connection.getresponse()
        assert (answer.status, b"AccessDenied" in answer.read()) == (403, True)
    connection.request("HEAD", "/demo/a")
    answer = connection.getresponse()
    assert b"<Code>AccessDenied</Code>" in base64.b64decode(answer.headers["x-oss-err"])
    assert answer.read() == b""
    connection.close()
    assert server.counters.connections == 1


# Counters, shaping, control


def test_counters(server: OssServer, bucket: Any) -> None:
    """Requests and bytes are counted per operation and per client, before the client sees its answer."""
    other = server.issue_credentials()
    theirs = connect(server, oss2.StsAuth(other.access_key_id, other.access_key_secret, other.security_token))
    bucket.put_object("a", bytes(1000))
    for _ in range(3):
        theirs.get_object("a").read()
    refused("NoSuchKey", bucket.get_object, "none")
    counters = server.counters
    puts, gets = counters.operations["PutObject"], counters.operations["GetObject"]
    assert (puts.requests, gets.requests, counters.total.requests) == (1, 4, 5)
    assert 1000 < puts.bytes_in < 2000
    assert 0 < puts.bytes_out < 1000
    assert 3000 < gets.bytes_out < 6000
    clients = counters.clients
    assert clients[other.access_key_id].operations["GetObject"].requests == 3
    assert clients[server.access_key_id].total.requests == 2
    assert counters.total.bytes_in == sum(ledger.total.bytes_in for ledger in clients.values())
    assert counters.total.concurrent == 0
    assert (counters.total.max_concurrent, counters.connections) == (1, 2)
    assert counters.operations["DeleteObject"].requests == clients["nobody"].total.requests == 0
    counters.reset()
    assert (counters.total.requests, counters.connections, counters.clients) == (0, 0, {})


def test_concurrency_is_counted(server: OssServer) -> None:
    """Four clients at a time make four concurrent requests and four connections, not more."""
    server.put("demo", "a", b"1")
    server.latency = 0.05
    bucket = connect(server)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: bucket.get_object("a").read(), range(8)))
    assert server.counters.operations["GetObject"].max_concurrent == 4
    assert server.counters.connections == 4


def test_latency_and_bandwidth(server: OssServer) -> None:
    """Latency delays each request; bandwidth is shared by all; server-side copies cost none."""
    server.latency = 0.1
    bucket = connect(server)
    began = time.monotonic()
    bucket.put_object("a", b"1")
    assert time.monotonic() - began >= 0.1
    server.latency = 0
    server.bandwidth = 4_000_000
    data = bytes(400_000)
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda key: bucket.put_object(key, data), ["a", "b"]))
    bucket.get_object("a").read()
    assert 0.25 < time.monotonic() - began < 2  # 1.2 MB at 4 MB/s: 0.3 s
    server.put_pattern("demo", "big", 1 << 30)
    began = time.monotonic()
    bucket.copy_object("demo", "big", "copy")
    assert time.monotonic() - began < 5  # 268 s of bandwidth
    server.bandwidth = None


def test_control_endpoint(server: OssServer, bucket: Any) -> None:
    """Another process sets faults and switches and reads counters over HTTP, uncounted."""
    control(
        server,
        "POST",
        "/-/faults",
        {
            "operation": "PutObject",
            "key": "a",
            "times": 1,
            "action": {"kind": "answer", "status": 500, "code": "InternalError"},
        },
    )
    refused("InternalError", bucket.put_object, "a", b"1")
    rule = control(server, "GET", "/-/faults")[0]
    assert (rule["hits"], rule["action"]["kind"]) == (1, "answer")
    counters = control(server, "GET", "/-/counters")
    assert counters["total"]["requests"] == counters["operations"]["PutObject"]["requests"] == 1
    assert counters["clients"][server.access_key_id]["total"]["requests"] == counters["connections"] == 1
    assert (
        control(server, "POST", "/-/settings", {"latency": 0.01, "crc_on_copies": False})["latency"] == 0.01
    )
    assert (server.latency, server.settings.crc_on_copies) == (0.01, False)
    control(server, "POST", "/-/faults", {"action": {"kind": "hold"}, "operation": "InitiateMultipartUpload"})
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(bucket.init_multipart_upload, "m")
        while not control(server, "GET", "/-/faults")[1]["hits"]:
            time.sleep(0.005)
        control(server, "POST", "/-/release", {})
        call.result(10)
    assert [item["key"] for item in control(server, "GET", "/-/uploads?bucket=demo")] == ["m"]
    assert control(server, "DELETE", "/-/faults") == []
    control(server, "POST", "/-/reset", {})
    assert server.counters.total.requests == 0
    for path, value in (
        ("/-/faults", {"action": {"kind": "?"}}),
        ("/-/settings", {"speed": 1}),
        ("/-/none", {}),
    ):
        with pytest.raises(urllib.error.HTTPError) as caught:
            control(server, "POST", path, value)
        assert json.load(caught.value)["error"]
        caught.value.close()


# Bodies, directory, command line


def test_bodies_share_and_cut() -> None:
    """Ranges and CRC64s of joined bodies equal those of the plain bytes."""
    data = os.urandom(1000)
    pattern = (b"abc" * 300)[:700]
    body = Body.joined([Body.of(data[:300]), Body.of(b""), Body([Extent(Memory(data), 300, 700)])])
    body = Body.joined([body, Body([Extent(Pattern(b"abc"), 0, 700)])])
    expected = data + pattern
    assert (body.size, body.read(), body.crc()) == (1700, expected, CRC64.calc(expected))
    for first, size in ((0, 0), (0, 300), (299, 2), (250, 800), (1000, 1), (1699, 1), (0, 1700), (1500, 999)):
        part = body.part(first, size)
        assert part.read() == expected[first : first + size]
        assert part.crc() == CRC64.calc(expected[first : first + size])
        assert b"".join(body.pieces(first, size, 7)) == expected[first : first + size]
    with pytest.raises(ValueError, match="pattern"):
        Pattern(b"")


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (5 << 20) + 12_345])
def test_pattern_crc(size: int) -> None:
    """The CRC64 of a pattern equals that of its bytes, at any offset."""
    pattern = Pattern(bytes(range(7)))
    assert pattern.crc(3, size) == CRC64.calc(bytes(pattern.read(3, size)))


def test_directory_mode(tmp_path: Path) -> None:
    """Large bodies live in files, which go with their objects and with the server."""

    def files() -> list[Path]:
        return [path for path in tmp_path.rglob("*") if path.is_file()]

    with OssServer(directory=tmp_path) as server:
        bucket = connect(server)
        data = os.urandom(3 << 20)
        assert bucket.put_object("a", data).crc == CRC64.calc(data)
        bucket.put_object("chunked", iter([data, data]))
        bucket.put_object("small", b"in memory")
        assert sorted(path.stat().st_size for path in files()) == [3 << 20, 6 << 20]
        upload_id = bucket.init_multipart_upload("m").upload_id
        parts = [PartInfo(1, bucket.upload_part_copy("demo", "a", (7, 2 << 20), "m", upload_id, 1).etag)]
        assert bucket.complete_multipart_upload("m", upload_id, parts).crc == CRC64.calc(
            data[7 : (2 << 20) + 1]
        )
        bucket.delete_object("a")
        bucket.delete_object("chunked")
        assert bucket.get_object("m").read() == data[7 : (2 << 20) + 1]
        assert server.get("demo", "m") == data[7 : (2 << 20) + 1]
        bucket.delete_object("m")
        assert files() == []
        bucket.put_object("a", data)
    assert list(tmp_path.iterdir()) == []


def test_close_ends_everything() -> None:
    """A server closes under held and delayed requests, and leaves no thread."""
    before = set(threading.enumerate())
    with OssServer(settings=Settings(latency=0.001)) as server:
        bucket = connect(server)
        faults = [
            server.faults.add(Fault("GetObject", Hold())),
            server.faults.add(Fault("HeadObject", Delay(60))),
        ]
        calls = [threading.Thread(target=gone, args=(bucket.get_object, "a"))]
        calls.append(threading.Thread(target=gone, args=(bucket.head_object, "a")))
        for call in calls:
            call.start()
        for fault in faults:
            fault.wait_until_hit()
    for call in calls:
        call.join(10)
    assert set(threading.enumerate()) <= before


def gone(call: Callable[[str], object], key: str) -> None:
    """Make a call that fails, in whatever way."""
    with pytest.raises(oss2.exceptions.OssError):
        call(key)


@pytest.mark.parametrize(
    ("command", "number"),
    [(["-m", "oss_server"], signal.SIGTERM), ([str(HERE / "oss_server")], signal.SIGINT)],
)
def test_command_line(command: list[str], number: signal.Signals, tmp_path: Path) -> None:
    """Both ways to start print lines for a shell, serve, and end with exit code 0 by a signal."""
    argv = [sys.executable, *command, "--bucket", "one", "--bucket", "two", "--directory", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(HERE)} if command[0] == "-m" else None
    with subprocess.Popen(
        [*argv, "--latency", "0.001", "--bandwidth", "1e9"],
        env=environment,
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
