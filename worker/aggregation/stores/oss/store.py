"""OSS: objects joined by the service itself, so that their bytes do not pass through the pod.

A multipart upload copies ranges of the sources, as `parts` plans it; short ones are fetched and uploaded. The
target appears when the upload is completed, whole, and its CRC64 has been compared with the sources' before.
What would save less traffic than its requests are worth is fetched and written by one PUT.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from aggregation.layout import parse_temporary
from aggregation.lazy import Lazy
from aggregation.location import Location
from aggregation.scratch import folder as scratch_folder
from aggregation.stores.promise import Advance, Entry, Settings, Written, describe
from aggregation.wildcards import Pattern

from . import transfer
from .bucket import Bucket
from .interference import undisturbed
from .joining import join
from .listing import Listed


class OssStorage:
    """The objects under a bucket's prefix. See Storage for what each method promises.

    Raises:
        ConfigurationError: endpoint or credentials are missing or incomplete.
    """

    def __init__(self, location: Location, settings: Settings) -> None:
        prefix = location.path.partition("/")[2]
        self._url = str(location)
        self._prefix = f"{prefix}/" if prefix else ""
        self._bucket = Bucket.open(location, settings)

    def path(self, name: str) -> str:
        """The name as a URL."""
        if name[:1] == "/":
            return self._bucket.client.url(name[1:])
        return f"{self._url}/{name}" if name else self._url

    def names(self, folder: str) -> list[str]:
        """One listing, a request for each 1,000 objects."""
        return [name for name, _ in self._listed(folder)]

    def entries(self, folder: str) -> list[Entry]:
        """One listing, a request for each 1,000 objects; sizes and times come with it."""
        return [
            Entry(name, listed.size, listed.modified, f"{listed.size}-{listed.etag}")
            for name, listed in self._listed(folder)
        ]

    def _listed(self, folder: str) -> Iterator[tuple[str, Listed]]:
        """What a folder holds, and its names there; no temporaries."""
        prefix = self._prefix_of(folder)
        for listed in self._bucket.objects.list(prefix):
            name = listed.key.removeprefix(prefix).removesuffix("/")
            if name and not parse_temporary(name):
                yield name, listed

    def glob(self, pattern: str) -> list[str]:
        """One listing of what begins as the pattern does, a request for each 1,000 objects."""
        wanted = Pattern(pattern)
        start, cut = ("/", 0) if pattern.startswith("/") else ("", len(self._prefix))
        listed = self._bucket.objects.list(self._key(wanted.literal), "" if wanted.is_deep else "/")
        names = (f"{start}{found.key[cut:]}" for found in listed if not found.key.endswith("/"))
        return [n for n in names if wanted.matches(n) and not parse_temporary(os.path.basename(n))]

    def find(self, name: str) -> Entry | None:
        """One HEAD."""
        state = self._bucket.objects.head(self._key(name))
        return state and Entry(
            os.path.basename(name), state.size, state.modified, f"{state.size}-{state.etag}"
        )

    def foresee(self, names: Sequence[str], held: int) -> None:
        """Nothing: requests overlap."""

    def concatenate(
        self, sources: Sequence[str], target: str, *, advance: Advance | None = None, checksum: bool = False
    ) -> Written:
        """By the service, or by one PUT. Begun anew once if a source was replaced meanwhile."""
        del checksum  # it costs nothing here
        doing = f"joining {describe(sources)} into {self.path(target)}"
        keys = Lazy(self._key, sources)
        return undisturbed(doing, lambda: join(self._bucket, doing, keys, self._key(target), advance))

    def workplace(self, target: str, scratch: str | None) -> AbstractContextManager[str]:
        """A folder in `scratch`, or in the system's temporary folder."""
        del target
        return scratch_folder(scratch)

    def download(self, sources: Sequence[str], folder: str) -> list[str]:
        """By ranged GETs in parallel; each file's CRC64 is compared with the service's."""
        doing = f"fetching {describe(sources)}"
        keys = [self._key(source) for source in sources]
        return undisturbed(doing, lambda: transfer.download(self._bucket, doing, keys, folder))

    def upload(
        self, path: str, target: str, *, advance: Advance | None = None, checksum: bool = False
    ) -> Written:
        """By one PUT, or by a multipart upload of parts that fit in memory; the CRC64 is compared."""
        del checksum  # it costs next to nothing here
        doing = f"uploading {self.path(target)}"
        return transfer.upload(self._bucket, doing, path, self._key(target), advance)

    def write(self, target: str, data: bytes) -> None:
        """One PUT."""
        self._bucket.objects.put(f"writing {self.path(target)}", self._key(target), data)

    def read(self, name: str, limit: int | None) -> bytes:
        """One GET."""
        return self._bucket.objects.read(self._key(name), limit)

    def remove(self, names: Sequence[str]) -> None:
        """A request for each 1,000 objects."""
        if names:
            self._bucket.objects.delete_many([self._key(name) for name in names])

    def remove_tree(self, folder: str) -> None:
        """A listing and a deletion for each 1,000 objects; uploads into the folder are aborted."""
        prefix = self._prefix_of(folder)
        objects = self._bucket.objects
        keys = (listed.key for listed in objects.list(prefix, delimiter=""))
        objects.delete_many(sorted(keys, key=lambda key: (-key.count("/"), key)))
        self._bucket.unfinished.abort_below(prefix)

    def sweep(self, *folders: str) -> None:
        """Delete intermediate objects, and abort uploads into them, a day after they began."""
        self._bucket.unfinished.sweep([self._prefix_of(folder) for folder in folders])

    def close(self) -> None:
        """Abort the uploads, and delete the intermediate objects, that an interruption left."""
        self._bucket.unfinished.clear(self._bucket.settings.parallel)
        self._bucket.client.close()

    def _key(self, name: str) -> str:
        return name[1:] if name[:1] == "/" else f"{self._prefix}{name}"

    def _prefix_of(self, folder: str) -> str:
        """What the keys in a folder begin with; empty for the bucket itself."""
        key = self._key(folder).rstrip("/")
        return f"{key}/" if key else ""
