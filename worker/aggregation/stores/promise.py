"""What a store promises.

Names are relative to the root, as `layout` makes them. Every method raises the family of `errors` and nothing
else for what a store or a network can do; anything else is a bug.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple, Protocol


class Settings(NamedTuple):
    """How a store may work; each store takes from it what concerns it."""

    parallel: int = 32
    """Requests under way at a time in this process, and files of a mount that are opened at a time."""
    joins: int = 1
    """Joins that run side by side in this process."""
    timeout: float = 120.0
    """Seconds for which a request that fails is tried again."""
    max_parts: int = 10_000
    """Parts of a multipart upload, at most: OSS's limit."""
    verify: bool = False
    """Read what was written back, and compare."""
    parallel_small: int = 128
    """Requests for little data under way at a time in this process."""
    requests_per_second: float | None = None
    """Requests to OSS in a second, at most; None: as many as it takes."""

    @property
    def share(self) -> int:
        """What of `parallel` each join may use."""
        return max(1, self.parallel // self.joins)

    @property
    def share_small(self) -> int:
        """What of `parallel_small` each join may use."""
        return max(1, self.parallel_small // self.joins)


Advance = Callable[[int], None]
"""Called with the number of bytes moved since the last call. What it raises stops the move and cleans up."""


Way = Literal["server-side", "kernel copy", "streamed", "renamed"]
"""How bytes moved: not through this machine, not through the process, or through it; the last where a command
had written them beside the target."""


class Entry(NamedTuple):
    """What a folder holds under a name."""

    name: str
    """Without its folder."""
    size: int
    """Bytes. On a mount this may be out of date."""
    modified: float
    """Seconds since the epoch, by the store's clock; 0 where it does not say."""
    identity: str
    """What stays the same as long as the content does, as far as the store can tell: size and times, or the
    ETag. To be compared for equality only."""


class Written(NamedTuple):
    """What a join did."""

    size: int
    """Bytes of the target."""
    crc64: int | None
    """CRC-64/XZ of the target, as OSS has it; None on a volume where nobody asked for it."""
    moved: Way
    """How most of the bytes moved."""
    requests: int
    """Requests sent to an object store; 0 on a volume."""
    seconds: float
    verified: bool | None = None
    """Whether a store that joins out of sight could compare the target with its sources; None elsewhere."""


class Storage(Protocol):
    """The files under one root. Safe to use from several threads at once.

    A name that begins with `/` counts from where the store itself begins: the bucket, or the directory `/`.
    Only inputs have such names; what is written is under the root.
    """

    def path(self, name: str) -> str:
        """The name as a person would write it, root included; for messages."""
        ...

    def names(self, folder: str) -> list[str]:
        """The names that the folder holds, in no particular order; "" is the root. Temporaries are left out.

        A folder that is absent holds nothing, unless it is the root. Costs one listing.

        Raises:
            MissingInputError: the root itself is absent.
        """
        ...

    def entries(self, folder: str) -> list[Entry]:
        """The same with sizes and times: on a volume a look-up for each name besides."""
        ...

    def glob(self, pattern: str) -> list[str]:
        """The names of the files that match (see `wildcards`), in no particular order; no temporaries.

        Costs one listing where wildcards stand in the last part only, and on OSS always; elsewhere one for
        each folder that a wildcard stands for. What is absent holds nothing.

        Raises:
            AggregationError: a folder cannot be listed.
        """
        ...

    def find(self, name: str) -> Entry | None:
        """The entry of one file; None if there is none."""
        ...

    def foresee(self, names: Sequence[str], held: int) -> None:
        """Hear that these files, of a folder that holds `held` files, are about to be read.

        For stores that then know them sooner; others do nothing. Raises nothing.
        """
        ...

    def concatenate(
        self, sources: Sequence[str], target: str, *, advance: Advance | None = None, checksum: bool = False
    ) -> Written:
        """Join the sources, in their order, byte for byte, into the target.

        Atomic: the target is whole and new, or as it was before, whatever happens. Idempotent. Two calls at
        once on one target leave one whole result. Sources are read to their end, whatever their size was said
        to be. `checksum` computes the CRC64 even where that costs a slower copy.

        Raises:
            MissingInputError: a source is absent or is not a file.
            IntegrityError: the bytes written are not the bytes read.
            ConfigurationError: a source is not readable, or the target's folder not writable.
            RefusedError: the store has no room, is read-only or broken.
            UnavailableError: the store did not answer, after the retries that it is owed.
        """
        ...

    def workplace(self, target: str, scratch: str | None) -> AbstractContextManager[str]:
        """A folder of this machine for the files of a command that makes `target`; it is always removed.

        Beside the target on a volume, unless `scratch` names another place.

        Raises:
            AggregationError: it cannot be made.
        """
        ...

    def download(self, sources: Sequence[str], folder: str) -> list[str]:
        """Paths of the sources on this machine: the files themselves on a volume, else copies in `folder`.

        The folder is made by `scratch.make_room`, which refuses what does not fit.

        Raises:
            MissingInputError: a source is absent or is not a file.
            RefusedError: there is no room for the copies; nothing was fetched then.
            AggregationError: as `concatenate`.
        """
        ...

    def upload(
        self, path: str, target: str, *, advance: Advance | None = None, checksum: bool = False
    ) -> Written:
        """Make the content of a file in a workplace the target's. As atomic as `concatenate`; idempotent.

        `checksum` computes the CRC64 even where that costs reading the file.

        Raises:
            The same as `concatenate`.
        """
        ...

    def write(self, target: str, data: bytes) -> None:
        """Make `data` the target's content. Atomic and idempotent; creates the root if its parent exists.

        Raises:
            The same as `concatenate`.
        """
        ...

    def read(self, name: str, limit: int | None) -> bytes:
        """The first `limit` bytes of a file, or all of it. One request.

        Raises:
            MissingInputError: there is no such file.
        """
        ...

    def remove(self, names: Sequence[str]) -> None:
        """Remove files, and folders that this leaves empty. Idempotent: what is absent stays absent."""
        ...

    def remove_tree(self, folder: str) -> None:
        """Remove a folder and all that it holds, temporaries included; what lies deepest goes first.

        Idempotent: what is absent stays absent. A link is removed, not followed. The folder above goes too
        if this leaves it empty, but not the root.

        Raises:
            AggregationError: something cannot be removed; what has been removed by then stays so.
        """
        ...

    def sweep(self, *folders: str) -> None:
        """Remove what killed runs left in the folders and no live run can own. Costs a listing of each."""
        ...

    def close(self) -> None:
        """Remove what an interruption left behind and let go of connections. Idempotent."""
        ...


def describe(names: Sequence[str]) -> str:
    """A few words for the sources of a join: each of two, the first and last of more."""
    if len(names) > 2:  # noqa: PLR2004 - the line says so
        return f"{names[0]} ... {names[-1]} ({len(names)} files)"
    return " + ".join(names)
