"""Operations that list: objects in both versions, unfinished uploads, their parts."""

import base64
from xml.sax.saxutils import escape

from oss_server import errors
from oss_server.documents import OWNER, Names, boolean, integer, iso, tag, xml_response
from oss_server.objects import Upload
from oss_server.requests import Handlers, Request, Response
from oss_server.settings import Settings
from oss_server.store import Store

_BUCKET_TAGS = ("ExtranetEndpoint", "IntranetEndpoint", "Location", "StorageClass")


class Listings:
    """Listings of objects, uploads and parts, and what a bucket is."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self.handlers: Handlers = {
            "GetBucketInfo": self._get_bucket_info,
            "ListObjects": self._list_objects,
            "ListObjectsV2": self._list_objects_v2,
            "ListMultipartUploads": self._list_multipart_uploads,
            "ListParts": self._list_parts,
        }

    def _get_bucket_info(self, request: Request) -> Response:
        # ossfs asks only whether there is a bucket; oss2 wants to read all of this.
        name = self._store.bucket(request.bucket).name
        inner = "".join(tag(element, "-") for element in _BUCKET_TAGS)
        inner += f"<CreationDate>{iso(0)}</CreationDate><Name>{name}</Name>{OWNER}"
        inner += "<AccessControlList><Grant>private</Grant></AccessControlList>"
        return xml_response("BucketInfo", f"<Bucket>{inner}</Bucket>")

    def _list_objects(self, request: Request) -> Response:
        params = request.params
        marker, listing = params.get("marker", ""), Names(params)
        limit = integer(params, "max-keys", 100, 1, 1000)
        entries, truncated = self._store.list_objects(
            request.bucket, listing.prefix, listing.delimiter, marker, limit
        )
        inner = tag("Name", request.bucket) + listing.header() + listing.named("Marker", marker)
        inner += tag("MaxKeys", str(limit)) + tag("IsTruncated", boolean(truncated))
        if truncated:
            inner += listing.named("NextMarker", entries[-1].name)
        # No xmlns: oss2 finds no element in a namespace.
        return xml_response("ListBucketResult", inner + listing.contents(entries, owner=True))

    def _list_objects_v2(self, request: Request) -> Response:
        params = request.params
        if params["list-type"] != "2":
            raise errors.invalid_argument("list-type should be 2", "list-type", params["list-type"])
        listing, token, start = (
            Names(params),
            params.get("continuation-token", ""),
            params.get("start-after", ""),
        )
        limit = integer(params, "max-keys", 100, 1, 1000)
        marker = max(_read_token(token), start)
        entries, truncated = self._store.list_objects(
            request.bucket, listing.prefix, listing.delimiter, marker, limit
        )
        inner = tag("Name", request.bucket) + listing.header() + listing.named("StartAfter", start)
        inner += (
            tag("ContinuationToken", token) + tag("MaxKeys", str(limit)) + tag("KeyCount", str(len(entries)))
        )
        inner += tag("IsTruncated", boolean(truncated))
        if truncated:
            last = base64.urlsafe_b64encode(entries[-1].name.encode()).decode()
            inner += tag("NextContinuationToken", last)
        owner = params.get("fetch-owner") == "true"
        return xml_response("ListBucketResult", inner + listing.contents(entries, owner=owner))

    def _list_multipart_uploads(self, request: Request) -> Response:
        params, listing = request.params, Names(request.params)
        marker = (params.get("key-marker", ""), params.get("upload-id-marker", ""))
        limit = integer(params, "max-uploads", 1000, 1, 1000)
        entries, truncated = self._store.list_uploads(
            request.bucket, listing.prefix, listing.delimiter, marker, limit
        )
        last = entries[-1] if truncated else None
        item = last.item if last and isinstance(last.item, Upload) else None
        inner = tag("Bucket", request.bucket) + listing.header()
        inner += listing.named("KeyMarker", marker[0]) + tag("UploadIdMarker", marker[1])
        inner += listing.named("NextKeyMarker", item.key if item else last.name if last else "")
        inner += tag("NextUploadIdMarker", item.id if item else "")
        inner += tag("MaxUploads", str(limit)) + tag("IsTruncated", boolean(truncated))
        for entry in entries:
            if isinstance(entry.item, Upload):
                upload = entry.item
                fields = listing.named("Key", upload.key) + tag("UploadId", upload.id)
                inner += f"<Upload>{fields}<Initiated>{iso(upload.initiated)}</Initiated></Upload>"
            else:
                inner += f"<CommonPrefixes>{listing.named('Prefix', entry.name)}</CommonPrefixes>"
        return xml_response("ListMultipartUploadsResult", inner)

    def _list_parts(self, request: Request) -> Response:
        params = request.params
        upload = self._store.upload(request.bucket, request.key, params["uploadId"])
        limit = integer(params, "max-parts", 1000, 1, 1000)
        marker = integer(params, "part-number-marker", 0, 0, self._settings.max_part_number)
        listing = Names(params)
        found = [part for _, part in sorted(upload.parts.items()) if part.number > marker]
        page, truncated = found[:limit], len(found) > limit
        inner = listing.encoding + tag("Bucket", request.bucket) + listing.named("Key", request.key)
        inner += tag("UploadId", upload.id) + tag("StorageClass", "Standard")
        inner += tag("PartNumberMarker", str(marker))
        inner += tag("NextPartNumberMarker", str(page[-1].number if page else marker))
        inner += tag("MaxParts", str(limit)) + tag("IsTruncated", boolean(truncated))
        for part in page:
            crc = tag("HashCrc64ecma", str(part.crc)) if self._settings.crc_in_list_parts else ""
            inner += (
                f"<Part><PartNumber>{part.number}</PartNumber><LastModified>{iso(part.modified)}</LastModified>"
                f"<ETag>{escape(part.etag)}</ETag>{crc}<Size>{part.body.size}</Size></Part>"
            )
        return xml_response("ListPartsResult", inner)


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError as err:
        raise errors.invalid_argument(
            "The continuation-token is invalid.", "continuation-token", token
        ) from err
