"""The marks on the objects that the worker makes, by which it knows its own again."""

import os

import oss2

TOKEN_HEADER = "x-oss-meta-aggregation-token"  # noqa: S105 - a mark, not a secret
CRC_HEADER = "x-oss-meta-aggregation-crc64"


def new_token() -> str:
    """A mark that no other object has."""
    return os.urandom(8).hex()


def headers(key: str, token: str, crc64: int | None) -> dict[str, str]:
    """What a new object is to have: the marks, and the Content-Type that its key's ending stands for."""
    marks = {TOKEN_HEADER: token} if crc64 is None else {TOKEN_HEADER: token, CRC_HEADER: str(crc64)}
    return {**marks, **oss2.utils.set_content_type({}, key)}
