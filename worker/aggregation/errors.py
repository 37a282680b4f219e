"""One family of errors, each with its exit code: the only place where the two meet.

An error is one line: what was being done, why it failed, what to do about it. The exit code tells a workflow
whether trying again can help, so that `retryStrategy` needs to know numbers only.
"""

import errno
import os
import signal
from typing import NamedTuple


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


_SPACE = "free some space or enlarge the volume, then run again"
_AGAIN = "the mount did not answer in time: run again"
_CAUSES: dict[int, tuple[type[AggregationError], str]] = {
    errno.ENOENT: (MissingInputError, "write it, or run the step that makes it, then run again"),
    errno.ENOTDIR: (MissingInputError, "a file stands where a folder should be: move it away"),
    errno.ELOOP: (MissingInputError, "a symbolic link leads back to itself: replace it by the file"),
    errno.EISDIR: (MissingInputError, "a directory stands where a file should be: move it away"),
    errno.ENAMETOOLONG: (WrongUsageError, "use a shorter root or a smaller number"),
    errno.EACCES: (ConfigurationError, ""),
    errno.EPERM: (ConfigurationError, ""),
    errno.EROFS: (RefusedError, "mount the volume without readOnly, or name another --root"),
    errno.ENOSPC: (RefusedError, _SPACE),
    errno.EDQUOT: (RefusedError, _SPACE),
    errno.EFBIG: (RefusedError, "the file system does not hold files of this size: use another one"),
    errno.EMFILE: (RefusedError, "raise the limit of open files (ulimit -n)"),
    errno.EIO: (RefusedError, "look at the mount's log and the node's disk before running again"),
    # ossfs 2 answers ENXIO where the service said 503; the others are a mount or a server that went away.
    errno.ENXIO: (UnavailableError, _AGAIN),
    errno.EAGAIN: (UnavailableError, _AGAIN),
    errno.EBUSY: (UnavailableError, _AGAIN),
    errno.ENOTCONN: (UnavailableError, "the mount's process has gone: run again on a node where it is alive"),
    errno.ESTALE: (UnavailableError, "the server dropped the file handle: run again"),
    errno.ETIMEDOUT: (UnavailableError, _AGAIN),
    errno.ECONNRESET: (UnavailableError, _AGAIN),
    errno.EHOSTDOWN: (UnavailableError, _AGAIN),
    errno.EHOSTUNREACH: (UnavailableError, _AGAIN),
}


def from_os_error(error: OSError, doing: str, path: str, *, writing: bool) -> AggregationError:
    """Translate what the kernel said about `path` while `doing` into the family.

    An errno that is not in the table is the volume's refusal (exit code 6): it came from the file system,
    so it is neither a bug nor wrong usage.
    """
    kind, cure = _CAUSES.get(error.errno or 0, (RefusedError, ""))
    if kind is ConfigurationError:
        uid = f"uid {os.geteuid()}, gid {os.getegid()}"
        cure = (
            f"it is not writable by {uid}: mount the volume with uid={os.geteuid()},gid={os.getegid()}, "
            "or run as its owner (securityContext.runAsUser, docker run --user)"
            if writing
            else f"it is not readable by {uid}: change its mode or owner, or run as its owner"
        )
    elif kind is MissingInputError and writing:
        kind = RefusedError
        if error.errno == errno.ENOENT:
            cure = "make its folder first, or name another place"
    return kind(doing, f"{printable(path)}: {os.strerror(error.errno or 0)}", cure)


def printable(path: str) -> str:
    """A path as it may stand in one line of a log: control characters and broken UTF-8 are escaped."""
    return path if path.isprintable() else ascii(path)
