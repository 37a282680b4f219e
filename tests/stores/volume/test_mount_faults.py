"""What an object store's mount may answer at rename, close and fsync, by a shim before libc."""

import os
import subprocess
import time
from errno import EACCES, EBADF, EIO
from pathlib import Path

import pytest

import machine
from aggregation.layout import Temporary
from scripts import SUPPORT, Script, leftovers, write_level


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim, compiled."""
    compiler = machine.compiler()
    path = tmp_path_factory.mktemp("shim") / "mount_faults.so"
    source = SUPPORT / "mount_faults.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", path, source, "-ldl"], check=True)
    return path


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("none", 0, ""),
        ("rename-both", 0, ""),
        ("rename-lost", 0, ""),
        ("rename-again", 0, ""),
        ("rename-none", 6, "use a mount that can rename"),
        ("vanish", 75, "is gone"),
        ("create-exists", 0, ""),
        *[(f"folder-{error}", 0, "") for error in (EBADF, EACCES, EIO)],
        ("daemon-dead", 75, "the mount's process has gone"),
        ("rename-fails", 6, "Input/output error"),
        ("close-fails", 6, "Input/output error"),
        ("fsync-fails", 6, "Input/output error"),
        ("fsync-none", 0, ""),
        ("short", 4, "4 bytes were written and 2 arrived"),
    ],
)
@pytest.mark.parametrize(
    "old", [None, b"old!", b"abcd"], ids=["no target", "another target", "the same target"]
)
def test_an_answer_of_the_mount(
    run: Script, root: Path, shim: Path, fault: str, code: int, said: str, old: bytes | None
) -> None:
    """The target is new if the mount's work was done, whatever it answered, and old if it was not."""
    write_level(root, 1, [b"ab", b"cd"])
    target = root / "l2/0.txt"
    if old is not None:
        write_level(root, 2, [old])
    outcome = run("process.py", 0, 1, LD_PRELOAD=str(shim), FAULT=fault)
    if fault in ("rename-fails", "rename-none") and old == b"abcd":
        code = 0  # the target holds the very bytes: there is nothing left to fail
    assert outcome.returncode == code, outcome.stderr
    if code == 0:
        assert target.read_bytes() == b"abcd"
    else:
        assert said in outcome.stderr
        assert outcome.stderr.count("\n") == 1
        assert (target.read_bytes() if target.exists() else None) == old
    assert leftovers(root) == []


@pytest.mark.parametrize("options", [[], ["--checksum"], ["--verify"]], ids=["plain", "checksum", "verify"])
@pytest.mark.parametrize(
    ("fault", "new"),
    [
        ("source-shorter", b"b" * 1000),
        ("source-longer", b"b" * 400_000 + b"more"),
        ("source-replaced", b"c" * 400_000),
    ],
)
def test_a_source_that_changes(
    run: Script, root: Path, shim: Path, fault: str, new: bytes, options: list[str]
) -> None:
    """A source that is cut, grows or is replaced while it is read is read anew: the new bytes alone."""
    first = b"a" * 400_000
    (write_level(root, 1, [first, b"b" * 400_000])[1].with_suffix(".txt.new")).write_bytes(b"c" * 400_000)
    outcome = run("process.py", 0, 1, *options, LD_PRELOAD=str(shim), FAULT=fault)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (root / "l2/0.txt").read_bytes() == first + new
    assert leftovers(root) == []


def test_a_source_that_never_rests(run: Script, root: Path, shim: Path) -> None:
    """One that changes each time it is read is exit code 4, its name and what to do; the old target stays."""
    write_level(root, 1, [b"a" * 400_000, b"b" * 400_000])
    write_level(root, 2, [b"old"])
    outcome = run("process.py", 0, 1, LD_PRELOAD=str(shim), FAULT="source-restless")
    assert outcome.returncode == 4
    assert "l1/1.txt changed while it was read: it had 4" in outcome.stderr
    assert "when its writer has ended" in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert (root / "l2/0.txt").read_bytes() == b"old"
    assert leftovers(root) == []


def test_a_clock_that_is_ahead(run: Script, root: Path, shim: Path) -> None:
    """What another host wrote an hour ago by the store's clock stays, whatever this machine's clock says."""
    write_level(root, 1, [b"a", b"b"])
    young = root / "l1" / Temporary("0.txt", "node-7-4026531999", 12, "aggregation0a1b2c3d1").name()
    old = root / "l1" / Temporary("0.txt", "node-7-4026531999", 12, "aggregation0a1b2c3d2").name()
    for path, hours in ((young, 1), (old, 25)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - hours * 3600, time.time() - hours * 3600))
    assert run("merge.py", 2, "--level", 1, LD_PRELOAD=str(shim), FAULT="clock-ahead").returncode == 0
    assert young.exists()
    assert not old.exists()
