"""Any other file system that fsspec knows: what is refused, one connection, a password in the root."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from aggregation import steps
from aggregation.errors import (
    ConfigurationError,
    IntegrityError,
    MissingInputError,
    RefusedError,
    UnavailableError,
)
from aggregation.layout import Layout, new_temporary
from aggregation.location import parse
from aggregation.stores.opening import open_storage
from aggregation.stores.promise import Settings
from ftp_server import PASSWORD, ftp_server
from scripts import Outcome, command, environment, finished, write_level

LAYOUT = Layout()


class Flawed(MemoryFileSystem):  # type: ignore[misc]
    """Fsspec's memory store, which stores another byte than it was given."""

    protocol = "flawed"

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = super()._open(path, mode, **options)
        if mode == "wb":
            write = file.write
            file.write = lambda data: write(data.replace(b"a", b"x"))
        return file


def call(script: str, *arguments: object, **variables: str) -> Outcome:
    """Run a script as a process of its own."""
    return finished(command(script, *arguments), env=environment(**variables))


REFUSED = [
    ("http://127.0.0.1:9/data", "a web server takes no files"),
    ("https://127.0.0.1:9/data", "a web server takes no files"),
    ("github://owner:name@main/data", "read only"),
    ("zip://data", "cannot remove"),
    ("tar://data", "cannot remove"),
    ("data://x", "cannot remove"),
    ("simplecache::memory://data", "chains"),
    ("filecache::memory://data", "chains"),
    ("blockcache::memory://data", "chains"),
    ("simplecache::/mnt/vol", "chains"),
    ("zip://x::memory://data", "chains"),
    ("simplecache://data", "in front of another"),
    ("memory://a::b", "chains"),
    ("nowhere://data", "fsspec knows no nowhere://"),
    ("gs://bucket/data", "install"),
    ("sftp://127.0.0.1/data", "install"),
    ("s3://bucket/a?versionId=1", "choose a root without"),
    ("ftp:///data", "host"),
]


