"""Temporary credentials of a role: RRSA's by STS, an ECS instance's by its metadata service.

They are renewed some minutes before they end, and used to their end where that fails. What an answer means is
in a table each; whatever is tried again is tried again by the one layer that does, the client's.
"""

import datetime as dt
import os
import re
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

import requests
from oss2.credentials import Credentials, CredentialsProvider

from aggregation import masking
from aggregation.errors import ConfigurationError

from .transport import PATIENCE, TRANSPORT_ERRORS, UnansweredError, lasting, new_session, reason

RENEW_SECONDS = 300
"""Before the end of credentials, new ones are asked for."""

_AGAIN_SECONDS = 10
"""Between two questions for new credentials while the old ones are valid."""

_STS_SECONDS = 10.0
_METADATA_SECONDS = 5.0
_TOKEN_SECONDS = 2.0
"""Without a byte of an answer, at most. A metadata token that does not come from the next hop never comes."""

_METADATA = "http://100.100.100.200"
"""Where an ECS instance asks for its RAM role's credentials."""

_TOKEN_TTL_SECONDS = 60

_SENDABLE = re.compile("[!-~]+")
"""What may stand in a header."""


class Row(NamedTuple):
    """What an answer means. The first row of a table that fits it holds."""

    status: range
    code: str
    """A pattern for the whole of the answer's code."""
    retried: bool
    source: str
    """Where that is written, or why it is so."""


_ANY = ".*"
_REDIRECT = Row(range(300, 400), _ANY, retried=False, source="credentials and tokens are for one host only")
_SERVER = (
    Row(range(408, 409), _ANY, retried=True, source="HTTP: the request came too slowly"),
    Row(range(429, 430), _ANY, retried=True, source="HTTP: too many requests"),
    Row(range(500, 600), _ANY, retried=True, source="HTTP: the server's fault, or a gateway's"),
)

STS_ANSWERS = (
    _REDIRECT,
    *_SERVER,
    Row(
        range(400, 500),
        r"Throttling(\..*)?",
        retried=True,
        source="common error codes: flow control of the user or the API",
    ),
    Row(range(400, 500), "ServiceUnavailable|InternalError", retried=True, source="common error codes"),
    Row(
        range(400, 500),
        "SignatureNonceUsed",
        retried=True,
        source="common error codes: the next try has another nonce",
    ),
    Row(
        range(400, 500),
        r"AuthenticationFail\.OIDCToken\.Expired",
        retried=True,
        source="STS's error codes; the kubelet writes a new token within minutes, and a new pod gets one",
    ),
    Row(
        range(200, 600),
        _ANY,
        retried=False,
        source="STS's error codes: role, provider, trust policy or token are wrong",
    ),
)

METADATA_ANSWERS = (
    _REDIRECT,
    *_SERVER,
    Row(
        range(200, 300),
        "Throttling.*|InternalError|ServiceUnavailable",
        retried=True,
        source="the role is asked for at STS",
    ),
    Row(
        range(200, 600), _ANY, retried=False, source="no such role on this instance, or the mode is forbidden"
    ),
)


def is_retried(table: tuple[Row, ...], status: int, code: str) -> bool:
    """Whether an answer that gave no credentials may be another a moment later."""
    return next(
        (row.retried for row in table if status in row.status and re.fullmatch(row.code, code)), False
    )


class Temporary(NamedTuple):
    """Credentials and when they end, in seconds since the epoch."""

    credentials: Credentials
    expires: float


