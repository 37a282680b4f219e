"""Listing objects by ossfs. Its import takes half as long as all else that oss:// needs."""

from typing import Any

import oss2
import ossfs

_PAGE = 1000
"""Names in one answer: the most that OSS gives, ten times oss2's default."""


class Listing(ossfs.OSSFileSystem):  # type: ignore[misc]  # ossfs ships no types
    """ossfs through the client's own bucket: its credentials, region, connections and timeouts.

    By itself it goes on anonymously without a key, knows no V4 signature, asks for 100 names at a time, and
    shows a listing that is denied as an empty one. One object a listing: it cannot work without its cache,
    which must not be old.
    """

    cachable = False

    def __init__(self, bucket: oss2.Bucket) -> None:
        super().__init__(endpoint=bucket.endpoint)
        self._bucket = bucket

    def _get_bucket(self, bucket_name: str, connect_timeout: int | None = None) -> oss2.Bucket:
        del bucket_name, connect_timeout
        return self._bucket

    def _transfer_object_info_to_dict(self, bucket: str, obj: Any) -> dict[str, Any]:
        """With the ETag, which ossfs drops."""
        return {**super()._transfer_object_info_to_dict(bucket, obj), "ETag": (obj.etag or "").strip('"')}

    def _get_object_info_list(
        self, bucket_name: str, prefix: str, delimiter: str, connect_timeout: int | None
    ) -> list[dict[str, Any]]:
        del connect_timeout
        try:
            found = oss2.ObjectIterator(self._bucket, prefix=prefix, delimiter=delimiter, max_keys=_PAGE)
            return [self._transfer_object_info_to_dict(bucket_name, entry) for entry in found]
        except oss2.exceptions.AccessDenied as error:
            raise PermissionError(str(error.request_id)) from error
