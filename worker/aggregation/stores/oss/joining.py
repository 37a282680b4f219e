"""Joins objects into one: by the service, or by one PUT where that is cheaper."""

import time
from collections.abc import Sequence

from aggregation.errors import IntegrityError, RefusedError
from aggregation.stores.promise import Advance, Written

from . import parts
from .assembly import Assembly
from .bucket import Bucket
from .parts import Join
from .sources import Source, Sources


def join(bucket: Bucket, doing: str, keys: Sequence[str], target: str, advance: Advance | None) -> Written:
    """Join the objects `keys` into the object `target`.

    Raises:
        ReplacedError, NoSuchUploadError: another writer is in the way.
        AggregationError: as Storage.concatenate.
    """
    started = time.perf_counter()
    before = bucket.client.requests
    sources = bucket.reader.look_up(doing, keys, by_listing=True)
    try:
        plan = parts.strategy(sources.sizes, sources.copyable, bucket.settings.max_parts)
    except ValueError as error:
        raise RefusedError(doing, str(error), "merge fewer files into one object") from error
    total = sum(sources.sizes)
    copied = parts.copied_size(plan) if plan else 0
    make = _make_verified if bucket.settings.verify else _make
    crc64, verified = make(bucket, doing, sources, target, plan, advance)
    return Written(
        total,
        crc64,
        "server-side" if copied > total // 2 else "streamed",
        bucket.client.requests - before,
        time.perf_counter() - started,
        verified,
    )


def _make(
    bucket: Bucket, doing: str, sources: Sources, key: str, plan: Join | None, advance: Advance | None
) -> tuple[int | None, bool]:
    """Make the object, by one PUT without a plan. Returns its CRC64, and whether that was compared."""
    if plan is None:
        return bucket.objects.put(doing, key, bucket.reader.whole(doing, sources, advance)), True
    with Assembly(bucket, doing, sources, advance) as assembly:
        return assembly.make(key, plan)


def _make_verified(
    bucket: Bucket, doing: str, sources: Sources, key: str, plan: Join | None, advance: Advance | None
) -> tuple[int | None, bool]:
    """The same by way of an intermediate object, which is read back before anything is published."""
    made = bucket.unfinished.intermediate(key)
    try:
        _make(bucket, doing, sources, made, plan, advance)
        copy = bucket.reader.look_up(doing, [made], by_listing=False)
        _read_back(bucket, doing, sources, copy[0])
        by_put = copy.sizes[0] <= parts.PUT_MAX
        copying = None if by_put else parts.plan(copy.sizes, [True], bucket.settings.max_parts)
        crc64, verified = _make(bucket, doing, copy, key, copying, None)
        if not verified:  # the service says no CRC64, not even of what it has copied
            _read_back(bucket, doing, copy, bucket.reader.state_of(doing, key))
        return crc64, True
    finally:
        bucket.unfinished.drop(made)


def _read_back(bucket: Bucket, doing: str, sources: Sequence[Source], made: Source) -> None:
    """Read the object that was made and the sources, and compare.

    Raises:
        IntegrityError: they differ.
    """
    written = bucket.reader.crc64(doing, [made])
    read = bucket.reader.crc64(doing, sources)
    if written != read:
        why = f"the {made.size} bytes that were written have CRC64 {written}, the sources' {read}"
        raise IntegrityError(doing, why, "run again; if it stays, ask the service")
