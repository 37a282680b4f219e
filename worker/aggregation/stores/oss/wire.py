"""One request to a bucket: built and signed by oss2, sent over urllib3's pool, its answer looked at first."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import oss2
import requests
import urllib3

from aggregation.errors import ConfigurationError
from aggregation.stores.checksum import Data

from .answers import DENIED, ServiceError, date, success
from .connection import Answer, make_lean
from .credentials import Configuration
from .transport import PATIENCE, proxy_of, use_environment

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
        self._url = self._endpoint.url(bucket, "")
        self._session = requests.Session()
        use_environment(self._session, self._url)
        proxy = proxy_of(self._session, self._url)
        self.peer = f"{self._url.split('/')[2]} (OSS_ENDPOINT){f' by the proxy {proxy}' if proxy else ''}"
        self._adapter = requests.adapters.HTTPAdapter(pool_maxsize=connections)
        self._lock = threading.Lock()
        self._pool: Any = None
        self._whole_url = False
        self._origin = "/".join(self._url.split("/")[:3])
        self._fixed = {"Host": self._origin.partition("://")[2], "Accept-Encoding": "identity"}

    def _connections(self) -> Any:
        """The connections, to the host or to the proxy before it, as requests makes them of the environment.

        Once: what requests does for each request besides is more than half of what a small one costs.
        """
        with self._lock:
            if self._pool is None:
                verify, proxies = self._session.verify, self._session.proxies
                request = requests.Request("GET", self._url).prepare()
                pool = self._adapter.get_connection_with_tls_context(request, verify, proxies)
                self._adapter.cert_verify(pool, self._url, verify, None)  # type: ignore[no-untyped-call]  # requests has few types
                # A plain proxy wants the whole URL, all others the path.
                self._whole_url = self._adapter.request_url(request, proxies).startswith("http")
                make_lean(pool)
                self._pool = pool
            return self._pool

    def close(self) -> None:
        """Let go of the connections."""
        self._adapter.close()

    @contextlib.contextmanager
    def exchange(
        self,
        method: str,
        key: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: Data | None = None,
    ) -> Iterator[Answer]:
        """Send a request and give its successful answer, whose body is read to the end when the block ends.

        A redirect is not followed: the signature and the token would go to whoever it names.

        Raises:
            ServiceError: the answer is no success.
            NoAnswerError: the answer is not OSS's.
        """
        answer = self._send(method, key, params or {}, headers or {}, data)
        try:
            self._note_the_time(answer)
            success(answer)
            yield answer
            answer.drain()  # so that the connection serves the next request
        except ServiceError:
            answer.drain()
            raise
        except BaseException:
            answer.close()
            raise

    def _send(
        self, method: str, key: str, params: Mapping[str, str], headers: Mapping[str, str], data: Data | None
    ) -> Answer:
        """Sign a request and send it. Returns the head of its answer."""
        request = oss2.http.Request(
            method,
            self._endpoint.url(self.bucket, _quoted(key)),
            data=data,
            params=dict(params),
            headers=dict(headers),
            region=self._region,
            product="oss",
        )
        self._auth._sign_request(request, self.bucket, key)  # noqa: SLF001 - as oss2's own Bucket does
        pool = self._connections()
        query = urlencode(request.params, quote_via=quote)
        target = f"{request.url}?{query}" if query else request.url
        try:
            answer: Answer = pool.urlopen(
                method,
                target if self._whole_url else target[len(self._origin) :],
                body=request.data,
                headers={
                    **self._fixed,
                    **{name: value for name, value in request.headers.items() if value is not None},
                },
                redirect=False,
                retries=False,
                timeout=urllib3.Timeout(
                    connect=min(CONNECT_SECONDS, PATIENCE.seconds), read=PATIENCE.seconds
                ),
                preload_content=False,
                decode_content=False,
            )
        except urllib3.exceptions.InvalidHeader:
            raise requests.exceptions.InvalidHeader from None
        return answer

    def _note_the_time(self, answer: Answer) -> None:
        said = date(answer.headers.get("Date", ""))
        if said is not None:
            self.ahead = said - time.time()


def _quoted(key: str) -> str:
    """A key as a path; one with `.` or `..` in it as a single segment, which nothing on the way shortens."""
    return quote(key, safe="" if {".", ".."} & set(key.split("/")) else "/")
