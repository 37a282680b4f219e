"""Listings, a page at a time: each page is a request of its own, with its own tries.

oss2's iterators send a page three times without a pause, and none again after a reset; ossfs shows a denied
listing as an empty one, and takes 0.1 s to import.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar
from urllib.parse import unquote
from xml.etree import ElementTree as ET  # only the type: oss_answers has read the document

from .answers import number, part_crc64
from .parts import PAGE
from .transport import UnansweredError

Item = TypeVar("Item")
Read = Callable[[ET.Element], Item]


class Ask(Protocol):
    """Asks for a page until it is answered by one that `read` can read, and gives what that makes of it."""

    def __call__(self, params: Mapping[str, str], read: Read[Item]) -> Item:
        """What `read` makes of the page with these parameters."""
        ...


class Listed(NamedTuple):
    """An object as a listing shows it, or a folder, whose key ends with `/`."""

    key: str
    size: int
    """Bytes; a symlink may be shown with 0."""
    etag: str
    kind: str
    modified: float
    """Seconds since the epoch by the service's clock; 0 for a folder."""


class ListedUpload(NamedTuple):
    """A multipart upload that was begun and neither completed nor aborted."""

    key: str
    id: str
    began: float
    """Seconds since the epoch by the service's clock."""


def objects(ask: Ask, prefix: str, delimiter: str, after: str = "") -> Iterator[Listed]:
    """The objects whose keys begin with `prefix`, those behind `after`, in the order of their keys.

    What has a delimiter after the prefix is shown as a folder, at the end of a page.
    """
    params = {"prefix": prefix, "delimiter": delimiter, "max-keys": str(PAGE)}
    return _pages(ask, {**params, "marker": after} if after else params, _objects)


def uploads(ask: Ask, prefix: str, delimiter: str) -> Iterator[ListedUpload]:
    """The unfinished uploads of keys that begin with `prefix` and have no delimiter after it."""
    params = {"uploads": "", "prefix": prefix, "delimiter": delimiter, "max-uploads": str(PAGE)}
    return _pages(ask, params, _uploads)


def part_checksums(ask: Ask, upload_id: str) -> Iterator[tuple[int, int | None]]:
    """Number and CRC64 of the parts that an upload has; None where the service does not say it."""
    return _pages(ask, {"uploadId": upload_id, "max-parts": str(PAGE)}, _parts)


def _pages(
    ask: Ask, params: Mapping[str, str], read: Read[tuple[list[Item], dict[str, str]]]
) -> Iterator[Item]:
    after: dict[str, str] = {}
    seen: set[tuple[str, ...]] = set()
    while True:

        def read_on(page: ET.Element) -> tuple[list[Item], dict[str, str]]:
            items, markers = read(page)
            truncated = page.findtext("IsTruncated")
            if truncated == "false":
                return items, {}
            if truncated != "true" or tuple(markers.values()) in seen or not any(markers.values()):
                raise UnansweredError("a listing that does not say how it goes on")
            return items, markers

        items, after = ask({"encoding-type": "url", **params, **after}, read_on)
        yield from items
        if not after:
            return
        seen.add(tuple(after.values()))


def _objects(page: ET.Element) -> tuple[list[Listed], dict[str, str]]:
    found = [
        Listed(
            _name(page, item, "Key"),
            _number(item, "Size"),
            (item.findtext("ETag") or "").strip('"'),
            item.findtext("Type") or "",
            _time(item, "LastModified"),
        )
        for item in page.iter("Contents")
    ]
    found += [Listed(_name(page, item, "Prefix"), 0, "", "", 0.0) for item in page.iter("CommonPrefixes")]
    return found, {"marker": _name(page, page, "NextMarker", "")}


def _uploads(page: ET.Element) -> tuple[list[ListedUpload], dict[str, str]]:
    found = [
        ListedUpload(_name(page, item, "Key"), item.findtext("UploadId") or "", _time(item, "Initiated"))
        for item in page.iter("Upload")
    ]
    return found, {
        "key-marker": _name(page, page, "NextKeyMarker", ""),
        "upload-id-marker": page.findtext("NextUploadIdMarker") or "",
    }


def _parts(page: ET.Element) -> tuple[list[tuple[int, int | None]], dict[str, str]]:
    found = [(_number(item, "PartNumber"), part_crc64(item)) for item in page.iter("Part")]
    return found, {"part-number-marker": page.findtext("NextPartNumberMarker") or ""}


def _name(page: ET.Element, element: ET.Element, tag: str, otherwise: str | None = None) -> str:
    """A name as it is, however the page writes it: it may hold what XML may not."""
    text = element.findtext(tag) or otherwise
    if text is None:
        raise UnansweredError(f"a listing without a <{tag}>")
    return unquote(text) if page.findtext("EncodingType") == "url" else text


def _number(element: ET.Element, tag: str) -> int:
    found = number(element.findtext(tag))
    if found is None:
        raise UnansweredError(f"a listing whose <{tag}> is no number")
    return found


def _time(element: ET.Element, tag: str) -> float:
    try:
        return datetime.fromisoformat(element.findtext(tag) or "").timestamp()
    except (ValueError, OverflowError) as error:
        raise UnansweredError(f"a listing whose <{tag}> is no time") from error
