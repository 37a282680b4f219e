"""What the fuzzing found, each as a plain test."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregation import location
from aggregation.errors import AggregationError, MissingInputError
from aggregation.layout import Layout
from aggregation.levels import last_level
from aggregation.stores.opening import open_storage
from aggregation.stores.oss.roles import assume_role
from aggregation.stores.oss.transport import UnansweredError
from aggregation.stores.promise import Settings, Storage
from hostile import Sandbox
from places import variables
from raw_server import ENDLESS, GOOD, RawServer, answer

DEEP = b"[" * 100_000
LETTERS = {"l1/0.txt": b"A", "l1/1.txt": b"B"}


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """A root, with what must not be touched beside it."""
    return Sandbox(tmp_path)


@pytest.fixture
def oss() -> Iterator[tuple[Storage, RawServer]]:
    """A store that tries each request once, and what answers it."""
    server = RawServer()
    settings = {"OSS_ACCESS_KEY_ID": "id", "OSS_ACCESS_KEY_SECRET": "secret"}
    with variables(settings | {"OSS_ENDPOINT": f"http://127.0.0.1:{server.port}"}):
        storage = open_storage(location.parse("oss://demo/a"), Settings(timeout=0.0))
    yield storage, server
    server.answers = dict(GOOD)
    storage.close()
    server.close()


@pytest.mark.parametrize("encoding", ["bogus", "utf-7", "big5"])
@pytest.mark.parametrize(("status", "code"), [("200 OK", 75), ("403 Forbidden", 5)])
def test_a_document_in_an_unknown_encoding(
    oss: tuple[Storage, RawServer], encoding: str, status: str, code: int
) -> None:
    """It is no document; Python has errors of two more kinds for it than for one that is cut short."""
    storage, server = oss
    document = f'<?xml version="1.0" encoding="{encoding}"?><ListBucketResult/>'.encode()
    server.answers = {"listing": answer({}, document, status)}
    with pytest.raises(AggregationError) as caught:
        storage.names("l1")
    assert caught.value.exit_code == code


@pytest.mark.parametrize(("status", "code"), [("412 Precondition Failed", ""), ("404 No", "NoSuchUpload")])
def test_an_answer_to_a_condition_that_was_not_set(
    oss: tuple[Storage, RawServer], status: str, code: str
) -> None:
    """A gateway's 412, or an upload that is said to be gone, where no condition and no upload was named."""
    storage, server = oss
    said = answer({}, f"<Error><Code>{code}</Code></Error>".encode(), status)
    server.answers = dict.fromkeys(("GET", "PUT", "listing", "DELETE", "delete"), said)
    for ask in (
        lambda: storage.read("x", 1),
        lambda: storage.write("x", b"x"),
        lambda: storage.names("l1"),
        lambda: storage.remove(["x"]),
    ):
        with pytest.raises(AggregationError) as caught:
            ask()
        assert caught.value.exit_code == 4


def test_a_listing_in_a_circle(oss: tuple[Storage, RawServer]) -> None:
    """Its pages say in turn that they go on behind each other."""
    storage, server = oss
    page = "<ListBucketResult><IsTruncated>true</IsTruncated><NextMarker>{}</NextMarker></ListBucketResult>"
    server.answers = {
        "listing": [answer({}, page.format(marker).encode()) for marker in "abc"],
    }
    with pytest.raises(AggregationError, match="how it goes on") as caught:
        storage.names("l1")
    assert caught.value.exit_code == 75


def test_heads_without_end(oss: tuple[Storage, RawServer]) -> None:
    """A server that says again and again that its answer follows."""
    storage, server = oss
    server.answers = {"HEAD": b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000}
    with pytest.raises(AggregationError, match="that one follows") as caught:
        storage.find("x")
    assert caught.value.exit_code == 75


@pytest.mark.parametrize("head", [b"\n\n", b"\r\n\r\n"])
def test_an_empty_head(oss: tuple[Storage, RawServer], head: bytes) -> None:
    """An answer that begins with empty lines is none."""
    storage, server = oss
    server.answers = {"HEAD": head + GOOD["HEAD"]}
    with pytest.raises(AggregationError) as caught:
        storage.find("x")
    assert caught.value.exit_code == 75


