"""How bytes move: by the kernel where it can, streamed where it cannot, and exact on every way."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from anycrc import Model
from hypothesis import given, settings
from hypothesis import strategies as st

import machine
import seccomp
from aggregation.stores.volume.fast_copy import BUFFER, SMALL, Appender
from aggregation.stores.volume.store import VolumeStorage
from scripts import MEASURE, command, environment, finished, leftovers, mounted, write_level

MIB = 1 << 20
LAUNCHER = Path(seccomp.__file__)
NOT_HERE = ["ENOSYS", "EPERM", "EXDEV", "EINVAL", "EOPNOTSUPP"]

Deny = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def denied(root: Path) -> Deny:
    """Runs a script on the root where the kernel refuses some system calls."""
    machine.syscall_filter()

    def run_denied(rules: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
        options = [option for rule in rules for option in ("--deny", rule)]
        return finished(
            [sys.executable, str(LAUNCHER), *options, "--", *arguments],
            env=environment(AGGREGATION_ROOT=str(root)),
        )

    return run_denied


def summary(outcome: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The summary of a run with --log-format json that went well."""
    assert (outcome.returncode, outcome.stderr) == (0, "")
    record: dict[str, Any] = json.loads(outcome.stdout)
    return record


@pytest.mark.parametrize(
    ("rules", "moved"),
    [
        ([], "kernel copy"),
        *[([f"copy_file_range={error}"], "kernel copy") for error in NOT_HERE],
        (["sendfile=ENOSYS"], "kernel copy"),
        *[([f"copy_file_range={error}", f"sendfile={error}"], "streamed") for error in NOT_HERE],
        (["copy_file_range=ENOSYS", "sendfile=EINVAL"], "streamed"),
    ],
    ids=lambda value: "+".join(value) or "nothing" if isinstance(value, list) else value,
)
def test_where_the_kernel_refuses(denied: Deny, root: Path, rules: list[str], moved: str) -> None:
    """Without copy_file_range, sendfile or both the bytes are the same."""
    contents = [Random(number).randbytes(size) for number, size in enumerate([3 * MIB + 1, 0, 5, MIB])]
    write_level(root, 1, contents)
    found = summary(denied(rules, *command("process.py", 0, 1, "--fan-in", 4, "--log-format", "json")))
    new = b"".join(contents)
    assert (root / "l2/0.txt").read_bytes() == new
    assert found["moved"] == moved
    assert found["bytes"] == len(new)
    assert leftovers(root) == []


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (["copy_file_range=ENOSPC"], "No space left on device"),
        (["copy_file_range=EDQUOT"], "Disk quota exceeded"),
        (["copy_file_range=EFBIG"], "File too large"),
        (["copy_file_range=ENOSYS", "sendfile=ENOSPC"], "No space left on device"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_other_errors_are_errors(denied: Deny, root: Path, rules: list[str], said: str) -> None:
    """What the target answers is never tried another way: exit code 6, one line, the old target."""
    write_level(root, 1, [bytes(MIB), bytes(MIB)])
    write_level(root, 2, [b"old"])
    outcome = denied(rules, *command("process.py", 0, 1))
    assert outcome.returncode == 6
    assert outcome.stdout == ""
    assert outcome.stderr.count("\n") == 1
    assert said in outcome.stderr
    assert str(root) in outcome.stderr
    assert (root / "l2/0.txt").read_bytes() == b"old"
    assert leftovers(root) == []


@pytest.mark.parametrize("options", [[], ["--checksum"]], ids=["plain", "checksum"])
def test_another_file_system(denied: Deny, root: Path, options: list[str]) -> None:
    """Inputs that are links into another file system are joined all the same."""
    memory = machine.shared_memory(root)
    contents = [Random(number).randbytes(MIB + number) for number in range(2)]
    inputs = write_level(root, 1, contents)
    far = memory / f"{root.parent.name}-{os.getpid()}"
    try:
        far.write_bytes(contents[1])
        inputs[1].unlink()
        inputs[1].symlink_to(far)
        found = summary(denied([], *command("process.py", 0, 1, "--log-format", "json", *options)))
    finally:
        far.unlink(missing_ok=True)
    assert (root / "l2/0.txt").read_bytes() == b"".join(contents)
    assert found["moved"] == ("streamed" if options else "kernel copy")


@given(
    pieces=st.lists(
        st.tuples(
            st.sampled_from([0, 1, SMALL - 1, SMALL, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER + 7]),
            st.sampled_from([0, 1, SMALL - 1, SMALL, BUFFER, 1 << 40]),
        ),
        max_size=5,
    ),
    checksum=st.booleans(),
)
@settings(max_examples=100)
def test_a_stale_size_decides_nothing(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, int]], checksum: bool
) -> None:
    """Whatever a mount says that a file's size is, all its bytes are appended, and no others."""
    folder = tmp_path_factory.mktemp("stale")
    contents = [Random(size).randbytes(size) for size, _ in pieces]
    with open(folder / "target", "wb", buffering=0) as target:
        appender = Appender(target.fileno(), checksum=checksum, advance=None)
        for (_, said), content in zip(pieces, contents, strict=True):
            (folder / "source").write_bytes(content)
            with open(folder / "source", "rb", buffering=0) as source:
                appender.append(source.fileno(), said)
        appender.flush()
    new = b"".join(contents)
    assert (folder / "target").read_bytes() == new
    assert appender.size == len(new)
    assert appender.crc64 == (Model("CRC64-XZ").calc(new) if checksum else None)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "rules", [["copy_file_range=0"], ["copy_file_range=ENOSYS", "sendfile=0"]], ids="+".join
)
def test_the_kernels_copy_may_end_too_early(denied: Deny, root: Path, rules: list[str]) -> None:
    """A kernel that finds no byte to copy, as on a mount with a stale size of 0, is not believed."""
    contents = [Random(number).randbytes(MIB + number) for number in range(2)]
    write_level(root, 1, contents)
    found = summary(denied(rules, *command("process.py", 0, 1, "--log-format", "json")))
    assert (root / "l2/0.txt").read_bytes() == b"".join(contents)
    assert (found["bytes"], found["moved"]) == (2 * MIB + 1, "streamed")


