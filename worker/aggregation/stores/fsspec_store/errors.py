"""What an fsspec file system and the packages below it raise, as one of our errors.

The packages are the user's choice and may be absent, so their errors are known by name: the names of a class
and of all that it derives from. A service's own answer counts more than what a package makes of it, and what
an error came from is looked at too: s3fs says "file not found" where the bucket is missing.
"""

from collections.abc import Iterator
from http.client import responses
from typing import Any, NamedTuple

from aggregation.errors import (
    AggregationError,
    ConfigurationError,
    IntegrityError,
    MissingInputError,
    RefusedError,
    UnavailableError,
    WrongUsageError,
    from_os_error,
)
from aggregation.location import Location


class _Cause(NamedTuple):
    """What an answer means, and what to do about it."""

    kind: type[AggregationError]
    cure: str


_AGAIN = _Cause(UnavailableError, "run again")
_REPLACED = _Cause(IntegrityError, "it was replaced while it was read: run again")
_MISSING = _Cause(MissingInputError, "write it, or run the step that makes it")
_DENIED = _Cause(ConfigurationError, "check the credentials and what they may do")
_LOGIN = _Cause(ConfigurationError, "check the credentials")
_SETTINGS = _Cause(ConfigurationError, "check the root and the file system's own settings")
_BUCKET = _Cause(ConfigurationError, "check the bucket's name in the root, and its region")
_TRUST = _Cause(ConfigurationError, "check the endpoint, and the authorities trusted here")
_FULL = _Cause(RefusedError, "free some space or raise the quota, then run again")


def _each(names: str, cause: _Cause) -> dict[str, _Cause]:
    return dict.fromkeys(names.split(), cause)


_CODES: dict[str, _Cause] = {
    **_each("NoSuchKey NoSuchVersion", _MISSING),
    **_each("NoSuchBucket InvalidBucketName PermanentRedirect", _BUCKET),
    **_each("AuthorizationHeaderMalformed IllegalLocationConstraintException", _BUCKET),
    "InvalidObjectState": _Cause(ConfigurationError, "it is archived: restore it first"),
    "RequestTimeTooSkewed": _Cause(ConfigurationError, "set this machine's clock"),
    "NoSuchUpload": _Cause(IntegrityError, "somebody else ended the upload: run again"),
    **_each("PreconditionFailed InvalidRange", _REPLACED),
    **_each("InternalError ServiceUnavailable SlowDown RequestTimeout RequestLimitExceeded", _AGAIN),
    **_each("Throttling ThrottlingException TooManyRequestsException", _AGAIN),
    **_each("OperationAborted ConditionalRequestConflict BadDigest IncompleteBody", _AGAIN),
    "KeyTooLongError": _Cause(WrongUsageError, "use a shorter root or a smaller number"),
    "EntityTooLarge": _Cause(RefusedError, "the store does not hold objects of this size: use another one"),
    **_each("QuotaExceeded XMinioStorageFull", _FULL),
}
"""S3's codes, and those of servers that speak its protocol; others go by the status."""

_STATUSES: dict[int, _Cause] = {
    301: _BUCKET,
    401: _LOGIN,
    403: _DENIED,
    404: _MISSING,
    507: _FULL,
    **dict.fromkeys((307, 408, 409, 425, 429), _AGAIN),
    **dict.fromkeys((412, 416), _REPLACED),
}

_INSIDE = "InvalidProxiesConfigError"
"""What counts more than botocore's HTTPClientError around it, which may pass."""

_NAMES: dict[str, _Cause] = {
    **_each("SSLCertVerificationError botocore.SSLError ClientConnectorCertificateError", _TRUST),
    "NoCredentialsError": _Cause(
        ConfigurationError,
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role or profile that has them",
    ),
    # botocore's
    **_each("PartialCredentialsError ProfileNotFound NoAuthTokenError TokenRetrievalError", _LOGIN),
    **_each("SSOTokenLoadError UnauthorizedSSOTokenError", _LOGIN),
    "CredentialRetrievalError": _Cause(UnavailableError, "whoever gives the credentials did not: run again"),
    **_each("MetadataRetrievalError HTTPClientError botocore.ConnectionError", _AGAIN),
    **_each("ResponseParserError ResponseStreamingError IncompleteReadError", _AGAIN),
    **_each("ChecksumError FlexibleChecksumError MaxRetriesExceededError", _AGAIN),
    "BotoCoreError": _SETTINGS,
    _INSIDE: _Cause(ConfigurationError, "check HTTPS_PROXY and HTTP_PROXY"),
    # aiohttp's (botocore's ClientError has a response), http.client's, those of requests, Google and Azure
    **_each("ClientError IncompleteRead HTTPException RequestException TransportError", _AGAIN),
    **_each("ServiceRequestError ServiceResponseError", _AGAIN),
    **_each("DefaultCredentialsError RefreshError ClientAuthenticationError", _LOGIN),
    # paramiko's, ftplib's, fsspec's and Python's
    "AuthenticationException": _LOGIN,
    "BadHostKeyException": _Cause(ConfigurationError, "check the host, and the keys of hosts known here"),
    **_each("SSHException error_reply error_proto EOFError TimeoutError ConnectionError", _AGAIN),
    "FileExpired": _REPLACED,
    "gaierror": _Cause(UnavailableError, "check the host's name and this machine's DNS, then run again"),
    "NotImplementedError": _Cause(ConfigurationError, "the file system cannot do that: use another store"),
    "ValueError": _SETTINGS,
}
"""Errors by the name of a class, or by that of its package too where another one's means something else. The
most derived class that is named here counts: TLS's errors derive from those of a connection."""

