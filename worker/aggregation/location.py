"""What a root means: a directory, or a URL of an object store. The only place that reads a root's text."""

import re
from typing import NamedTuple

_URL = re.compile(
    r"(?P<protocol>(?:[a-z0-9][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]*)://(?P<path>.*)"
    r"|(?P<chain>[a-z][a-z0-9+.-]*::)(?P<rest>.*)",
    re.DOTALL,
)

MASK = "***"
"""What is shown in a password's place."""

_TELLING = 4
"""Characters from which on a password is sought without its `:` and `@` too; fewer are parts of any text."""


class Location(NamedTuple):
    """A root, parsed once.

    `protocol` is empty for a directory of this machine, and a URL's scheme (`oss`, `memory`, `s3`) otherwise,
    with what is chained before it (`simplecache::s3`); `path` is the directory, or what follows `://`.
    As a text it is what may be shown: a password in it is masked.
    """

    protocol: str
    path: str

    def __str__(self) -> str:
        return self.masked(self.url)

    @property
    def url(self) -> str:
        """The root as it was written, but for slashes at its end: with its password, if it has one."""
        if not self.protocol:
            return self.path
        return f"{self.protocol}{'' if self.protocol.endswith('::') else '://'}{self.path}"

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, by whatever way."""
        return self.protocol in ("", "file", "local")

    def masked(self, text: str) -> str:
        """The text, such as a library's own message, without the root's password."""
        secret = self.password
        if not secret:
            return text
        from urllib.parse import unquote  # noqa: PLC0415 - for URLs with a password only

        for form in {secret, unquote(secret)}:
            text = text.replace(f":{form}@", f":{MASK}@")
            if len(form) >= _TELLING:
                text = text.replace(form, MASK)
        return text

    @property
    def password(self) -> str:
        """What stands between a user's name and the host; empty where a URL has no password."""
        path = self.path.rpartition("://")[2] if self.protocol else ""
        host = path.partition("/")[0]
        user, at, _ = host.rpartition("@")
        if not at and ":" in host and not host.rpartition(":")[2].isdigit():
            user = path.rpartition("@")[0]  # a password that holds a slash, which it should not
        return user.partition(":")[2]


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
    protocol, path = match["protocol"] or match["chain"], match["path"] or match["rest"] or ""
    path = path.rstrip("/") if match["path"] and protocol != "oss" else path.strip("/")
    if not path:
        raise ValueError(f"{text} names no bucket or path: write {protocol}://bucket/prefix")
    return Location(protocol, path)
