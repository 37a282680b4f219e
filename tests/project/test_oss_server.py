"""The OSS server of the tests, judged by clients that share no code with it: what the worker rests on."""

import base64
import hashlib
import os
from typing import Any
from urllib.parse import urlencode

import alibabacloud_oss_v2 as oss_v2
import anycrc
import fsspec
import oss2
import pytest
from oss2.models import PartInfo

from oss_clients import connect, refused, send, signed
from oss_server import OssServer

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
def client(server: OssServer) -> Any:
    """The server through alibabacloud-oss-v2, without retries."""
    config = oss_v2.config.load_default()
    keys = (server.access_key_id, server.access_key_secret)
    config.credentials_provider = oss_v2.credentials.StaticCredentialsProvider(*keys)
    config.region, config.endpoint, config.retry_max_attempts = server.region, server.endpoint, 1
    return oss_v2.Client(config)


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
        refused("InvalidRange", connect(server).get_object, "a", wanted, headers=headers)
        return
    got = connect(server).get_object("a", wanted, headers=headers)
    assert (got.status, got.resp.read(), got.server_crc) == (status, data, CRC64(b"0123456789"))


REFUSED: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
    ("NoSuchKey", "get_object", ("none",), {}),
    ("NoSuchKey", "head_object", ("none",), {}),
    ("NoSuchUpload", "upload_part", ("a", "0" * 32, 1, b"1"), {}),
    ("PreconditionFailed", "get_object", ("ten",), {"headers": {"If-Match": "X"}}),
    ("PreconditionFailed", "head_object", ("ten",), {"headers": {"If-Match": "X"}}),
    ("PreconditionFailed", "copy_object", ("demo", "ten", "a", {"x-oss-copy-source-if-match": "X"}), {}),
    ("InvalidDigest", "put_object", ("a", b"1"), {"headers": {"Content-MD5": base64.b64encode(bytes(16))}}),
    ("InvalidArgument", "put_object", ("a", b""), {"headers": {"x-oss-copy-source": "no-slash"}}),
    ("InvalidArgument", "list_objects", (), {"max_keys": 1001}),
    ("InvalidArgument", "list_objects_v2", (), {"continuation_token": "?"}),
    ("InvalidObjectName", "put_object", ("é" * 512, b"1"), {}),
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