_FTP: dict[str, _Cause] = {
    **_each("452 552", _FULL),
    "501": _SETTINGS,
    **_each("530 532", _LOGIN),
    "553": _Cause(ConfigurationError, "the server does not take that name"),
}
"""FTP's replies that say more than their first digit: 4 passes, 5 stays."""


def translated(error: Exception, doing: str, location: Location, *, writing: bool = False) -> Exception:
    """The error as one of ours, without the root's password.

    What is neither a file system's nor the network's doing stays what it is.
    """
    if isinstance(error, AggregationError):
        return error
    if isinstance(error, OSError) and location.is_local and error.errno:
        return from_os_error(error, doing, str(error.filename or location), writing=writing)
    found = _known(error)
    if found is not None:
        cause, why = found
        return cause.kind(doing, location.masked(why), cause.cure)
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        path = location.masked(str(error.filename or location))
        return from_os_error(error, doing, path, writing=writing)
    if not isinstance(error, OSError) and type(error).__module__ == "builtins":
        return error
    return UnavailableError(doing, location.masked(f"{type(error).__name__}: {_text(error)}"), "run again")


def _known(error: Exception) -> tuple[_Cause, str] | None:
    """What the error means, and what it says: by a service's answer before it, by its name else."""
    origins = list(_origins(error))
    for one in origins:
        answer = _answer(one)
        # Which way of looking an FTP server does not take says nothing against what another one found absent.
        if answer is not None and not (answer[0] is _SETTINGS and isinstance(error, FileNotFoundError)):
            return answer
    if isinstance(error, FileNotFoundError):
        return _MISSING, f"{error.filename or _text(error)} is missing"
    if isinstance(error, PermissionError):
        return _DENIED, _text(error)
    origins.sort(key=lambda one: type(one).__name__ != _INSIDE)
    for one in origins:
        cause = _named(one)
        if cause is not None:
            return cause, f"{type(one).__name__}: {_text(one)}"
    return None


def _origins(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came from, deepest last."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _answer(error: BaseException) -> tuple[_Cause, str] | None:
    """What a service said, if the error is its answer."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict) and isinstance(response.get("Error"), dict):
        told = response["Error"]
        of_http = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
        return _of_service(str(told.get("Code", "")), of_http, str(told.get("Message", "")))
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"error_perm", "error_temp"}:
        return _of_ftp(_text(error))
    places: Any = (response, "status_code"), (error, "status_code"), (error, "status"), (error, "code")
    status: Any = next((found for place, name in places if (found := getattr(place, name, None))), None)
    if isinstance(status, int) and 300 <= status < 600:  # noqa: PLR2004 - what HTTP's statuses are
        return _of_service("", status, _text(error))
    return None


def _of_service(code: str, status: int, message: str) -> tuple[_Cause, str]:
    if code.isdigit():  # an answer without a body, to HEAD
        status, code = status or int(code), ""
    cause = _CODES.get(code) or _STATUSES.get(status)
    if cause is None:
        cause = _AGAIN if status >= 500 or status == 0 else _DENIED  # noqa: PLR2004 - HTTP's
    said = code or f"{status} {responses.get(status, '')}".strip()
    return cause, f"{said}: {message}" if message and message != code else said


def _of_ftp(text: str) -> tuple[_Cause, str]:
    lowered = text.lower()
    if text.startswith("550"):
        absent = any(words in lowered for words in ("no such", "not found", "not exist", "cannot find"))
        return (_MISSING if absent else _DENIED), text
    return _FTP.get(text[:3], _AGAIN if text.startswith("4") else _SETTINGS), text


def _named(error: BaseException) -> _Cause | None:
    for kind in type(error).__mro__:
        package = kind.__module__.partition(".")[0]
        cause = _NAMES.get(f"{package}.{kind.__name__}") or _NAMES.get(kind.__name__)
        if cause is not None:
            return cause
    return None


def _text(error: BaseException) -> str:
    """What the error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