BORDERS = sorted(
    {0, 1, 2, *(edge + step for edge in (4096, SMALL, 2 * SMALL, BUFFER, 2 * BUFFER) for step in (-1, 0, 1))}
)


@given(sizes=st.lists(st.sampled_from(BORDERS), min_size=1, max_size=7), checksum=st.booleans())
@settings(max_examples=150)
def test_sizes_around_the_buffers(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], checksum: bool
) -> None:
    """Any mixture of sizes at the borders of pages and buffers gives the exact bytes, count and CRC64."""
    root = tmp_path_factory.mktemp("borders")
    contents = [Random(f"{number} {size}").randbytes(size) for number, size in enumerate(sizes)]
    write_level(root, 1, contents)
    new = b"".join(contents)
    steps: list[int] = []
    storage = VolumeStorage(str(root))
    sources = [f"l1/{number}.txt" for number in range(len(sizes))]
    written = storage.concatenate(sources, "l2/0.txt", advance=steps.append, checksum=checksum)
    assert (root / "l2/0.txt").read_bytes() == new
    assert written.size == len(new) == sum(steps)
    assert written.crc64 == (Model("CRC64-XZ").calc(new) if checksum else None)
    shutil.rmtree(root)


@pytest.fixture
def reflinks(tmp_path: Path) -> Iterator[Path]:
    """A file system that can share extents, made in a file and mounted."""
    makers = {"mkfs.xfs": "320M", "mkfs.btrfs": "130M"}
    machine.administration()
    maker = machine.reflink_maker()
    image, place = tmp_path / "image", tmp_path / "mount"
    place.mkdir()
    with open(image, "wb") as file:
        file.truncate(int(makers[Path(maker).name].removesuffix("M")) * MIB)
    subprocess.run([maker, "-q", str(image)], check=True, capture_output=True)
    with mounted(place, "-o", "loop", str(image)):
        yield place


@pytest.mark.parametrize(
    ("sizes", "shared"),
    [([4 * MIB, 2 * MIB + 5], True), ([MIB + 1, 4 * MIB], False), ([MIB, *[SMALL + 4096] * 300, 5], True)],
    ids=["aligned", "not aligned", "many"],
)
def test_extents_are_shared(denied: Deny, reflinks: Path, sizes: list[int], *, shared: bool) -> None:
    """Where the file system can, whole blocks take no room again; the bytes are right at any alignment."""
    contents = [Random(number).randbytes(size) for number, size in enumerate(sizes)]
    for path in write_level(reflinks, 1, contents):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    os.sync()
    free = os.statvfs(reflinks).f_bfree
    arguments = command("merge.py", len(sizes), "--level", 1, "--root", reflinks, "--log-format", "json")
    found = summary(denied([], *arguments))
    os.sync()
    taken = (free - os.statvfs(reflinks).f_bfree) * os.statvfs(reflinks).f_bsize
    assert (reflinks / "result.txt").read_bytes() == b"".join(contents)
    assert (found["moved"], taken < sum(sizes) // 2) == ("kernel copy", shared)


@pytest.mark.parametrize(
    ("options", "large"),
    [([], 512 * MIB), (["--checksum"], 128 * MIB), (["--verify"], 128 * MIB)],
    ids=["kernel", "streamed", "verified"],
)
def test_memory_does_not_grow_with_size(root: Path, options: list[str], large: int) -> None:
    """Joining hundreds of MiB, and reading them back, takes no more memory than joining 2 MiB."""
    peaks = []
    for size in (MIB, large):
        for path in write_level(root, 1, [b"", b""]):
            os.truncate(path, size)
        outcome = subprocess.run(
            [sys.executable, "-S", "-c", MEASURE, *command("process.py", 0, 1, "--root", root, *options)],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        exit_code, peak = outcome.stdout.splitlines()[-1].split()
        assert exit_code == "0", outcome.stderr
        assert (root / "l2/0.txt").stat().st_size == 2 * size
        (root / "l2/0.txt").unlink()
        peaks.append(int(peak))
    assert abs(peaks[1] - peaks[0]) < 4096, f"{peaks} KiB"
