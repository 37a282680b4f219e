"""Every store under one face, for the contract suite: a new store joins by one function here."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import fsspec

import machine
import slow_mount
from aggregation import location
from aggregation.stores.opening import open_storage
from aggregation.stores.promise import Settings, Storage
from ftp_server import ftp_server
from oss_server import OssServer
from s3_server import S3Server


class Place(NamedTuple):
    """A root, its store, and a way past the store to the bytes that are really there."""

    storage: Storage
    put: Callable[[str, bytes], None]
    get: Callable[[str], bytes | None]
    names: Callable[[], set[str]]
    """Everything under the root, temporaries and unfinished uploads included."""
    costly: bool = False
    """Whether the server behind it takes its time: a property is tried on fewer examples."""


@contextmanager
def local(folder: Path, root: Path | None = None, behind: Path | None = None) -> Iterator[Place]:
    """A directory; or one that is mounted, with what is behind it."""
    if root is None:
        root = folder / "root"
        root.mkdir()
    held = behind or root

    def put(name: str, data: bytes) -> None:
        (held / name).parent.mkdir(parents=True, exist_ok=True)
        (held / name).write_bytes(data)

    def get(name: str) -> bytes | None:
        return (held / name).read_bytes() if (held / name).is_file() else None

    def names() -> set[str]:
        return {str(path.relative_to(held)) for path in held.rglob("*") if path.is_file()}

    storage = open_storage(location.parse(str(root)))
    yield Place(storage, put, get, names)
    storage.close()


@contextmanager
def mount(folder: Path) -> Iterator[Place]:
    """A FUSE mount that works as an object store's does."""
    machine.fuse()
    behind, root = folder / "behind", folder / "root"
    behind.mkdir()
    root.mkdir()
    with slow_mount.mounted(behind, root, latency=0.001), local(folder, root, behind) as place:
        yield place._replace(costly=True)


@contextmanager
def memory(folder: Path) -> Iterator[Place]:
    """Fsspec's own store, as one of the many that fsspec knows."""
    root = f"test-{folder.name}-{os.urandom(4).hex()}"
    files = fsspec.filesystem("memory")

    def get(name: str) -> bytes | None:
        try:
            data: bytes = files.cat_file(f"/{root}/{name}")
        except FileNotFoundError:
            return None
        return data

    def names() -> set[str]:
        return {path.removeprefix(f"/{root}/") for path in files.find(f"/{root}")}

    storage = open_storage(location.parse(f"memory://{root}"))
    yield Place(storage, lambda name, data: files.pipe_file(f"/{root}/{name}", data), get, names)
    storage.close()


@contextmanager
def files(folder: Path) -> Iterator[Place]:
    """A directory, by fsspec's way: a file system that renames."""
    with local(folder) as place:
        storage = open_storage(location.parse(f"file://{folder}/root"))
        yield place._replace(storage=storage)
        storage.close()


@contextmanager
def ftp(folder: Path) -> Iterator[Place]:
    """A store whose URL has a host, and whose file system has one connection."""
    with local(folder) as place, ftp_server(folder) as url:
        storage = open_storage(location.parse(f"{url}/root"), Settings(timeout=5.0))

        def put(name: str, data: bytes) -> None:
            beside = folder / "new"
            beside.write_bytes(data)
            (folder / "root" / name).parent.mkdir(parents=True, exist_ok=True)
            beside.rename(folder / "root" / name)  # FTP tells times to the second: another file shows at once

        yield place._replace(storage=storage, put=put)
        storage.close()


@contextmanager
def s3(folder: Path) -> Iterator[Place]:
    """S3's protocol on moto's server, through s3fs."""
    with s3_place(folder) as (place, _, _):
        yield place


@contextmanager
def s3_place(
    _: Path,
    prefix: str = "a/root",
    settings: Settings = Settings(timeout=5.0),  # noqa: B008 - it is frozen
) -> Iterator[tuple[Place, S3Server, str]]:
    """An empty bucket, its server and its name, for tests that look at all."""
    server = S3Server.shared()
    server.faults()
    bucket = server.bucket()

    def names() -> set[str]:
        keys = {key.removeprefix(f"{prefix}/") for key in server.keys(bucket)}
        return keys | {f"unfinished upload of {key}" for key in server.uploads(bucket)}

    def put(name: str, data: bytes) -> None:
        server.put(bucket, f"{prefix}/{name}", data)

    with variables(server.environment()):  # s3fs connects when it is first asked
        storage = open_storage(location.parse(f"s3://{bucket}/{prefix}"), settings)
        place = Place(storage, put, lambda name: server.get(bucket, f"{prefix}/{name}"), names, costly=True)
        yield place, server, bucket
        storage.close()
    server.faults()


@contextmanager
def oss(folder: Path) -> Iterator[Place]:
    """OSS's protocol on a server of its own, whose answers carry all that a real one's may lack."""
    with oss_place(folder) as (place, _):
        yield place


@contextmanager
def oss_without_crc(folder: Path) -> Iterator[Place]:
    """The same where objects made of copied parts have no CRC64, in no answer."""
    with oss_place(folder) as (place, server):
        server.settings.crc_on_copies = False
        server.settings.crc_in_list_parts = False
        yield place


@contextmanager
def oss_place(_: Path, settings: Settings = Settings(timeout=5.0)) -> Iterator[tuple[Place, OssServer]]:  # noqa: B008 - it is frozen
    """A server with an empty bucket, and its store, for tests that look at both."""
    with OssServer(["demo"], access_key_id="id", access_key_secret="secret") as server:
        with variables(server.environment()):
            storage = open_storage(location.parse("oss://demo/a/root"), settings)

        def names() -> set[str]:
            keys = {str(key).removeprefix("a/root/") for key in server.keys("demo", "a/root/")}
            return keys | {f"unfinished upload of {upload.key}" for upload in server.uploads("demo")}

        def get(name: str) -> bytes | None:
            return server.get("demo", f"a/root/{name}") if name in names() else None

        def put(name: str, data: bytes) -> None:
            server.put("demo", f"a/root/{name}", data)

        yield Place(storage, put, get, names), server
        storage.close()


@contextmanager
def variables(values: dict[str, str]) -> Iterator[None]:
    """These environment variables, and none else of OSS's or S3's, for as long as the block lasts."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("OSS_", "ALIBABA_", "AWS_")):
            del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


PLACES: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {
    "local": local,
    "mount": mount,
    "memory": memory,
    "file": files,
    "ftp": ftp,
    "s3": s3,
    "oss": oss,
    "oss without crc": oss_without_crc,
}
