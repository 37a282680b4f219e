"""One family of errors, each with its exit code: the only place where the two meet.

An error is one line: what was being done, why it failed, what to do about it. The exit code tells a workflow
whether trying again can help, so that `retryStrategy` needs to know numbers only.
"""

import errno
import os
import signal
from typing import NamedTuple

from . import errnos


class ExitCode(NamedTuple):
    """A row of the published table."""

    code: int
    meaning: str
    retried: bool


EXIT_CODES = (
    ExitCode(0, "done", retried=False),
    ExitCode(1, "a bug", retried=False),
    ExitCode(2, "wrong usage", retried=False),
    ExitCode(3, "an input is missing, or no level fits", retried=False),
    ExitCode(4, "integrity: what was written is not what was read", retried=True),
    ExitCode(5, "access denied, credentials or configuration wrong", retried=False),
    ExitCode(6, "the volume refuses: disk full, read-only, I/O error", retried=False),
    ExitCode(7, "the user's merge command failed", retried=False),
    ExitCode(75, "storage temporarily unavailable after the worker's own retries", retried=True),
    ExitCode(130, "SIGINT: temporaries removed, uploads aborted", retried=False),
    ExitCode(143, "SIGTERM: temporaries removed, uploads aborted", retried=True),
)
"""64 and 65 are left out on purpose: Argo's executor exits with them."""


class AggregationError(Exception):
    """What was being done, why it failed, and what to do: one line for the person on call.

    Raised only through its subclasses; the exit code is the subclass's.
    """

    exit_code = 1

    def __init__(self, doing: str, why: str, cure: str = "") -> None:
        super().__init__(doing, why, cure)
        self.doing = doing
        self.why = why
        self.cure = cure

    def __str__(self) -> str:
        line = f"{self.doing}: {self.why}"
        return f"{line}; {self.cure}" if self.cure else line


class WrongUsageError(AggregationError):
    """The call cannot mean anything: nothing was read or written."""

    exit_code = 2


class MissingInputError(AggregationError):
    """A file that should be joined is not there, or no level fits."""

    exit_code = 3


class IntegrityError(AggregationError):
    """What was written is not what was read; the target was left as it was."""

    exit_code = 4


class SourceChangedError(IntegrityError):
    """A source changed while it was read; reading it once more may give it whole."""


class ConfigurationError(AggregationError):
    """Access is denied, or credentials or configuration are wrong."""

    exit_code = 5


class RefusedError(AggregationError):
    """The volume refuses: disk full, read-only, I/O error."""

    exit_code = 6


class CommandFailedError(AggregationError):
    """The user's merge command failed, or made nothing."""

    exit_code = 7


class UnavailableError(AggregationError):
    """The storage is temporarily unavailable; a later try may pass."""

    exit_code = 75


class Interrupted(BaseException):
    """SIGTERM, SIGINT or SIGHUP arrived; clean up and exit. A terminal that goes ends it as SIGTERM does.

    Derived from BaseException so that no handler of errors swallows it on its way to the clean-up.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.exit_code = 128 + (signal.SIGTERM if signum == signal.SIGHUP else signum)


_BY_CODE: dict[int, type[AggregationError]] = {
    kind.exit_code: kind
    for kind in (WrongUsageError, MissingInputError, ConfigurationError, RefusedError, UnavailableError)
}


def from_os_error(
    error: OSError, doing: str, path: str, *, writing: bool, remote: bool = False, opening: bool = False
) -> AggregationError:
    """Translate what the kernel said about `path` while `doing` into the family, by the table of `errnos`.

    `writing`: it was to be changed, so that what is absent is no missing input. `remote`: it lies on a mount
    whose bytes come from elsewhere. `opening`: its name was looked up or opened, rather than bytes moved.
    """
    row = errnos.answer(error.errno, opening=opening)
    kind = _BY_CODE[row.remote if remote else row.disk]
    cure = (row.remote_cure if remote else "") or row.cure
    if kind is ConfigurationError and not cure:
        cure = _permission_cure(writing=writing, remote=remote)
    elif kind is MissingInputError and writing:
        kind = RefusedError
        if error.errno == errno.ENOENT:
            cure = "make its folder first, or name another place"
    return kind(doing, f"{printable(path)}: {os.strerror(error.errno or 0)}", cure)


def _permission_cure(*, writing: bool, remote: bool) -> str:
    uid = f"uid {os.geteuid()}, gid {os.getegid()}"
    cure = (
        f"it is not writable by {uid}: mount the volume with uid={os.geteuid()},gid={os.getegid()}, "
        "or run as its owner (securityContext.runAsUser, docker run --user)"
        if writing
        else f"it is not readable by {uid}: change its mode or owner, or run as its owner"
    )
    return f"{cure}; if the mode allows it, check the mount's key and its policy" if remote else cure


def printable(path: str) -> str:
    """A path as it may stand in one line of a log: control characters and broken UTF-8 are escaped."""
    return path if path.isprintable() else ascii(path)
