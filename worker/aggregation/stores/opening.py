"""Finds the store for a location: the only module that knows all stores."""

from aggregation.location import Location
from aggregation.stores.promise import Settings, Storage


def open_storage(location: Location, settings: Settings = Settings()) -> Storage:  # noqa: B008 - it is frozen
    """The store for a location. Imports only what that store needs.

    Raises:
        ConfigurationError: no store speaks the location's protocol, or its configuration is wrong.
    """
    if not location.protocol:
        from aggregation.stores.volume.store import VolumeStorage  # noqa: PLC0415 - a store is imported when a root asks for it

        return VolumeStorage(location.path, settings)
    if location.protocol == "oss":
        from aggregation.stores.oss.store import OssStorage  # noqa: PLC0415

        return OssStorage(location, settings)
    from aggregation.stores.fsspec_store.store import FsspecStorage  # noqa: PLC0415

    return FsspecStorage(location, settings)
