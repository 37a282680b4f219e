"""The endpoint as people write it: with the bucket in it, with oss://, with a path, a domain of one's own."""

import ipaddress
import re
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

_DEFAULT_SCHEME = "https"
_OWN = ".aliyuncs.com"
"""How the names of the service's own endpoints end."""

_WITH_BUCKET = re.compile(r"(?P<bucket>[^.]+)\.(?P<rest>oss-[^.]+\.aliyuncs\.com)")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")
_PORT_MAX = 65535


class Endpoint(NamedTuple):
    """Where a bucket's requests go, and how their URLs are made."""

    scheme: str
    host: str
    """With its port, if one is named; an IPv6 address in brackets."""
    place: str
    """Where the bucket's name stands: "host" before the host, "path" before the key, "" nowhere (a CNAME)."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}"

    def url(self, bucket: str, quoted_key: str) -> str:
        """The URL of an object, or of the bucket itself where the key is empty."""
        host = f"{bucket}.{self.host}" if self.place == "host" else self.host
        folder = f"{bucket}/" if self.place == "path" else ""
        return f"{self.scheme}://{host}/{folder}{quoted_key}"


def parse(text: str, bucket: str, *, cname: bool | None = None) -> Endpoint:
    """Read an endpoint. `cname` says whether its domain is bound to the bucket; None: it is found out.

    Raises:
        ValueError: no endpoint can be meant; the message says why.
    """
    scheme, host, port = _split(text)
    numeric = host.startswith("[") or _is_ipv4(host)
    if host.startswith(f"{bucket}.") and (host.endswith(_OWN) or host == f"{bucket}.localhost"):
        host = host.removeprefix(f"{bucket}.")
    elif match := _WITH_BUCKET.fullmatch(host):
        raise ValueError(f"it names bucket {match['bucket']}, and the root bucket {bucket}")
    lonely = (
        numeric or "." not in host
    )  # nothing can stand before an address, nor before a cluster's own name
    if cname is None:
        cname = not lonely and not host.endswith((_OWN, ".localhost")) and _is_bound(host, bucket)
    place = "" if cname else "path" if lonely else "host"
    return Endpoint(scheme, host if port is None else f"{host}:{port}", place)


def _split(text: str) -> tuple[str, str, int | None]:
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = _DEFAULT_SCHEME, text
    scheme = _DEFAULT_SCHEME if scheme.lower() == "oss" else scheme.lower()
    if scheme not in ("http", "https"):
        raise ValueError("its scheme is neither http nor https")
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port = parts.port
    except ValueError as error:
        raise ValueError("its port or its IPv6 address is none") from error
    if port == 0:
        raise ValueError(f"its port is not between 1 and {_PORT_MAX}")
    host = parts.hostname or ""
    if ":" in host:
        try:
            return scheme, f"[{ipaddress.IPv6Address(host)}]", port
        except ValueError as error:
            raise ValueError("its IPv6 address is none") from error
    try:
        host = host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError as error:
        raise ValueError("its host is none") from error
    if not _HOST.fullmatch(host) or ".." in host:
        raise ValueError("its host is none")
    return scheme, host, port


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _is_bound(host: str, bucket: str) -> bool:
    """Whether a foreign domain is one bucket's: by its CNAME, or since buckets have no names under it."""
    try:
        name, aliases, _ = socket.gethostbyname_ex(host)
    except OSError:  # not known here, perhaps to a proxy: as the service's own endpoints are
        return False
    if any(found.startswith(f"{bucket}.") for found in (name, *aliases)):
        return True
    try:
        socket.getaddrinfo(f"{bucket}.{host}", None)
    except socket.gaierror as error:
        return error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
    return False
