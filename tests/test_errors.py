"""The table of exit codes: one meaning each, and each errno of a file system has its row."""

import errno

import pytest

from aggregation import errors


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


@pytest.mark.parametrize(
    ("number", "writing", "code"),
    [
        (errno.ENOENT, False, 3),
        (errno.ENOTDIR, False, 3),
        (errno.ELOOP, False, 3),
        (errno.EISDIR, False, 3),
        (errno.EISDIR, True, 6),
        (errno.ENOENT, True, 6),
        (errno.ENAMETOOLONG, True, 2),
        (errno.EACCES, False, 5),
        (errno.EACCES, True, 5),
        (errno.EPERM, True, 5),
        (errno.EROFS, True, 6),
        (errno.ENOSPC, True, 6),
        (errno.EDQUOT, True, 6),
        (errno.EFBIG, True, 6),
        (errno.EMFILE, False, 6),
        (errno.EIO, True, 6),
        (errno.ENXIO, True, 75),
        (errno.EAGAIN, True, 75),
        (errno.EBUSY, True, 75),
        (errno.ENOTCONN, False, 75),
        (errno.ESTALE, False, 75),
        (errno.ETIMEDOUT, False, 75),
        (errno.ECONNRESET, False, 75),
        (errno.EHOSTDOWN, False, 75),
        (errno.EHOSTUNREACH, False, 75),
        (errno.ENOTTY, True, 6),
    ],
)
def test_what_the_kernel_says(number: int, writing: bool, code: int) -> None:
    """Each errno becomes one line with the path, and a code that says whether a retry helps."""
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
