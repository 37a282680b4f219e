"""The table of exit codes: one meaning each, and each errno of a file system has its row."""

import errno
import subprocess
from pathlib import Path

import pytest

from aggregation import errnos, errors
from scripts import command, environment


def test_codes_are_unique_and_leave_argos_alone() -> None:
    """64 and 65 are Argo's own."""
    codes = [row.code for row in errors.EXIT_CODES]
    assert len(set(codes)) == len(codes)
    assert not {64, 65} & set(codes)


@pytest.mark.parametrize("kind", errors.AggregationError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_published_code(kind: type[errors.AggregationError]) -> None:
    """No error leaves with a code that the table does not have."""
    assert kind.exit_code in {row.code for row in errors.EXIT_CODES}
    assert kind.__doc__


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EISDIR])
def test_what_is_absent_where_one_writes_is_no_missing_input(number: int) -> None:
    """One line with the path; what is to be read is 3, what is to be written 6."""
    for writing, code in ((False, 3), (True, 6)):
        error = errors.from_os_error(OSError(number, "x"), "joining a", "/vol/l1/0.txt", writing=writing)
        assert error.exit_code == code
        assert str(error).startswith("joining a: /vol/l1/0.txt: ")
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("path", "shown"), [("/a b", "/a b"), ("/a\nb", r"'/a\nb'"), ("/\udcff", r"'/\udcff'"), ("/é", "/é")]
)
def test_a_path_stays_in_its_line(path: str, shown: str) -> None:
    """A path with a line break or with broken UTF-8 cannot break the one line."""
    assert errors.printable(path) == shown


def each(names: str, disk: int, remote: int) -> dict[str, tuple[int, int]]:
    """The same codes for each of some errnos."""
    return dict.fromkeys(names.split(), (disk, remote))


CODES = {
    **each("ENOENT ENOTDIR ELOOP EISDIR", 3, 3),
    **each("ENAMETOOLONG", 2, 2),
    **each("EACCES EPERM EKEYEXPIRED EKEYREVOKED EKEYREJECTED ENOKEY", 5, 5),
    **each("EROFS ENOSPC EDQUOT EFBIG EMFILE EMLINK EILSEQ ETXTBSY EUCLEAN EBADMSG EL2HLT", 6, 6),
    **each("ENOMEDIUM EMEDIUMTYPE", 6, 6),
    **each("EIO ENODEV EBADF EBADFD EBADE EBADR EREMOTE ENODATA", 6, 75),
    **each("ENXIO ENOTCONN ECONNABORTED ESHUTDOWN ESTALE EAGAIN EBUSY EINTR ERESTART EINPROGRESS", 75, 75),
    **each("EALREADY ECANCELED ETIME ETIMEDOUT ENFILE ENOMEM ENOBUFS ENOSR ENOLCK EDEADLK EUSERS", 75, 75),
    **each("ECONNRESET ECONNREFUSED EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH ENETRESET ENONET", 75, 75),
    **each("EPIPE EREMOTEIO ENOLINK ECOMM EPROTO EADDRINUSE EADDRNOTAVAIL ESTRPIPE EREMCHG", 75, 75),
}
"""Exit codes on a disk and on a mount. All others are the volume's refusal."""

AT_ONCE = {"ENOTCONN", "ECONNABORTED", "ESHUTDOWN", "EBADF", "EBADFD", "EBADE", "EBADR", "EREMOTE", "ENODATA"}
"""What leads to 75 without waiting: nothing comes back while this process looks at it."""


@pytest.mark.parametrize("name", sorted(errno.errorcode.values()))
@pytest.mark.parametrize("remote", [False, True], ids=["disk", "mount"])
def test_every_errno_of_linux(name: str, remote: bool) -> None:
    """Its exit code, whether it is waited out, and a cure wherever trying again may help."""
    number = getattr(errno, name)
    name = {"EDEADLOCK": "EDEADLK"}.get(name, name)  # one number, and Python picks either
    code = CODES.get(name, (6, 6))[remote]
    error = errors.from_os_error(OSError(number, "x"), "joining", "/vol/a", writing=False, remote=remote)
    assert error.exit_code == code
    assert errnos.answer(number).waits == (CODES.get(name, (6, 6))[1] == 75 and name not in AT_ONCE)
    assert error.cure or code != 75


def test_an_errno_that_linux_does_not_have_yet() -> None:
    """It came from the file system: its refusal, on a disk and on a mount."""
    for remote in (False, True):
        error = errors.from_os_error(OSError(4000, "x"), "joining", "/vol/a", writing=False, remote=remote)
        assert error.exit_code == 6


def test_an_invalid_argument_depends_on_what_was_asked() -> None:
    """Ossfs 2 answers EINVAL to opening a file while its service is away; to a rename it is final."""
    for remote, opening, code in [(True, True, 75), (True, False, 6), (False, True, 6), (False, False, 6)]:
        error = errors.from_os_error(
            OSError(errno.EINVAL, "x"), "joining", "/vol/a", writing=False, remote=remote, opening=opening
        )
        assert error.exit_code == code


@pytest.mark.parametrize("writing", [False, True])
def test_a_mounts_refusal_names_its_key(writing: bool) -> None:
    """A 403 of the service arrives as EPERM (ossfs 1) or EACCES (ossfs 2)."""
    for number in (errno.EPERM, errno.EACCES):
        far = errors.from_os_error(OSError(number, "x"), "joining", "/vol/a", writing=writing, remote=True)
        near = errors.from_os_error(OSError(number, "x"), "joining", "/vol/a", writing=writing)
        assert "the mount's key and its policy" in str(far)
        assert "key" not in str(near)


def test_memory_that_runs_out(tmp_path: Path) -> None:
    """Python's own error for it is code 6 and a line, and no bug."""
    limited = ["sh", "-c", 'ulimit -v 300000 && exec "$@"', "sh"]
    outcome = subprocess.run(
        [*limited, *command("prepare.py", 9_999_999, "--root", tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 6, outcome.stderr
    assert "memory ran out; raise the pod's memory limit" in outcome.stderr
    assert outcome.stderr.count("\n") == 1