class RoleProvider(CredentialsProvider):  # type: ignore[misc]  # oss2 ships no types
    """A role's credentials, renewed in time. Safe to use from several threads: one asks, for all."""

    def __init__(self, fetch: Callable[[], Temporary]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._found: Temporary | None = None
        self._next_look = 0.0
        self._asked = 0
        self._failure: Exception | None = None

    def get_credentials(self) -> Credentials:
        """See oss2. Valid ones are used whatever became of the question for new ones.

        Raises:
            ConfigurationError: none are given to this role.
            UnansweredError: STS or the metadata service says "later".
            Exception: one of the errors of transport.
        """
        found = self._found
        now = time.time()
        if found is not None and now < self._next_look:
            return found.credentials
        if found is not None and now < found.expires:
            if self._lock.acquire(blocking=False):  # else another thread is renewing them
                try:
                    self._renew(found)
                finally:
                    self._lock.release()
            return (self._found or found).credentials
        return self._obtain().credentials

    def _renew(self, found: Temporary) -> None:
        try:
            self._take(self._fetch())
        except (ConfigurationError, *TRANSPORT_ERRORS):  # shown once the valid ones have ended
            self._next_look = min(time.time() + _AGAIN_SECONDS, found.expires)

    def _obtain(self) -> Temporary:
        asked = self._asked
        with self._lock:
            if self._asked != asked:  # another thread has asked meanwhile: its answer is ours
                if self._failure is not None:
                    raise type(self._failure)(*self._failure.args)
                if self._found is not None:
                    return self._found
            try:
                self._failure = None
                return self._take(self._fetch())
            except (ConfigurationError, *TRANSPORT_ERRORS) as error:
                self._failure = error
                raise
            finally:
                self._asked += 1

    def _take(self, found: Temporary) -> Temporary:
        now = time.time()
        soon = now + _AGAIN_SECONDS
        end = found.expires if found.expires > now else soon  # over already: this machine's clock is wrong
        self._next_look = min(max(found.expires - RENEW_SECONDS, soon), end)
        self._found = found
        return found


def assume_role(doing: str, role: str, token_file: str) -> Temporary:
    """RAM Roles for Service Accounts: the pod's OIDC token against temporary credentials.

    The variables are those that the cluster's webhook sets. Alibaba's own package for this sends the token in
    the URL, and logs the URL when it fails; here it is in the request's body and in no message.

    Raises:
        ConfigurationError: what STS refuses for good.
        UnansweredError: what it may grant later.
    """
    cure = "check the service account's role, its trust policy and ALIBABA_CLOUD_OIDC_PROVIDER_ARN"
    try:
        with open(token_file, encoding="ascii") as file:
            token = file.read().strip()
    except (OSError, ValueError) as error:
        why = f"RRSA gave no credentials: the OIDC token cannot be read ({type(error).__name__})"
        raise ConfigurationError(doing, why, cure) from None
    masking.hide(token)
    asking = _Asking(doing, "STS", STS_ANSWERS, "RRSA gave no credentials", cure)
    url = _sts_endpoint()
    answer = asking.send(
        "POST",
        url,
        new_session(url),
        _STS_SECONDS,
        params={
            "Action": "AssumeRoleWithOIDC",
            "Version": "2015-04-01",
            "Format": "JSON",
            "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "SignatureNonce": os.urandom(16).hex(),
        },
        data={
            "RoleArn": role,
            "OIDCProviderArn": os.environ.get("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "").strip(),
            "OIDCToken": token,
            "RoleSessionName": "aggregation-worker",
        },
    )
    return asking.credentials(answer, lambda document: document["Credentials"])


def ask_metadata(doing: str, role: str) -> Temporary:
    """The RAM role of the ECS instance: in hardened mode, by a token; in plain mode where there is none.

    Raises:
        ConfigurationError: what the service refuses for good.
        UnansweredError: what it may grant later.
    """
    asking = _Asking(
        doing,
        "the ECS metadata service",
        METADATA_ANSWERS,
        "the ECS metadata service gave no credentials",
        "check ALIBABA_CLOUD_ECS_METADATA and the role that the instance has",
    )
    host = os.environ.get("ALIBABA_CLOUD_ECS_METADATA_ENDPOINT", "").strip().rstrip("/") or _METADATA
    host = host if "://" in host else f"http://{host}"
    session = new_session(host, direct=True)
    headers = {"X-aliyun-ecs-metadata-token-ttl-seconds": str(_TOKEN_TTL_SECONDS)}
    token = ""
    failure: UnansweredError | None = None
    try:
        answer = asking.send("PUT", f"{host}/latest/api/token", session, _TOKEN_SECONDS, headers=headers)
    except UnansweredError as error:
        failure = error
    else:
        if answer.status_code == HTTPStatus.OK and _SENDABLE.fullmatch(answer.text.strip()):
            token = answer.text.strip()
            masking.hide(token)
        elif answer.status_code != HTTPStatus.NOT_IMPLEMENTED and asking.is_retried(answer):
            failure = asking.unanswered(answer)
    url = f"{host}/latest/meta-data/ram/security-credentials/{quote(role, safe='')}"
    headers = {"X-aliyun-ecs-metadata-token": token} if token else {}
    answer = asking.send("GET", url, session, _METADATA_SECONDS, headers=headers)
    if failure and answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise failure  # only the token would have opened this door
    return asking.credentials(answer, lambda document: document)


class _Asking(NamedTuple):
    """A question for credentials: whom it is asked, and what is said where there is no good answer."""

    doing: str
    whom: str
    table: tuple[Row, ...]
    refusal: str
    cure: str

    def send(
        self, method: str, url: str, session: requests.Session, seconds: float, **request: Any
    ) -> requests.Response:
        """Send one request, and follow no redirect.

        Raises:
            ConfigurationError: it cannot be sent from here.
            UnansweredError: no answer came.
        """
        seconds = min(seconds, PATIENCE.seconds)
        try:
            with session:
                return session.request(method, url, timeout=seconds, allow_redirects=False, **request)
        except TRANSPORT_ERRORS as error:
            if found := lasting(error):
                raise ConfigurationError(
                    self.doing, f"{self.refusal}: {self.whom}: {found.why}", found.cure
                ) from None
            raise UnansweredError(f"{self.whom}: {reason(error)}") from None

    def credentials(self, answer: requests.Response, place: Callable[[Any], Any]) -> Temporary:
        """What the answer grants, where `place` finds it.

        Raises:
            ConfigurationError: nothing, and that stays so.
            UnansweredError: nothing yet.
        """
        try:
            found = place(answer.json())
            values = [str(found[name]) for name in ("AccessKeyId", "AccessKeySecret", "SecurityToken")]
            expires = dt.datetime.fromisoformat(found["Expiration"])
        except (ValueError, KeyError, TypeError):
            values = []
        masking.hide(*values[1:])
        if answer.status_code != HTTPStatus.OK or not values or not all(map(_SENDABLE.fullmatch, values)):
            if self.is_retried(answer):
                raise self.unanswered(answer)
            raise ConfigurationError(
                self.doing, f"{self.refusal}: {self.whom} answered {_said(answer)}", self.cure
            )
        if expires.tzinfo is None:
            expires = expires.replace(tzinfo=dt.UTC)
        return Temporary(Credentials(*values), expires.timestamp())

    def is_retried(self, answer: requests.Response) -> bool:
        """What the table says."""
        return is_retried(self.table, answer.status_code, _code(answer))

    def unanswered(self, answer: requests.Response) -> UnansweredError:
        """The error for an answer that says "later"."""
        return UnansweredError(f"{self.whom} answered {_said(answer)}")


def _code(answer: requests.Response) -> str:
    try:
        document = answer.json()
    except ValueError:
        return ""
    code = document.get("Code", "") if isinstance(document, dict) else ""
    return code if isinstance(code, str) and re.fullmatch(r"[\w.-]{1,100}", code) else ""


def _said(answer: requests.Response) -> str:
    redirected = ", a redirect, which is not followed" if answer.is_redirect else ""
    return f"{answer.status_code} {_code(answer)}".rstrip() + redirected


def _sts_endpoint() -> str:
    region = os.environ.get("ALIBABA_CLOUD_STS_REGION", "").strip()
    within = "-vpc" if os.environ.get("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "").lower() == "true" else ""
    host = f"sts{within}.{region}.aliyuncs.com" if region else "sts.aliyuncs.com"
    endpoint = os.environ.get("ALIBABA_CLOUD_STS_ENDPOINT", "").strip() or host
    return endpoint if "://" in endpoint else f"https://{endpoint}"
