"""Fills a new file with the bytes of others, sees that they arrived as they were read, and publishes it."""

import time
from errno import EDQUOT, EFBIG, ENOSPC, EROFS

from aggregation.errors import AggregationError
from aggregation.stores.promise import Advance, Written

from . import fast_copy
from .new_file import NewFile
from .sources import Sources
from .volume import Volume

_TARGET_ERRORS = frozenset({ENOSPC, EDQUOT, EFBIG, EROFS})
"""Errors of a copy that can come from its target only."""


def join(
    volume: Volume,
    new: NewFile,
    sources: Sources,
    *,
    advance: Advance | None,
    checksum: bool,
    verify: bool,
    started: float,
) -> Written:
    """Make the new file of the sources, in their order; with `verify` it is read back before it is published.

    `started` is when the work began, by the performance counter. A copy that fails takes back from `advance`
    what it reported.

    Raises:
        SourceChangedError: a source changed while it was read.
        IntegrityError: other bytes arrived than were read.
        AggregationError: a source cannot be read, or the file not be written or published.
    """
    appender = fast_copy.Appender(new.descriptor, checksum=checksum or verify, advance=advance)
    try:
        _append(volume, new, sources, appender)
        new.sync()
        way = appender.way()
        new.publish(appender.size, (lambda: appender.crc64) if verify else None)
    except AggregationError:
        if advance is not None:
            advance(-appender.size)  # it may be begun anew
        raise
    seconds = time.perf_counter() - started
    return Written(appender.size, appender.crc64, way, 0, seconds, True if verify else None)


def _append(volume: Volume, new: NewFile, sources: Sources, appender: fast_copy.Appender) -> None:
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
        if appender.writing or error.errno in _TARGET_ERRORS:
            raise new.error(error) from error
        raise volume.error(error, new.doing, path, writing=False) from error
