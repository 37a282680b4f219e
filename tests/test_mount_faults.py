"""What an object store's mount may answer at rename, close and fsync, by a shim before libc."""

import subprocess
from pathlib import Path

import pytest

import machine
from conftest import Script, leftovers, write_level


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim, compiled."""
    compiler = machine.compiler()
    path = tmp_path_factory.mktemp("shim") / "mount_faults.so"
    source = Path(__file__).with_name("mount_faults.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", path, source, "-ldl"], check=True)
    return path


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("none", 0, ""),
        ("rename-both", 0, ""),
        ("rename-lost", 0, ""),
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
    if fault == "rename-fails" and old == b"abcd":
        code = 0  # the target holds the very bytes: there is nothing left to fail
    assert outcome.returncode == code, outcome.stderr
    if code == 0:
        assert target.read_bytes() == b"abcd"
    else:
        assert said in outcome.stderr
        assert outcome.stderr.count("\n") == 1
        assert (target.read_bytes() if target.exists() else None) == old
    assert leftovers(root) == []
