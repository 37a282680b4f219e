"""Accounts, and the check of every request's signature: V1 and V4, in the Authorization header.

The rules are those of Alibaba's documents "Include signatures in the Authorization header" and "(Recommended)
Include V4 signatures"; the code shares nothing with the clients that it checks.
"""

import base64
import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from oss_server.errors import OssError, invalid_argument

MAX_SKEW = 15 * 60  # seconds, in either direction

# The query parameters of served operations that V1 signs; it ignores all others.
_V1_SIGNED = frozenset(
    [
        "append",
        "bucketInfo",
        "continuation-token",
        "delete",
        "objectMeta",
        "partNumber",
        "position",
        "uploadId",
        "uploads",
    ]
)
_V1_HEADER = re.compile(r"OSS ([^:]+):(.+)")
_V4 = "OSS4-HMAC-SHA256"
_V4_FIELD = re.compile(r"(Credential|AdditionalHeaders|Signature)=([^,\s]*)")


@dataclass(frozen=True)
class Account:
    """What may sign requests.

    Attributes:
        access_key_id: Names the account in a request.
        access_key_secret: Signs.
        security_token: Must come with each request when set, and must not come when not.
        expires: Unix time after which the account is refused; None: never.
    """

    access_key_id: str
    access_key_secret: str
    security_token: str | None = None
    expires: float | None = None