def test_a_page_without_end(oss: tuple[Storage, RawServer]) -> None:
    """An error's body is read as far as it is of use, and the connection given up."""
    storage, server = oss
    server.answers = {"GET": answer({}, b"x" * 10_000, "403 Forbidden", length=False)}
    server.endless = True
    with pytest.raises(AggregationError) as caught:
        storage.read("x", 1)
    assert caught.value.exit_code == 5
    assert server.sent < ENDLESS


def test_a_role_s_answer_that_is_nested_too_deep() -> None:
    """It is no credentials, as any other document."""
    server = RawServer()
    server.answers = {"POST": answer({}, DEEP)}
    with (
        variables({"ALIBABA_CLOUD_STS_ENDPOINT": f"http://127.0.0.1:{server.port}"}),
        pytest.raises(AggregationError, match="RRSA gave no credentials") as caught,
    ):
        assume_role("asking", "role", os.devnull)
    assert caught.value.exit_code == 5
    server.close()


def test_a_redirect_of_sts_that_is_no_text() -> None:
    """It is no answer, and may be another one next time."""
    server = RawServer()
    server.answers = {"POST": b"HTTP/1.1 302 Found\r\nLocation: \xff\r\nContent-Length: 0\r\n\r\n"}
    with (
        variables({"ALIBABA_CLOUD_STS_ENDPOINT": f"http://127.0.0.1:{server.port}"}),
        pytest.raises(UnansweredError),
    ):
        assume_role("asking", "role", os.devnull)
    server.close()


JOURNAL = {"run": "a", "form": {}, "writer": "host 1 1"}


@pytest.mark.parametrize(
    "journal",
    [
        DEEP,
        json.dumps(JOURNAL | {"form": 5}).encode(),
        json.dumps(JOURNAL | {"form": None}).encode(),
    ],
)
def test_a_journal_that_is_none(sandbox: Sandbox, journal: bytes) -> None:
    """There is nothing to go on with, and the run begins anew."""
    sandbox.fill(LETTERS | {"runs/a/.pipeline.json": journal, "runs/a/.made-l2.json": DEEP})
    assert sandbox.call("pipeline.py", ["--resume", "--files=2", "--levels=1", "--run=a"]).code == 0
    assert (sandbox.root / "result.txt").read_bytes() == b"AB"


@pytest.mark.parametrize("writer", ["host \u00b2 1", f"host {'9' * 5000} 1"])
def test_a_writer_that_is_no_process(sandbox: Sandbox, writer: str) -> None:
    """Digits that int() does not take: the run is another one, and not at work."""
    sandbox.fill(LETTERS | {"runs/a/.pipeline.json": json.dumps(JOURNAL | {"writer": writer}).encode()})
    ended = sandbox.call("pipeline.py", ["--resume", "--files=2", "--levels=1"])
    assert ended.code == 2
    assert "was started as {}" in ended.stderr


@pytest.mark.parametrize("account", [DEEP, b'{"made_by":"inputs.py","missing":1e999,"list":""}'])
def test_an_account_that_is_none(sandbox: Sandbox, account: bytes) -> None:
    """It is another program's file: kept where nothing is missing, an error where its name is needed."""
    name = "result.txt.missing.json"
    sandbox.fill(LETTERS | {name: account, "inputs.txt": b"l1/0.txt\nl1/1.txt\n"})
    assert sandbox.call("merge.py", ["2", "--level=1", "--inputs=inputs.txt"]).code == 0
    assert (sandbox.root / name).read_bytes() == account


def test_a_list_outside_the_root(sandbox: Sandbox) -> None:
    """inputs.py makes lists under the root only, as its help says; the other scripts read them anywhere."""
    sandbox.fill(LETTERS)
    outside = sandbox.cwd / "list"
    ended = sandbox.call("inputs.py", ["--glob=l1/*", f"--inputs={outside}"])
    assert (ended.code, outside.exists()) == (2, False)
    outside = sandbox.root / "list"
    outside.write_bytes(b"l1/1.txt\nl1/0.txt\n")
    assert sandbox.call("merge.py", ["2", "--level=1", f"--inputs={outside}"]).code == 0
    assert (sandbox.root / "result.txt").read_bytes() == b"BA"


