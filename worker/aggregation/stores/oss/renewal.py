"""Temporary credentials, renewed some minutes before they end, and used to their end where that fails."""

import threading
import time
from collections.abc import Callable

from oss2.credentials import Credentials, CredentialsProvider

from aggregation.errors import ConfigurationError

from .role_answers import Temporary
from .transport import TRANSPORT_ERRORS

RENEW_SECONDS = 300
"""Before the end of credentials, new ones are asked for."""

_AGAIN_SECONDS = 10
"""Between two questions for new credentials while the old ones are valid."""


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
