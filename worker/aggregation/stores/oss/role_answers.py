"""What STS and the metadata service answer when they are asked for a role's credentials.

What an answer means is in a table each; whatever is tried again is tried again by the one layer that does,
the client's.
"""

import datetime as dt
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

import requests
from oss2.credentials import Credentials

from aggregation import masking
from aggregation.errors import ConfigurationError

from .transport import PATIENCE, TRANSPORT_ERRORS, UnansweredError, lasting, reason

SENDABLE = re.compile("[!-~]+")
"""What may stand in a header, and in all that RAM and STS issue."""


class Row(NamedTuple):
    """What an answer means. The first row of a table that fits it holds."""

    status: range
    retried: bool
    code: str = ".*"
    """A pattern for the whole of the answer's code."""


_ALL = (
    Row(range(300, 400), retried=False),  # credentials and tokens are for one host only
    Row(range(408, 409), retried=True),  # HTTP: the request came too slowly
    Row(range(429, 430), retried=True),  # HTTP: too many requests
    Row(range(500, 600), retried=True),  # HTTP: the server's fault, or a gateway's
)

STS_ANSWERS = (
    *_ALL,
    # Common error codes: flow control of the user or the API; the next try has another nonce.
    Row(range(400, 500), retried=True, code=r"Throttling(\..*)?|SignatureNonceUsed"),
    Row(range(400, 500), retried=True, code="ServiceUnavailable|InternalError"),
    # STS's error codes. The kubelet writes a new token within minutes, and a new pod gets one.
    Row(range(400, 500), retried=True, code=r"AuthenticationFail\.OIDCToken\.Expired"),
    Row(range(200, 600), retried=False),  # role, provider, trust policy or token are wrong
)

METADATA_ANSWERS = (
    *_ALL,
    # It asks STS for the role.
    Row(range(200, 300), retried=True, code="Throttling.*|InternalError|ServiceUnavailable"),
    Row(range(200, 600), retried=False),  # no such role on this instance, or the mode is forbidden
)


class Temporary(NamedTuple):
    """Credentials and when they end, in seconds since the epoch."""

    credentials: Credentials
    expires: float


class Question(NamedTuple):
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
            found = place(_document(answer))
            values = [str(found[name]) for name in ("AccessKeyId", "AccessKeySecret", "SecurityToken")]
            expires = dt.datetime.fromisoformat(found["Expiration"])
        except (ValueError, KeyError, TypeError):
            values = []
        masking.hide(*values[1:])
        if answer.status_code != HTTPStatus.OK or not values or not all(map(SENDABLE.fullmatch, values)):
            if self.is_retried(answer):
                raise self.unanswered(answer)
            raise ConfigurationError(
                self.doing, f"{self.refusal}: {self.whom} answered {_said(answer)}", self.cure
            )
        if expires.tzinfo is None:
            expires = expires.replace(tzinfo=dt.UTC)
        return Temporary(Credentials(*values), expires.timestamp())

    def is_retried(self, answer: requests.Response) -> bool:
        """Whether an answer that gave no credentials may be another a moment later, as the table says."""
        status, code = answer.status_code, _code(answer)
        rows = (row for row in self.table if status in row.status and re.fullmatch(row.code, code))
        return next((row.retried for row in rows), False)

    def unanswered(self, answer: requests.Response) -> UnansweredError:
        """The error for an answer that says "later"."""
        return UnansweredError(f"{self.whom} answered {_said(answer)}")


def _document(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except RecursionError as error:
        raise ValueError from error


def _code(answer: requests.Response) -> str:
    try:
        document = _document(answer)
    except ValueError:
        return ""
    code = document.get("Code", "") if isinstance(document, dict) else ""
    return code if isinstance(code, str) and re.fullmatch(r"[\w.-]{1,100}", code) else ""


def _said(answer: requests.Response) -> str:
    redirected = ", a redirect, which is not followed" if answer.is_redirect else ""
    return f"{answer.status_code} {_code(answer)}".rstrip() + redirected
