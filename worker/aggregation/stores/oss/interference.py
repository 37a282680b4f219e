"""Other writers in the way of a join: how that shows, and that the join is begun anew once."""

from collections.abc import Callable
from typing import TypeVar

from aggregation.errors import IntegrityError

Result = TypeVar("Result")


_ASKING = "asking OSS"
_CURE = "let nothing write there; run again"


class ReplacedError(IntegrityError):
    """A source is no longer what it was when the join began."""

    def __init__(self, about: str) -> None:
        super().__init__(_ASKING, f"{about} was replaced while it was read", _CURE)


class NoSuchUploadError(IntegrityError):
    """The multipart upload is gone: completed, or aborted by another run."""

    def __init__(self) -> None:
        super().__init__(_ASKING, "another run aborted the multipart upload", _CURE)


def undisturbed(doing: str, attempt: Callable[[], Result]) -> Result:
    """What `attempt` gives, begun anew once if another writer was in its way.

    Raises:
        IntegrityError: that happened twice.
    """
    for last in (False, True):
        try:
            return attempt()
        except (ReplacedError, NoSuchUploadError) as error:
            if last:
                raise IntegrityError(doing, f"twice, {error.why}", error.cure) from error
    raise AssertionError("unreachable")
