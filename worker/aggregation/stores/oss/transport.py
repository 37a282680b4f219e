"""How requests leave this machine, to OSS, STS and the metadata service, and what their failures mean.

Proxies and certificates come from the environment, as requests takes them, but once. What no later try can
cure, such as a CA file that is not there, is told from connections that fail.
"""

import ssl
import threading
from collections.abc import Iterator
from http.client import HTTPException
from typing import NamedTuple

import oss2
import requests
import urllib3

from aggregation import masking
from aggregation.errors import ConfigurationError


class UnansweredError(Exception):
    """An answer that says "later": it is tried again, as a connection that failed is."""


TRANSPORT_ERRORS = (
    UnansweredError,
    oss2.exceptions.RequestError,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    HTTPException,
    OSError,
    UnicodeError,  # UnicodeDecodeError: a redirect of a role's service, which requests looks at anyway
)
"""What sending may raise, at whichever layer it is noticed; oss2 wraps only some."""


class _Patience(threading.local):
    """How long this thread's next request may wait for a byte of its answer, in seconds."""

    seconds = 30.0


PATIENCE = _Patience()


def new_session(url: str, *, direct: bool = False) -> requests.Session:
    """A session for requests to one host; see use_environment."""
    session = requests.Session()
    use_environment(session, url, direct=direct)
    return session


def use_environment(session: requests.Session, url: str, *, direct: bool = False) -> None:
    """Take proxies and certificates from the environment now, not at each request: a sixth of its time.

    With `direct` there are no proxies: an instance's metadata are found on its own link only. A password for
    the host in ~/.netrc is left alone: it would replace the signature.

    Raises:
        ConfigurationError: a proxy's URL cannot be read.
    """
    settings = session.merge_environment_settings(url, {}, None, None, None)
    session.proxies = {} if direct else settings["proxies"]
    session.verify = settings["verify"]
    session.trust_env = False
    for proxy in session.proxies.values():
        try:
            _, password = requests.utils.get_auth_from_url(proxy)
        except ValueError:  # whose text may show the password
            raise ConfigurationError(f"looking for a proxy to {url}", _UNREADABLE, _PROXY) from None
        masking.hide(password)


def proxy_of(session: requests.Session, url: str) -> str:
    """The proxy between here and the URL, as it may be shown; empty if there is none."""
    return masking.masked(requests.utils.select_proxy(url, session.proxies) or "")


class Cause(NamedTuple):
    """Why a request could not be sent, and how a person cures that."""

    why: str
    cure: str


_CERTIFICATES = "set REQUESTS_CA_BUNDLE to a file with the right certificates, or unset it"
_UNREADABLE = "the proxy's URL cannot be read"
_PROXY = "check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY"

_NO_FILE = "Could not find"
_PROXY_DENIES = "Tunnel connection failed: 407"

_TLS_REASONS = {
    "WRONG_VERSION_NUMBER": "no TLS is spoken there",
    "HTTP_REQUEST": "no TLS is spoken there",
    "UNSUPPORTED_PROTOCOL": "no common version of TLS is spoken there",
    "TLSV1_ALERT_PROTOCOL_VERSION": "no common version of TLS is spoken there",
    "NO_CERTIFICATE_OR_CRL_FOUND": "the file of certificates holds none",
    "NO_START_LINE": "the file of certificates holds none",
}
"""OpenSSL's reasons that stay; others, such as an end in the middle of the handshake, may pass."""


def lasting(error: BaseException) -> Cause | None:
    """What is wrong with the configuration, if that is why the request failed; None if a later try may pass.

    No header's value is in it: these are the errors that carry them.
    """
    looks = (_tls_cause, _text_cause, _address_cause, _untyped_cause)
    return next((cause for one in _chain(error) for look in looks if (cause := look(one))), None)


def _tls_cause(error: BaseException) -> Cause | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Cause(f"the server's certificate is refused: {error.verify_message}", _CERTIFICATES)
    if isinstance(error, ssl.SSLError) and error.reason in _TLS_REASONS:
        said = _TLS_REASONS[error.reason]
        return Cause(f"{said} ({error.reason})", f"check http or https in the endpoint; {_CERTIFICATES}")
    return None


def _text_cause(error: BaseException) -> Cause | None:
    if isinstance(error, requests.exceptions.InvalidHeader | UnicodeEncodeError):
        why = "a name, a credential or a proxy's password has characters that cannot be sent"
        return Cause(why, "look at the root and the OSS_ and proxy variables")
    return None


def _address_cause(error: BaseException) -> Cause | None:
    if isinstance(error, requests.exceptions.InvalidSchema) and "SOCKS" in str(error):
        cure = f"install requests[socks] beside the worker, or {_PROXY}"
        return Cause("a SOCKS proxy is set, and the package that speaks to it is missing", cure)
    if isinstance(error, requests.exceptions.InvalidProxyURL):
        return Cause(_UNREADABLE, _PROXY)
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return Cause(f"{type(error).__name__}: {masking.masked(str(error))}", f"check the endpoint; {_PROXY}")
    if isinstance(error, urllib3.exceptions.LocationValueError):
        return Cause("the endpoint's or the proxy's host cannot be read", f"check the endpoint; {_PROXY}")
    return None


def _untyped_cause(error: BaseException) -> Cause | None:
    """What is known by its words only: requests and http.client have no types for these."""
    if isinstance(error, OSError) and error.errno is None and str(error).startswith(_NO_FILE):
        return Cause(str(error), _CERTIFICATES)
    if isinstance(error, OSError) and str(error).startswith(_PROXY_DENIES):
        return Cause("407: the proxy wants another user or password", _PROXY)
    return None


def reason(error: BaseException) -> str:
    """A transport's error in a few words: its innermost cause says more than its wrapping."""
    if isinstance(error, UnansweredError):
        return str(error)
    *_, inner = _chain(error)
    return masking.masked(f"{type(inner).__name__}: {inner}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it wraps, from the outside in."""
    one: BaseException | None = getattr(error, "exception", error)
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__ or _first_exception(one)


def _first_exception(error: BaseException) -> BaseException | None:
    return next((argument for argument in error.args if isinstance(argument, BaseException)), None)
