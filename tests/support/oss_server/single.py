"""Operations on objects: put, copy, append, get, head, delete."""

import time
from email.utils import formatdate
from xml.sax.saxutils import escape

from oss_server import errors
from oss_server.body import Body
from oss_server.conditions import check_match, wanted_range
from oss_server.documents import Names, integer, iso, parse, xml_response
from oss_server.incoming import (
    CRC_HEADER,
    base64_text,
    copy_source,
    crc_header,
    kept_headers,
    read_document,
    receive,
)
from oss_server.objects import StoredObject, quoted_md5
from oss_server.requests import Handlers, Request, Response
from oss_server.settings import Settings
from oss_server.store import Store

_META_HEADERS = frozenset(["ETag", "Last-Modified", CRC_HEADER])


class Singles:
    """Operations on one object, or on many by their names."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self.handlers: Handlers = {
            "PutObject": self._put_object,
            "CopyObject": self._copy_object,
            "AppendObject": self._append_object,
            "GetObject": self._get_object,
            "HeadObject": self._head_object,
            "GetObjectMeta": self._get_object_meta,
            "DeleteObject": self._delete_object,
            "DeleteMultipleObjects": self._delete_multiple_objects,
        }

    def _put_object(self, request: Request) -> Response:
        self._store.bucket(request.bucket)
        intake = receive(self._store, request, self._settings.max_put)
        body, etag = intake.finish(), quoted_md5(intake.md5)
        stored = _new_object(request, body, etag, intake.crc, "Normal")
        self._store.put(request.bucket, stored)
        return Response(
            headers={"ETag": etag, CRC_HEADER: str(intake.crc), "Content-MD5": base64_text(intake.md5)}
        )

    def _copy_object(self, request: Request) -> Response:
        source = copy_source(self._store, request)
        if source.size > self._settings.max_copy:
            raise errors.entity_too_large(source.size, self._settings.max_copy)
        replace = request.headers.get("x-oss-metadata-directive", "COPY").upper() == "REPLACE"
        stored = StoredObject(
            request.key,
            source.body,
            source.etag,
            source.crc,
            crc_shown=self._settings.crc_on_copies,
            kind="Normal",
            modified=time.time(),
            headers=kept_headers(request.headers) if replace else source.headers,
        )
        self._store.put(request.bucket, stored)
        headers = {"ETag": stored.etag} | crc_header(stored.crc, shown=stored.crc_shown)
        inner = f"<LastModified>{iso(stored.modified)}</LastModified><ETag>{escape(stored.etag)}</ETag>"
        return xml_response("CopyObjectResult", inner, headers)

    def _append_object(self, request: Request) -> Response:
        position = integer(request.params, "position", -1, 0, 1 << 62)
        self._store.bucket(request.bucket)
        intake = receive(self._store, request, self._settings.max_put)
        piece = _new_object(request, intake.finish(), "", intake.crc, "Appendable")
        stored = self._store.append(request.bucket, request.key, position, piece)
        headers = {
            "ETag": stored.etag,
            CRC_HEADER: str(stored.crc),
            "x-oss-next-append-position": str(stored.size),
        }
        return Response(headers=headers)

    def _get_object(self, request: Request) -> Response:
        stored = self._store.get(request.bucket, request.key)
        headers = _object_headers(stored)
        check_match(request.headers, "if-match", stored)
        wanted = wanted_range(request.headers, stored.size)
        if wanted is None:
            return Response(200, headers, content=stored.body, size=stored.size)
        first, last = wanted
        headers["Content-Range"] = f"bytes {first}-{last}/{stored.size}"
        return Response(206, headers, content=stored.body, offset=first, size=last - first + 1)

    def _head_object(self, request: Request) -> Response:
        stored = self._store.get(request.bucket, request.key)
        check_match(request.headers, "if-match", stored)
        return Response(200, _object_headers(stored), content=stored.body, size=stored.size)

    def _get_object_meta(self, request: Request) -> Response:
        stored = self._store.get(request.bucket, request.key)
        headers = {name: value for name, value in _object_headers(stored).items() if name in _META_HEADERS}
        return Response(200, headers, content=stored.body, size=stored.size)

    def _delete_object(self, request: Request) -> Response:
        self._store.delete(request.bucket, request.key)
        return Response(204)

    def _delete_multiple_objects(self, request: Request) -> Response:
        document = read_document(request)
        root = parse(document, "Delete")
        keys = [node.findtext("Key") or "" for node in root.findall("Object")]
        if not keys or len(keys) > 1000:
            raise errors.malformed_xml()
        self._store.bucket(request.bucket)
        for key in keys:
            self._store.delete(request.bucket, key)
        if root.findtext("Quiet") == "true":
            return Response()
        listing = Names(request.params)
        deleted = "".join(f"<Deleted>{listing.named('Key', key)}</Deleted>" for key in keys)
        return xml_response("DeleteResult", listing.encoding + deleted)


def _new_object(request: Request, body: Body, etag: str, crc: int, kind: str) -> StoredObject:
    return StoredObject(
        request.key,
        body,
        etag,
        crc,
        crc_shown=True,
        kind=kind,
        modified=time.time(),
        headers=kept_headers(request.headers),
    )


def _object_headers(stored: StoredObject) -> dict[str, str]:
    headers = {
        "ETag": stored.etag,
        "Last-Modified": formatdate(stored.modified, usegmt=True),
        "Accept-Ranges": "bytes",
        "x-oss-object-type": stored.kind,
        "x-oss-storage-class": "Standard",
        **crc_header(stored.crc, shown=stored.crc_shown),
        **stored.headers,
    }
    if stored.kind == "Appendable":
        headers["x-oss-next-append-position"] = str(stored.size)
    return headers
