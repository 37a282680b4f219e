"""What a root means: a directory, or a URL of an object store. The only place that reads a root's text."""

import re
from typing import NamedTuple

_URL = re.compile(r"(?P<protocol>[a-z][a-z0-9+.-]*)(?:://|::)(?P<path>.*)", re.DOTALL)


class Location(NamedTuple):
    """A root, parsed once.

    `protocol` is empty for a directory of this machine, and a URL's scheme (`oss`, `memory`, `s3`) otherwise;
    `path` is the directory, or what follows `://` without slashes at its ends.
    """

    protocol: str
    path: str

    def __str__(self) -> str:
        return f"{self.protocol}://{self.path}" if self.protocol else self.path


def parse(text: str) -> Location:
    """Read a root.

    Raises:
        ValueError: the text names no place; the message says why.
    """
    if not text or "\0" in text:
        raise ValueError("a root is a directory or a URL such as oss://bucket/prefix; this one is empty")
    match = _URL.fullmatch(text)
    if match is None:
        return Location("", text.rstrip("/") or "/")
    path = match["path"].strip("/")
    if not path:
        raise ValueError(f"{text} names no bucket or path: write {match['protocol']}://bucket/prefix")
    return Location(match["protocol"], path)
