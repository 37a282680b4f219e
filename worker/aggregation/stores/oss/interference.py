"""Other writers in the way of a join: how that shows, and that the join is begun anew once."""

from collections.abc import Callable
from typing import TypeVar

from aggregation.errors import IntegrityError

Result = TypeVar("Result")


class ReplacedError(Exception):
    """A source is no longer what it was when the join began."""


class NoSuchUploadError(Exception):
    """The multipart upload is gone: completed, or aborted by another run."""


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
                why = (
                    f"{error} was replaced while it was read"
                    if isinstance(error, ReplacedError)
                    else "another run aborted the multipart upload"
                )
                raise IntegrityError(doing, f"twice, {why}", "let nothing write there; run again") from error
    raise AssertionError("unreachable")