class Accounts:
    """The accounts that the server knows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Account] = {}

    def add(self, account: Account) -> None:
        """Accept an account, in place of one of the same id."""
        with self._lock:
            self._known[account.access_key_id] = account

    def find(self, access_key_id: str) -> Account | None:
        """Return the account of this id, if it is known."""
        with self._lock:
            return self._known.get(access_key_id)

    def issue(self, expires: float) -> Account:
        """Make and accept temporary credentials, valid until a Unix time."""
        account = Account(
            f"STS.{secrets.token_hex(10)}", secrets.token_urlsafe(30), secrets.token_urlsafe(60), expires
        )
        self.add(account)
        return account


@dataclass(frozen=True)
class Signed:
    """The parts of a request that signatures cover.

    Attributes:
        method: The HTTP method.
        bucket: Empty for operations of the service.
        key: Empty for operations of a bucket.
        params: Query parameters, decoded; one without a value has the empty string.
        headers: By lower-case name; values as latin-1, so that encoding returns the bytes that came.
    """

    method: str
    bucket: str
    key: str
    params: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def resource(self) -> str:
        """The path that is signed: the bucket is part of it in every addressing style."""
        return f"/{self.bucket}/{self.key}" if self.bucket else "/"


@dataclass(frozen=True)
class _Claim:
    """What a request says about its signature."""

    access_key_id: str
    signature: str
    token: str | None
    version: str
    scope: str = ""
    additional: tuple[str, ...] = ()


def claimed_key_id(request: Signed) -> str:
    """Return the access key id that a request names, unchecked; empty for an anonymous or unreadable one."""
    try:
        claim = _claim(request)
    except OssError:
        return ""
    return claim.access_key_id if claim else ""


def verify(request: Signed, accounts: Accounts, region: str, now: float) -> Account:
    """Check who signed a request; `now` is the server's Unix time.

    Raises:
        OssError: 403 with the code that tells why, or 400 for a malformed or foreign V4 scope.
    """
    claim = _claim(request)
    if claim is None:
        raise OssError(403, "AccessDenied", "You have no right to access this object because of bucket acl.")
    account = accounts.find(claim.access_key_id)
    if account is None or (account.security_token and not claim.token):
        message = "The OSS Access Key Id you provided does not exist in our records."
        raise OssError(403, "InvalidAccessKeyId", message, OSSAccessKeyId=claim.access_key_id)
    if claim.token and not hmac.compare_digest(claim.token.encode(), (account.security_token or "").encode()):
        raise OssError(403, "InvalidSecurityToken", "The security token you provided is invalid.")
    if account.expires is not None and now > account.expires:
        raise OssError(403, "SecurityTokenExpired", "The security token you provided has expired.")
    check = _check_v4 if claim.version == _V4 else _check_v1
    check(request, claim, account, region, now)
    return account


def _claim(request: Signed) -> _Claim | None:
    authorization = request.headers.get("authorization", "")
    token = request.headers.get("x-oss-security-token")
    if not authorization:
        return None
    if authorization.startswith(_V4):
        fields = dict(_V4_FIELD.findall(authorization))
        access_key_id, _, scope = fields.get("Credential", "").partition("/")
        additional = tuple(name for name in fields.get("AdditionalHeaders", "").lower().split(";") if name)
        return _Claim(access_key_id, fields.get("Signature", ""), token, _V4, scope, additional)
    match = _V1_HEADER.fullmatch(authorization)
    if match is None:
        raise invalid_argument("Authorization header is invalid.", "Authorization", authorization)
    return _Claim(match[1], match[2], token, "OSS")


def _check_v1(request: Signed, claim: _Claim, account: Account, region: str, now: float) -> None:
    del region  # V1 knows none
    headers = request.headers
    date = headers.get("x-oss-date") or headers.get("date", "")
    _check_time(date, _parse_http_date(date), now)
    oss_headers = "".join(
        f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-oss-")
    )
    signed = sorted((name, value) for name, value in request.params.items() if name in _V1_SIGNED)
    query = "&".join(f"{name}={value}" if value else name for name, value in signed)
    # Headers are bytes on the wire (latin-1 gives them back); the resource is signed as UTF-8.
    lines = [
        request.method,
        headers.get("content-md5", ""),
        headers.get("content-type", ""),
        date,
        oss_headers,
    ]
    text = "\n".join(lines).encode("latin-1") + (request.resource + ("?" + query if query else "")).encode()
    expected = base64.b64encode(hmac.digest(account.access_key_secret.encode(), text, "sha1")).decode()
    _compare(claim, expected, text)


def _check_v4(request: Signed, claim: _Claim, account: Account, region: str, now: float) -> None:
    stamp = request.headers.get("x-oss-date", "")
    _check_time(stamp, _parse_v4_date(stamp), now)
    parts = claim.scope.split("/")
    if len(parts) != 4 or parts[3] != "aliyun_v4_request":
        raise invalid_argument("Invalid credential in Authorization header.", "Authorization", claim.scope)
    for what, found, expected in (
        ("date", parts[0], stamp[:8]),
        ("region", parts[1], region),
        ("product", parts[2], "oss"),
    ):
        if found != expected:
            raise invalid_argument(
                f"Invalid signing {what} in Authorization header.", "Authorization", claim.scope
            )
    canonical = _canonical_v4(request, claim)
    text = "\n".join([_V4, stamp, claim.scope, hashlib.sha256(canonical).hexdigest()])
    signing_key = ("aliyun_v4" + account.access_key_secret).encode()
    for part in parts:
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    expected = hmac.digest(signing_key, text.encode(), "sha256").hex()
    _compare(claim, expected, text.encode(), CanonicalRequest=canonical.decode("utf-8", "replace"))


def _canonical_v4(request: Signed, claim: _Claim) -> bytes:
    """Return the request as V4 signs it.

    A parameter without a value is signed by its name alone, whether the URL has `prefix` or `prefix=`: oss2,
    alibabacloud-oss-v2 and the SDKs for Go, Java, C++ and PHP sign so, and oss2 sends `prefix=`. ali-oss 6.23
    signs its `uploads=` so too, but an empty prefix as `prefix=`: nothing shows that the service accepts
    that, and this server does not.
    """
    headers = request.headers
    query = "&".join(
        f"{name}={value}" if value else name
        for name, value in sorted(
            (quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in request.params.items()
        )
    )
    always = ("content-type", "content-md5")
    names = [n for n in sorted(headers) if n.startswith("x-oss-") or n in always or n in claim.additional]
    lines = [
        request.method,
        quote(request.resource, safe="/-_.~"),
        query,
        "".join(f"{name}:{headers[name].strip()}\n" for name in names),
        ";".join(sorted(claim.additional)),
        headers.get("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
    ]
    return "\n".join(lines).encode("latin-1")


def _compare(claim: _Claim, expected: str, text: bytes, **details: str) -> None:
    if not hmac.compare_digest(claim.signature.encode(), expected.encode()):
        message = "The request signature we calculated does not match the signature you provided."
        raise OssError(
            403,
            "SignatureDoesNotMatch",
            message,
            OSSAccessKeyId=claim.access_key_id,
            SignatureProvided=claim.signature,
            headers=None,
            StringToSign=text.decode("utf-8", "replace"),
            **details,
        )


def _check_time(text: str, signed_at: float | None, now: float) -> None:
    if signed_at is None:
        message = "OSS authentication requires a valid Date."
        raise OssError(403, "AccessDenied", message)
    if abs(now - signed_at) > MAX_SKEW:
        message = "The difference between the request time and the current time is too large."
        server_time = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        raise OssError(
            403,
            "RequestTimeTooSkewed",
            message,
            MaxAllowedSkewMilliseconds=str(MAX_SKEW * 1000),
            RequestTime=text,
            ServerTime=server_time,
        )


def _parse_http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return None


def _parse_v4_date(text: str) -> float | None:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
