"""The XML documents and the parameters of the service: written for clients, and read from them."""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote
from xml.sax.saxutils import escape

from oss_server import errors
from oss_server.objects import Entry, StoredObject
from oss_server.requests import Response

OWNER = "<Owner><ID>1000000000000001</ID><DisplayName>1000000000000001</DisplayName></Owner>"


class Names:
    """How names of keys are written, and the parameters that all listings share.

    Attributes:
        prefix: What the names to list begin with.
        delimiter: Where names are cut to common prefixes.
        encoding: The element that says how names are written.
    """

    def __init__(self, params: Mapping[str, str]) -> None:
        self.prefix = params.get("prefix", "")
        self.delimiter = params.get("delimiter", "")
        kind = params.get("encoding-type", "")
        if kind not in ("", "url"):
            message = "Invalid Encoding Method specified in Request."
            raise errors.invalid_argument(message, "encoding-type", kind)
        self._url = kind == "url"
        self.encoding = tag("EncodingType", kind) if kind else ""

    def named(self, name: str, text: str) -> str:
        """Return an element whose text is a key or a piece of one."""
        return tag(name, quote(text, safe="") if self._url else text)

    def header(self) -> str:
        """Return the elements that repeat the parameters."""
        return self.named("Prefix", self.prefix) + self.named("Delimiter", self.delimiter) + self.encoding

    def contents(self, entries: Iterable[Entry], *, owner: bool) -> str:
        """Return objects and common prefixes."""
        parts = []
        for entry in entries:
            if isinstance(entry.item, StoredObject):
                item = entry.item
                size = 0 if item.kind == "Symlink" else item.size
                parts.append(
                    f"<Contents>{self.named('Key', item.key)}"
                    f"<LastModified>{iso(item.modified)}</LastModified><ETag>{escape(item.etag)}</ETag>"
                    f"<Type>{item.kind}</Type><Size>{size}</Size>"
                    f"<StorageClass>Standard</StorageClass>{OWNER if owner else ''}</Contents>"
                )
            else:
                parts.append(f"<CommonPrefixes>{self.named('Prefix', entry.name)}</CommonPrefixes>")
        return "".join(parts)


def xml_response(root: str, inner: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer whose body is this document."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{inner}</{root}>'
    return Response(headers={"Content-Type": "application/xml", **(headers or {})}, document=text.encode())


def tag(name: str, text: str) -> str:
    """Return an element."""
    return f"<{name}>{escape(text)}</{name}>"


def boolean(value: bool) -> str:
    """Return a truth value as the service writes it."""
    return "true" if value else "false"


def iso(stamp: float) -> str:
    """Return a Unix time as the service writes it."""
    return datetime.fromtimestamp(stamp, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def parse(text: bytes, root_tag: str) -> ET.Element:
    """Return the root of a document.

    Raises:
        OssError: 400 MalformedXML, also for another root.
    """
    try:
        root = ET.fromstring(text)
    except ET.ParseError as err:
        raise errors.malformed_xml() from err
    if root.tag != root_tag:
        raise errors.malformed_xml()
    return root


def integer(params: Mapping[str, str], name: str, default: int, lowest: int, highest: int) -> int:
    """Return the value of a parameter.

    Raises:
        OssError: 400 InvalidArgument, outside `lowest` to `highest`.
    """
    text = params.get(name) or str(default)
    if not text.isdecimal() or not lowest <= int(text) <= highest:
        message = f"Argument {name} must be an integer between {lowest} and {highest}."
        raise errors.invalid_argument(message, name, text)
    return int(text)
