"""What an fsspec file system tells of a file, as an Entry: each has words of its own for the same things."""

import os
import re
from datetime import UTC, datetime
from typing import Any

from aggregation.stores.promise import Entry

_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modify", "created")
"""Where file systems say when a file was written."""

_TAGS = ("ETag", "etag", "generation", "md5Hash", "content_md5", "crc32c", "checksum")
"""What file systems say of a file that changes as its content does."""

_FTP_TIME = re.compile(r"^(\d{8})(\d{6})")


def entry_of(info: dict[str, Any]) -> Entry:
    """The entry of a file or folder."""
    times = (_seconds(info.get(key)) for key in _TIMES)
    modified = next((time for time in times if time), 0.0)
    size = int(info["size"] or 0)
    tags = [str(info[key]).strip('"') for key in _TAGS if info.get(key)]
    # A listing and a look-up may give a time in different fractions: it counts where there is nothing better.
    identity = "-".join([str(size), *(tags or [str(modified), str(info.get("ino") or info.get("unique"))])])
    return Entry(os.path.basename(info["name"].rstrip("/")), size, modified, identity)


def _seconds(value: Any) -> float:
    """A time as file systems have it: a datetime, seconds, ISO's or FTP's digits, in UTC without a zone."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(_FTP_TIME.sub(r"\1T\2", value))
        except ValueError:
            return 0.0
        value = value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, datetime):
        return value.timestamp()
    return float(value) if isinstance(value, (int, float)) else 0.0