@pytest.mark.parametrize(("root", "why"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_keep_the_promises_is_refused(root: str, why: str) -> None:
    """Before anything is asked of it: 5, and the reason."""
    with pytest.raises(ConfigurationError, match=why) as raised:
        open_storage(parse(root), Settings(timeout=0.0))
    assert "opening " in str(raised.value)


@pytest.mark.parametrize(
    "root",
    ["http://127.0.0.1:9/data", "simplecache::s3://bucket/a", "ftp:///data", "ftp://host:x/data", "ftp://"],
)
def test_a_refusal_is_one_line(root: str) -> None:
    """As an error of a script: no traceback, and never a bug."""
    outcome = call("process.py", 0, 1, "--root", root)
    assert outcome.returncode == (2 if root == "ftp://" else 5), outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert "a bug" not in outcome.stderr


def test_what_is_read_back_is_compared() -> None:
    """With --verify a store's flaw shows before the target is touched; the line says what was compared."""
    fsspec.register_implementation("flawed", Flawed, clobber=True)
    memory = fsspec.filesystem("memory")
    root = f"test-{os.urandom(4).hex()}"
    memory.pipe({f"/{root}/l1/0.txt": b"bc", f"/{root}/l1/1.txt": b"d", f"/{root}/l2/0.txt": b"old"})
    storage = open_storage(parse(f"flawed://{root}"), Settings(verify=True))
    assert steps.process(storage, LAYOUT, 0, 1, fan_in=2).written.verified
    memory.pipe_file(f"/{root}/l1/1.txt", b"a")
    with pytest.raises(IntegrityError, match="read back"):
        steps.process(storage, LAYOUT, 0, 1, fan_in=2)
    assert memory.cat_file(f"/{root}/l2/0.txt") == b"bcd"
    assert len(memory.find(f"/{root}")) == 3


def test_a_name_is_taken_literally_where_files_are_copied() -> None:
    """A store without a rename copies and removes what it is told, not what a pattern would match."""
    memory = fsspec.filesystem("memory")
    root = f"test-{os.urandom(4).hex()}"
    memory.pipe({f"/{root}/{folder}/l1/{n}.txt": b"%d" % n for folder in ("a*b", "axb") for n in range(2)})
    memory.pipe_file(f"/{root}/axb/l2/0.txt", b"other")
    storage = open_storage(parse(f"memory://{root}/a*b"))
    steps.process(storage, LAYOUT, 0, 1, fan_in=2)
    assert memory.cat_file(f"/{root}/a*b/l2/0.txt") == b"01"
    assert memory.cat_file(f"/{root}/axb/l2/0.txt") == b"other"
    assert len(memory.find(f"/{root}")) == 6


@pytest.fixture
def served(root: Path) -> Iterator[str]:
    """The root's URL on an FTP server, its password included."""
    with ftp_server(root.parent) as url:
        yield f"{url}/root"


def test_a_query_is_no_part_of_a_path_on_ftp(served: str) -> None:
    """A root that fsspec would cut is refused, not cut."""
    with pytest.raises(ConfigurationError, match="choose a root without"):
        open_storage(parse(f"{served}?b"))


@pytest.mark.parametrize("name", ["a*b", "a[x]b", "a b"])
def test_a_name_is_taken_literally_on_ftp(served: str, root: Path, name: str) -> None:
    """A pattern matches nothing but itself."""
    write_level(root / name, 1, [b"a", b"b"])
    write_level(root / "axb", 2, [b"other"])
    storage = open_storage(parse(f"{served}/{name}"))
    steps.process(storage, LAYOUT, 0, 1, fan_in=2)
    assert (root / name / "l2/0.txt").read_bytes() == b"ab"
    storage.remove(["l2/0.txt"])
    assert (root / "axb/l2/0.txt").read_bytes() == b"other"
    assert not (root / name / "l2/0.txt").exists()


@pytest.mark.parametrize(
    ("change", "exit_code", "words"),
    [
        ({}, 0, ""),
        ({f":{PASSWORD}@": f":{PASSWORD}x@"}, 5, "530"),
        ({"/root": "/none"}, 3, "l1/0.txt"),
        ({"@127.0.0.1": "@127.0.0.2"}, 75, "127.0.0.2"),
    ],
    ids=["right", "wrong", "absent", "nobody there"],
)
@pytest.mark.parametrize("script", [["process.py", "0", "1"], ["merge.py", "2"]], ids=lambda value: value[0])
def test_a_password_is_in_no_output(
    served: str, root: Path, change: dict[str, str], exit_code: int, words: str, script: list[str]
) -> None:
    """Whatever goes wrong, with a traceback or as JSON; the root is shown without it."""
    write_level(root, 1, [b"a", b"b"])
    for old, new in change.items():
        served = served.replace(old, new)
    if script[0] == "merge.py" and exit_code == 3:
        words = "no level"
    outcome = call(
        *script, "--debug", "--timeout", "0.2", AGGREGATION_ROOT=served, AGGREGATION_LOG_FORMAT="json"
    )
    assert outcome.returncode == exit_code, outcome.stderr
    assert words in outcome.stderr
    assert "a bug" not in outcome.stderr
    assert PASSWORD not in outcome.stdout + outcome.stderr
    if exit_code:
        assert ":***@" in outcome.stderr


def test_a_connection_that_is_lost_is_opened_again(root: Path) -> None:
    """A server that is started anew in the middle costs nothing but time."""
    write_level(root, 1, [b"a" * 3_000_000, b"b" * 3_000_000])
    with ftp_server(root.parent) as url:
        port = int(url.rpartition(":")[2])
        storage = open_storage(parse(f"{url}/root"), Settings(timeout=20.0))
        assert storage.names("l1")
    with ftp_server(root.parent, port):
        steps.process(storage, LAYOUT, 0, 1, fan_in=2)
    assert (root / "l2/0.txt").read_bytes() == b"a" * 3_000_000 + b"b" * 3_000_000


def test_a_write_that_breaks_is_begun_anew(root: Path) -> None:
    """The server goes while the target is written; the next one gets it whole, and nothing else stays."""
    write_level(root, 1, [b"a" * 9_000_000, b"b" * 9_000_000])
    servers = [ftp_server(root.parent)]
    url = servers[0].__enter__()
    port = int(url.rpartition(":")[2])
    storage = open_storage(parse(f"{url}/root"), Settings(timeout=20.0))
    moved = 0

    def advance(count: int) -> None:
        nonlocal moved
        moved += count
        if moved > 12_000_000 and len(servers) == 1:
            servers[0].__exit__(None, None, None)
            servers.append(ftp_server(root.parent, port))
            servers[1].__enter__()

    try:
        steps.process(storage, LAYOUT, 0, 1, fan_in=2, advance=advance)
    finally:
        servers[-1].__exit__(None, None, None)
    assert (root / "l2/0.txt").read_bytes() == b"a" * 9_000_000 + b"b" * 9_000_000
    assert moved == 18_000_000


def test_a_server_that_stays_away(root: Path) -> None:
    """Tried again until the time is over, then 75."""
    write_level(root, 1, [b"a", b"b"])
    with ftp_server(root.parent) as url:
        storage = open_storage(parse(f"{url}/root"), Settings(timeout=0.5))
    with pytest.raises(UnavailableError):
        steps.process(storage, LAYOUT, 0, 1, fan_in=2)


def test_a_directory_in_the_targets_place(root: Path) -> None:
    """It is never moved into: 6, and nothing is left."""
    write_level(root, 1, [b"a", b"b"])
    (root / "l2/0.txt").mkdir(parents=True)
    storage = open_storage(parse(f"file://{root}"))
    with pytest.raises(RefusedError, match="directory"):
        steps.process(storage, LAYOUT, 0, 1, fan_in=2)
    assert list((root / "l2").rglob("*")) == [root / "l2/0.txt"]


def test_links_are_followed(root: Path) -> None:
    """Many sources are looked up by one listing, which tells links from files."""
    paths = write_level(root, 1, [b"%d," % number for number in range(40)])
    paths[7].rename(root / "elsewhere")
    paths[7].symlink_to(root / "elsewhere")
    steps.merge(open_storage(parse(f"file://{root}")), LAYOUT, 40, level=1, output="result.txt")
    assert (root / "result.txt").read_bytes() == b"".join(b"%d," % number for number in range(40))
    paths[9].unlink()
    paths[9].mkdir()
    with pytest.raises(MissingInputError, match=r"l1/9\.txt is not a file"):
        steps.merge(open_storage(parse(f"file://{root}")), LAYOUT, 40, level=1, output="result.txt")


def test_leftovers_of_others_go_after_a_day(root: Path) -> None:
    """By the times of the folder's own files: what nobody can own any more goes, and nothing else does."""
    write_level(root, 1, [b"a", b"b"])
    old, fresh = (root / "l1" / new_temporary("0.txt", "pod-1").name() for _ in range(2))
    stranger = root / "l1/.0.txt.tmp"
    for path in (old, fresh, stranger):
        path.write_bytes(b"x")
    for path in (old, stranger):
        os.utime(path, (time.time() - 90_000,) * 2)
    storage = open_storage(parse(f"file://{root}"))
    steps.merge(storage, LAYOUT, 2, level=1, output="result.txt")
    assert {path.name for path in (root / "l1").iterdir()} == {"0.txt", "1.txt", fresh.name, stranger.name}
