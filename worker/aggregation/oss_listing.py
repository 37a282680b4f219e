"""Listings, a page at a time: each page is a request of its own, with its own tries.

oss2's iterators send a page three times without a pause, and none again after a reset; ossfs reads a denied
listing as an empty one, and takes 0.1 s to import.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple
from urllib.parse import unquote
from xml.etree import ElementTree as ET  # only the type: the document was read by oss_answers

from .oss_answers import NoAnswerError, number, part_crc64

PAGE = 1000
"""Names in an answer: the most that OSS gives."""

Ask = Callable[[Mapping[str, str]], ET.Element]
"""Sends a request with these parameters until it is answered, and gives the document."""


class Listed(NamedTuple):
    """An object as a listing shows it, or a folder, whose key ends with `/`."""

    key: str
    size: int
    """Bytes; a symlink may be shown with 0."""
    etag: str
    kind: str
    modified: float
    """Seconds since the epoch by the service's clock; 0 for a folder."""


class Upload(NamedTuple):
    """A multipart upload that was begun and neither completed nor aborted."""

    key: str
    id: str
    began: float


def objects(ask: Ask, prefix: str, delimiter: str = "/") -> Iterator[Listed]:
    """The objects whose keys begin with `prefix`, and the folders that follow it.

    Without a `delimiter` the objects in those folders instead.
    """
    marker = ""
    while True:
        page = ask(
            {"prefix": prefix, "delimiter": delimiter, "marker": marker, "max-keys": str(PAGE)} | _ENCODED
        )
        for found in page.iter("Contents"):
            size = number(found.findtext("Size"))
            if size is None:
                raise NoAnswerError("a listing with a size that is no number")
            etag = (found.findtext("ETag") or "").strip('"')
            kind, modified = found.findtext("Type") or "", _time(found.findtext("LastModified"))
            yield Listed(_name(page, found, "Key"), size, etag, kind, modified)
        for found in page.iter("CommonPrefixes"):
            yield Listed(_name(page, found, "Prefix"), 0, "", "", 0.0)
        if not _is_truncated(page):
            return
        marker = _name(page, page, "NextMarker")


def uploads(ask: Ask, prefix: str, delimiter: str = "/") -> Iterator[Upload]:
    """The unfinished uploads of keys that begin with `prefix`; with a `delimiter`, none in folders below."""
    markers = {"key-marker": "", "upload-id-marker": ""}
    while True:
        page = ask({"prefix": prefix, "delimiter": delimiter, "max-uploads": str(PAGE)} | _ENCODED | markers)
        for found in page.iter("Upload"):
            began = _time(found.findtext("Initiated"))
            yield Upload(_name(page, found, "Key"), found.findtext("UploadId") or "", began)
        if not _is_truncated(page):
            return
        markers = {
            "key-marker": _name(page, page, "NextKeyMarker"),
            "upload-id-marker": page.findtext("NextUploadIdMarker") or "",
        }


def part_checksums(ask: Ask) -> Iterator[tuple[int, int | None]]:
    """The number and the CRC64 of each part that an upload has; None where the service does not say it."""
    marker = "0"
    while True:
        page = ask({"max-parts": str(PAGE), "part-number-marker": marker})
        for part in page.iter("Part"):
            yield number(part.findtext("PartNumber"), 0) or 0, part_crc64(part)
        if not _is_truncated(page):
            return
        marker = page.findtext("NextPartNumberMarker") or ""


_ENCODED = {"encoding-type": "url"}
"""Names may hold what XML may not."""


def _is_truncated(page: ET.Element) -> bool:
    return page.findtext("IsTruncated") == "true"


def _name(page: ET.Element, element: ET.Element, tag: str) -> str:
    """A name as it is, however the page writes it."""
    text = element.findtext(tag)
    if not text:
        raise NoAnswerError(f"a listing without a <{tag}>")
    return unquote(text) if page.findtext("EncodingType") == "url" else text


def _time(text: str | None) -> float:
    try:
        return datetime.fromisoformat(text or "").timestamp()
    except ValueError as error:
        raise NoAnswerError("a listing with a time that is none") from error
