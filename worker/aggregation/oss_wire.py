"""One request to a bucket: built and signed by oss2, sent by one session, its answer looked at first."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import oss2
import requests

from .errors import ConfigurationError
from .oss_answers import DENIED, ServiceError, date, success
from .oss_credentials import Configuration
from .oss_transport import PATIENCE, proxy_of, use_environment

CONNECT_SECONDS = 10.0


class Wire:
    """Sends the requests of one bucket. Safe to use from several threads at once.

    `peer` says in a few words where they go; `ahead` is by how many seconds the service's clock was ahead of
    this machine's when it last answered.

    Raises:
        ConfigurationError: no bucket can have that name.
    """

    def __init__(self, configuration: Configuration, bucket: str, connections: int) -> None:
        if not oss2.is_valid_bucket_name(bucket):
            why = "a bucket's name has 3 to 63 small letters, digits and hyphens"
            raise ConfigurationError(f"opening oss://{bucket}", why, DENIED)
        self.bucket = bucket
        self.ahead = 0.0
        self._endpoint = configuration.endpoint
        self._region = configuration.region or None
        self._auth = configuration.auth()
        url = self._endpoint.url(bucket, "")
        self._session = requests.Session()
        pool = requests.adapters.HTTPAdapter(pool_connections=connections, pool_maxsize=connections)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, pool)
        use_environment(self._session, url)
        proxy = proxy_of(self._session, url)
        self.peer = f"{url.split('/')[2]} (OSS_ENDPOINT){f' by the proxy {proxy}' if proxy else ''}"

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()

    @contextlib.contextmanager
    def exchange(
        self,
        method: str,
        key: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Iterator[requests.Response]:
        """Send a request and give its successful answer, whose body is read to the end when the block ends.

        A redirect is not followed: the signature and the token would go to whoever it names.

        Raises:
            ServiceError: the answer is no success.
            NoAnswerError: the answer is not OSS's.
        """
        request = oss2.http.Request(
            method,
            self._endpoint.url(self.bucket, _quoted(key)),
            data=data,
            params=dict(params or {}),
            headers=dict(headers or {}),
            region=self._region,
            product="oss",
        )
        self._auth._sign_request(request, self.bucket, key)  # noqa: SLF001 - as oss2's own Bucket does
        answer = self._session.request(
            method,
            request.url,
            data=request.data,
            params=request.params,
            headers=request.headers,
            stream=True,
            timeout=(min(CONNECT_SECONDS, PATIENCE.seconds), PATIENCE.seconds),
            allow_redirects=False,
        )
        try:
            self._note_the_time(answer)
            success(answer)
            yield answer
            answer.raw.drain_conn()  # so that the connection serves the next request
        except ServiceError:
            answer.raw.drain_conn()
            raise
        except BaseException:
            answer.close()
            raise

    def _note_the_time(self, answer: requests.Response) -> None:
        said = date(answer.headers.get("Date"))
        if said is not None:
            self.ahead = said - time.time()


def _quoted(key: str) -> str:
    """A key as a path; one with `.` or `..` in it as a single segment, which nothing on the way shortens."""
    return quote(key, safe="" if {".", ".."} & set(key.split("/")) else "/")
