"""The order of a volume's system calls: what a power cut, another writer and a broken copy must find."""

import os
from collections.abc import Iterator
from errno import EIO
from pathlib import Path

import pytest

import machine
import slow_mount
from aggregation.stores.volume.fast_copy import SMALL
from scripts import command, environment, leftovers, write_level
from system_calls import CHANGING, Call, Watched

pytestmark = pytest.mark.usefixtures("_filter")

WILLNEED, DONTNEED = 3, 4  # posix_fadvise(2)


@pytest.fixture
def _filter() -> None:
    machine.system_calls()


def recorded(root: Path, *arguments: object, calls: tuple[str, ...] = CHANGING) -> list[Call]:
    """What a script that succeeds did under the root."""
    watched = Watched(command(*map(str, arguments), "--root", root), environment(), calls)
    made = []
    for call in watched:
        if str(root) in call.path:
            made.append(call)
        call.allow()
    assert watched.returncode == 0, watched.stderr
    return made


def first(calls: list[Call], name: str, path: str) -> int:
    """Where the first call of this name on this path is; the path may be given by its end."""
    return next(number for number, call in enumerate(calls) if call.name == name and call.path.endswith(path))


WAYS: dict[str, tuple[list[bytes], str, list[object]]] = {
    "small files": ([b"a", b"b"], "process.py", [0, 1]),
    "large files": ([b"a" * SMALL * 3, b"b" * SMALL * 2], "process.py", [0, 1]),
    "checksum": ([b"a" * SMALL * 3, b"b"], "process.py", [0, 1, "--checksum"]),
    "verify": ([b"a" * SMALL * 3, b"b"], "process.py", [0, 1, "--verify"]),
    "a command to a file": ([b"a", b"b"], "process.py", [0, 1, "--command", "cp l1/0.txt {output}"]),
    "a command to standard output": ([b"a", b"b"], "process.py", [0, 1, "--command", "cat {inputs}"]),
    "a command elsewhere": (
        [b"a"] * 2,
        "process.py",
        [0, 1, "--command", "cat {inputs}", "--scratch", "/tmp"],
    ),
    "merge": ([b"a", b"b"], "merge.py", [2]),
    "prepare": ([], "prepare.py", [1]),
}
TARGETS = {"process.py": "l2/0.txt", "merge.py": "result.txt", "prepare.py": "l1/0.txt"}


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
@pytest.mark.parametrize("way", WAYS)
def test_bytes_before_name_before_folder(root: Path, way: str, old: bool) -> None:
    """The bytes are synced before the name is the target's, and the name is synced before the end."""
    contents, script, given = WAYS[way]
    write_level(root, 1, contents)
    target = TARGETS[script]
    fresh = not old and not (root / target).parent.is_dir()
    if old and script != "prepare.py":
        (root / target).parent.mkdir(exist_ok=True)
        (root / target).write_bytes(b"old")
    arguments = [str(word).replace("l1/", f"{root}/l1/") for word in given]
    calls = recorded(root, script, *arguments)
    renamed = next(n for n, call in enumerate(calls) if call.to == str(root / target))
    temporary = calls[renamed].path
    written = [
        n
        for n, call in enumerate(calls)
        if call.path == temporary and call.name in ("write", "writev", "copy_file_range", "sendfile")
    ]
    synced = [n for n, call in enumerate(calls) if call.name == "fsync" and call.path == temporary]
    assert written
    assert synced
    assert max(written) < min(synced) < renamed
    folder = str((root / target).parent)
    assert [n for n, call in enumerate(calls) if call.name == "fsync" and call.path == folder][-1:] > [
        renamed
    ]
    if fresh:
        made = first(calls, "mkdir", folder)
        assert made < first(calls[made:], "fsync", str(root)) + made < renamed
    for call in calls:
        if call.name == "openat" and call.path.endswith(".tmp"):
            assert call.arguments[2] & os.O_EXCL, "another writer's file would be written to"
    assert leftovers(root) == []


def test_verify_reads_past_the_cache(root: Path) -> None:
    """What is read back comes from the disk: the kernel is told to forget it first, once it is synced."""
    write_level(root, 1, [b"a" * SMALL, b"b"])
    calls = recorded(root, "process.py", 0, 1, "--verify", calls=("fadvise64", "fsync", "rename"))
    names = [call.arguments[3] if call.name == "fadvise64" else call.name for call in calls]
    assert names.index("fsync") < names.index(DONTNEED) < names.index("rename")


@pytest.mark.parametrize(
    ("which", "code"), [(1, 0), (2, 6)], ids=["before the first byte", "after the first byte"]
)
def test_a_copy_that_breaks_off(root: Path, which: int, code: int) -> None:
    """Another way to copy is taken before the first byte only; what fails later is an error of the disk."""
    contents = [b"a" * SMALL * 3, b"b" * SMALL]
    write_level(root, 1, contents)
    write_level(root, 2, [b"old"])
    watched = Watched(command("process.py", 0, 1, "--root", root), environment(), calls=("copy_file_range",))
    for number, call in enumerate(watched, start=1):
        if number == which:
            call.fail(EIO)
        else:
            call.allow()
    assert watched.returncode == code, watched.stderr
    assert (root / "l2/0.txt").read_bytes() == (b"old" if code else b"".join(contents))
    assert leftovers(root) == []


def test_a_temporary_that_is_taken_away(root: Path) -> None:
    """Gone at the moment of the rename, with an old target of the same length: nothing was published."""
    write_level(root, 1, [b"ab", b"cd"])
    write_level(root, 2, [b"old!"])
    watched = Watched(command("process.py", 0, 1, "--root", root), environment(), calls=("rename",))
    for call in watched:
        os.unlink(call.path)
        call.allow()
    assert watched.returncode == 75, watched.stderr
    assert "is gone" in watched.stderr
    assert (root / "l2/0.txt").read_bytes() == b"old!"


@pytest.fixture
def behind(tmp_path: Path, root: Path) -> Iterator[Path]:
    """The folder that a mount without latency shows at the root."""
    machine.fuse()
    path = tmp_path / "behind"
    path.mkdir()
    with slow_mount.mounted(path, root, latency=0):
        yield path


def test_what_a_mount_is_asked_for_ahead(behind: Path, root: Path) -> None:
    """Small files are read by the threads that open them, before their turn; of larger ones the start is."""
    write_level(behind, 1, [b"x" * (10 if number % 2 else SMALL + 1) for number in range(20)])
    watched = Watched(
        command("merge.py", 20, "--level", 1, "--root", root), environment(), ("read", "readv", "fadvise64")
    )
    readers: dict[str, int] = {}
    asked = set()
    for call in watched:
        name = call.path.removeprefix(f"{root}/l1/")
        if call.name == "fadvise64" and call.arguments[3] == WILLNEED:
            asked.add(name)
        elif name.endswith(".txt") and name not in readers:
            readers[name] = call.pid
        call.allow()
    assert watched.returncode == 0, watched.stderr
    assert asked == {f"{number}.txt" for number in range(0, 20, 2)}
    assert watched.pid not in {readers[f"{number}.txt"] for number in range(1, 20, 2)}