@pytest.mark.parametrize("seconds", ["nan", "-nan", "NaN"])
def test_no_number_of_seconds(sandbox: Sandbox, seconds: str) -> None:
    """A request would be tried again for ever."""
    sandbox.fill(LETTERS)
    assert sandbox.call("process.py", ["0", "1", f"--timeout={seconds}"]).code == 2
    assert sandbox.call("process.py", ["0", "1"], {"AGGREGATION_TIMEOUT": seconds}).code == 2
    assert sandbox.call("process.py", ["0", "1", f"--requests-per-second={seconds}"]).code == 2
    for option in ("latency", "bandwidth", "bucket-limit"):
        assert sandbox.call("pipeline.py", ["--dry-run", f"--{option}={seconds}"]).code == 2


@pytest.mark.parametrize("root", ["oss://demo/a", "s3://demo/a"])
def test_a_proxy_s_url_that_cannot_be_read(sandbox: Sandbox, root: str) -> None:
    """It stays as it is, so no retry can help; the password in it is not shown."""
    here = "http://127.0.0.1:9"
    env = {"OSS_ENDPOINT": here, "AWS_ENDPOINT_URL": here, "HTTP_PROXY": "http://user:4secret4@["}
    env |= dict.fromkeys(("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET"), "key")
    env |= dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "key")
    ended = sandbox.call("process.py", ["0", "1", f"--root={root}", "--timeout=0"], env)
    assert (ended.code, "check HTTPS_PROXY" in ended.stderr, "4secret4" in ended.stderr) == (5, True, False)


@pytest.mark.parametrize(
    "base", ["\n", "a\n", "/a//b", "oss://demo/a//b", "oss://demo/a\n", "oss://demo/../a"]
)
def test_a_base_that_holds_no_names(sandbox: Sandbox, base: str) -> None:
    """The root's own store may be named by its URL, whose prefix is looked at as any other."""
    env = {f"OSS_ACCESS_KEY_{name}": "key" for name in ("ID", "SECRET")} | {
        "OSS_ENDPOINT": "http://127.0.0.1:9"
    }
    root = "oss://demo/a" if "://" in base else str(sandbox.root)
    for way in ("--glob=*", "--frames=1-3"):
        assert sandbox.call("inputs.py", [way, f"--from={base}", f"--root={root}"], env).code == 2


def test_a_level_that_no_tree_has(sandbox: Sandbox) -> None:
    """How many files it holds is known without counting up to it."""
    sandbox.fill(LETTERS | {"inputs.txt": b"l1/0.txt\nl1/1.txt\n"})
    arguments = ["0", "9" * 99, "--inputs=inputs.txt", "--partial"]
    assert sandbox.call("process.py", arguments).code == 3
    assert sandbox.call("process.py", [*arguments, "--fan-in=1"]).code == 2


@pytest.mark.parametrize(("script", "code"), [("inputs.py --glob=l1/*", 0), ("inputs.py --frames=0-1", 2)])
def test_a_suffix_with_a_line_end(sandbox: Sandbox, script: str, code: int) -> None:
    """A list of inputs cannot hold names that end so; all else can."""
    sandbox.fill(LETTERS)
    name, *arguments = script.split()
    assert sandbox.call(name, [*arguments, "--suffix=.\n"]).code == code


def test_a_time_beyond_the_calendar(tmp_path: Path) -> None:
    """A mount may give a file any time; the line says the last one that a date can have."""
    root = next(path for path in (Path("/dev/shm"), tmp_path) if path.is_dir() and os.access(path, os.W_OK))
    root /= f"aggregation-{os.getpid()}"
    try:
        for name in ("l1/0.txt", "l2/0.txt"):
            (root / name).parent.mkdir(parents=True)
            (root / name).write_bytes(b"x")
        (root / "l1/1.txt").write_bytes(b"x")
        os.utime(root / "l1/0.txt", (0, 2**62))
        if os.stat(root / "l1/0.txt").st_mtime < 2**61:
            pytest.skip("no file system here keeps such a time")
        with pytest.raises(MissingInputError, match="9999-12-31"):
            last_level(open_storage(location.parse(str(root))), Layout(), 1)
    finally:
        for name in ("l1/0.txt", "l1/1.txt", "l2/0.txt"):
            (root / name).unlink(missing_ok=True)
        for name in ("l1", "l2", ""):
            (root / name).rmdir()
