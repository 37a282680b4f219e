"""Fills a new file with the bytes of others, sees that they arrived as they were read, and publishes it."""

import os
import time
from collections.abc import Callable
from errno import EDQUOT, EFBIG, ENOSPC, EROFS

from aggregation.errors import AggregationError
from aggregation.stores.promise import Advance, Written

from . import fast_copy
from .new_file import NewFile
from .sources import Sources
from .volume import Volume

_TARGET_ERRORS = frozenset({ENOSPC, EDQUOT, EFBIG, EROFS})
"""Errors of a copy that can come from its target only."""


class Copier:
    """Copies into new files of a volume; with `verify` each is read back before it is published.

    `started` is when the work began, by the performance counter; a copy that fails takes back from `advance`
    what it reported.
    """

    def __init__(self, volume: Volume, *, verify: bool) -> None:
        self._volume = volume
        self._verify = verify

    def join(
        self, new: NewFile, sources: Sources, *, advance: Advance | None, checksum: bool, started: float
    ) -> Written:
        """Make the new file of the sources, in their order.

        Raises:
            SourceChangedError: a source changed while it was read.
            IntegrityError: other bytes arrived than were read.
            AggregationError: a source cannot be read, or the file not be written or published.
        """

        def append(appender: fast_copy.Appender) -> None:
            path = new.path
            try:
                for path, descriptor, status, head in sources:  # noqa: B007 - for the error below
                    size = status.st_size
                    taken = appender.append(descriptor, size, head)
                    if taken != size or size >= fast_copy.SMALL:
                        sources.was_read(taken)
                    else:
                        sources.gather(appender)
                appender.flush()
                sources.finish()
            except OSError as error:
                raise self._error(error, appender, new, path) from error

        return self._fill(new, append, advance, checksum=checksum, started=started)

    def copy(
        self,
        new: NewFile,
        path: str,
        descriptor: int,
        *,
        advance: Advance | None,
        checksum: bool,
        started: float,
    ) -> Written:
        """Make the new file of the one at `path`, which is open. Raises as `join`."""

        def append(appender: fast_copy.Appender) -> None:
            try:
                appender.append(descriptor, os.fstat(descriptor).st_size)
                appender.flush()
            except OSError as error:
                raise self._error(error, appender, new, path) from error

        return self._fill(new, append, advance, checksum=checksum, started=started)

    def _fill(
        self,
        new: NewFile,
        append: Callable[[fast_copy.Appender], None],
        advance: Advance | None,
        *,
        checksum: bool,
        started: float,
    ) -> Written:
        """Let `append` fill the new file, and publish it."""
        appender = fast_copy.Appender(new.descriptor, checksum=checksum or self._verify, advance=advance)
        try:
            append(appender)
            new.sync()
            way = appender.way()
            new.publish(appender.size, (lambda: appender.crc64) if self._verify else None)
        except AggregationError:
            if advance is not None:
                advance(-appender.size)  # it may be begun anew
            raise
        seconds = time.perf_counter() - started
        return Written(appender.size, appender.crc64, way, 0, seconds, True if self._verify else None)

    def _error(
        self, error: OSError, appender: fast_copy.Appender, new: NewFile, source: str
    ) -> AggregationError:
        if appender.writing or error.errno in _TARGET_ERRORS:
            return new.error(error)
        return self._volume.error(error, new.doing, source, writing=False)
