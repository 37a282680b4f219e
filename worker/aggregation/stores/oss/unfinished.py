"""What is not finished, and to be cleaned up: multipart uploads, and intermediate objects.

Those of this process are noted from before the service answers until they are completed or removed, so that
an interruption at any point leaves nothing that `clear` does not find. Those of dead runs are known by their
names and their age.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from aggregation import stopping
from aggregation.errors import AggregationError
from aggregation.layout import STALE_SECONDS, parse_temporary, temporary_beside
from aggregation.stores.readahead import read_ahead

from .client import OssClient
from .marks import new_token
from .objects import Objects
from .uploads import Uploads


class Begun(NamedTuple):
    """A multipart upload of this process that is neither completed nor aborted."""

    key: str
    id: str
    token: str
    """The mark that the object of this upload has, and no other one."""


class Unfinished:
    """What one store has begun under a client's bucket. Safe to use from several threads at once."""

    def __init__(self, client: OssClient, objects: Objects, uploads: Uploads) -> None:
        self._client = client
        self._objects = objects
        self._uploads = uploads
        self._begun: set[Begun] = set()
        self._intermediates: set[str] = set()

    def begin(self, key: str, crc64: int | None) -> Begun:
        """Begin a multipart upload that clear() aborts unless it is completed."""
        token = new_token()

        def register(upload_id: str) -> None:
            self._begun.add(Begun(key, upload_id, token))

        return Begun(key, self._uploads.initiate(key, token, crc64, register), token)

    def completed(self, upload: Begun) -> None:
        """Note that an upload was completed."""
        self._begun.discard(upload)

    def abort(self, upload: Begun) -> None:
        """Drop an upload."""
        try:
            self._uploads.abort(upload.key, upload.id)
        except AggregationError:  # a leftover that `sweep` aborts
            stopping.leave(f"an upload to {self._client.url(upload.key)}")
        self._begun.discard(upload)

    def intermediate(self, key: str) -> str:
        """A name beside `key` for an object that clear() deletes unless drop() did."""
        made = temporary_beside(key)
        self._intermediates.add(made)
        return made

    def drop(self, key: str) -> None:
        """Delete an intermediate object."""
        try:
            self._objects.delete(key)
        except AggregationError:  # a leftover that `sweep` deletes
            stopping.leave(self._client.url(key))
        self._intermediates.discard(key)

    def clear(self, parallel: int) -> None:
        """Abort the uploads, and delete the intermediate objects, that an interruption left."""
        # Side by side: after a signal there are seconds for all of them.
        list(read_ahead(self.abort, list(self._begun), parallel))
        list(read_ahead(self.drop, list(self._intermediates), parallel))

    def abort_below(self, prefix: str) -> None:
        """Abort all uploads of keys that begin with `prefix`, whoever began them."""
        with suppress(AggregationError):  # the bucket's lifecycle rule is there for these
            for upload in self._uploads.list(prefix):
                self._uploads.abort(upload.key, upload.id)

    def sweep(self, prefixes: Sequence[str]) -> None:
        """Delete intermediate objects in folders, and abort uploads into them, a day after they began.

        The day is the service's. An upload into any other key is left to the bucket's lifecycle rule: nothing
        shows who began it.
        """

        def is_leftover(key: str, since: float) -> bool:
            aged = since < self._client.now() - STALE_SECONDS
            return aged and parse_temporary(os.path.basename(key)) is not None

        def abort(prefix: str) -> None:
            for upload in self._uploads.list(f"{prefix}.", "/", cleaning=True):
                if is_leftover(upload.key, upload.began):
                    self._uploads.abort(upload.key, upload.id)

        def delete(prefix: str) -> None:
            for listed in self._objects.list(f"{prefix}."):
                if is_leftover(listed.key, listed.modified):
                    self._objects.delete(listed.key)

        # Side by side: they take longer than all else that few objects need.
        work = [partial(each, prefix) for prefix in prefixes for each in (abort, delete)]
        with suppress(AggregationError):  # what cannot be swept now is there for the next run
            list(read_ahead(lambda each: each(), work, len(work)))
