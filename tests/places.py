"""Every store under one face, for the contract suite: a new store joins by one function here."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from aggregation import location
from aggregation.storage import Storage, open_storage


class Place(NamedTuple):
    """A root, its store, and a way past the store to the bytes that are really there."""

    storage: Storage
    put: Callable[[str, bytes], None]
    get: Callable[[str], bytes | None]
    names: Callable[[], set[str]]
    """Everything under the root, temporaries and unfinished uploads included."""


@contextmanager
def local(folder: Path) -> Iterator[Place]:
    """A directory."""
    root = folder / "root"
    root.mkdir()

    def put(name: str, data: bytes) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)

    def get(name: str) -> bytes | None:
        return (root / name).read_bytes() if (root / name).is_file() else None

    def names() -> set[str]:
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    storage = open_storage(location.parse(str(root)))
    yield Place(storage, put, get, names)
    storage.close()


PLACES: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {
    "local": local,
}
