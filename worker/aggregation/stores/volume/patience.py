"""How long the worker waits out what a remote mount says while its service is away."""

import time
from collections.abc import Callable
from typing import TypeVar

from aggregation import errnos
from aggregation.errors import SourceChangedError, UnavailableError
from aggregation.stores.pauses import pauses_within

Made = TypeVar("Made")


class Patience:
    """Tries again for `timeout` seconds what fails on a mount for which `is_remote` holds."""

    def __init__(self, timeout: float, is_remote: Callable[[], bool]) -> None:
        self._timeout = timeout
        self._is_remote = is_remote

    def may_pass(self, error: BaseException | None, *, opening: bool = False) -> bool:
        """Whether the worker waits an error out: a remote mount says it while its service is away."""
        if not isinstance(error, OSError) or not errnos.answer(error.errno, opening=opening).waits:
            return False
        return self._is_remote()

    def call(self, call: Callable[[], Made], *, opening: bool = True) -> Made:
        """What a call gives that can be repeated; on a remote mount, errors that may pass are waited out.

        Raises:
            OSError: what the last try said.
        """
        try:
            return call()
        except OSError as error:
            last = error
        for pause in pauses_within(self._timeout):
            if not self.may_pass(last, opening=opening):
                break
            time.sleep(pause)
            try:
                return call()
            except OSError as error:
                last = error
        raise last

    def make(self, make: Callable[[], Made]) -> Made:
        """Make a target; anew when a source changed, once, and while a remote mount says what may pass.

        Raises:
            AggregationError: what the last try said.
        """
        changed = False
        pauses = pauses_within(self._timeout)
        while True:
            try:
                return make()
            except SourceChangedError:
                if changed:
                    raise
                changed = True
            except UnavailableError as error:
                pause = next(pauses, None) if self.may_pass(error.__cause__, opening=True) else None
                if pause is None:
                    raise
                time.sleep(pause)
