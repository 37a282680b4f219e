"""A bucket as joins work with it: the operations, what reads, and what is to be cleaned up."""

import threading
from typing import NamedTuple, Self

from aggregation.location import Location
from aggregation.stores.promise import Settings

from .client import OssClient
from .credentials import from_environment
from .objects import Objects
from .sources import Reader
from .unfinished import Unfinished
from .uploads import Uploads

UPLOADS_AT_ONCE = 4
"""Uploaded parts in memory at a time; copies need none."""


class Bucket(NamedTuple):
    """One bucket of a store. Safe to use from several threads at once."""

    settings: Settings
    client: OssClient
    objects: Objects
    uploads: Uploads
    reader: Reader
    unfinished: Unfinished
    relaying: threading.Semaphore
    """Bounds the uploaded parts in memory, of all joins together."""

    @classmethod
    def open(cls, location: Location, settings: Settings) -> Self:
        """The bucket of a location.

        Raises:
            ConfigurationError: endpoint or credentials are missing or incomplete.
        """
        name = location.path.partition("/")[0]
        # One connection each for what runs at a time: parts, the fetches within them, and the main thread.
        parallel = max(settings.parallel, settings.parallel_small)
        connections = 2 * parallel + 1
        client = OssClient(
            from_environment(f"opening {location}", name),
            name,
            connections=connections,
            parallel=parallel,
            timeout=settings.timeout,
            requests_per_second=settings.requests_per_second,
        )
        objects = Objects(client)
        uploads = Uploads(client)
        return cls(
            settings,
            client,
            objects,
            uploads,
            Reader(client, objects, settings.share, settings.share_small),
            Unfinished(client, objects, uploads),
            threading.Semaphore(UPLOADS_AT_ONCE),
        )
