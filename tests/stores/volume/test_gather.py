"""Many small files of a disk, each taken by few calls: whatever is no small file is still told apart."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import machine
import seccomp
from aggregation.stores.volume.fast_copy import BUFFER, SMALL, Appender
from scripts import Script, command, environment, leftovers, write_level

MANY = 200
"""Files, of which the first 64 are opened before any is read, and looked at each."""
WORDS = [b"%d," % number for number in range(MANY)]


def link_to(target: str) -> Callable[[Path], None]:
    """Puts a symbolic link in a file's place."""
    return lambda path: path.symlink_to(target)


@pytest.mark.parametrize("number", [64, MANY - 1])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: None, "No such file or directory"),
        (os.mkdir, "is a directory"),
        (os.mkfifo, "is not a regular file"),
        (link_to("/dev/null"), "is not a regular file"),
        (link_to("/dev/zero"), "is not a regular file"),
        (link_to("nowhere"), "No such file or directory"),
    ],
    ids=["absent", "directory", "fifo", "null", "zero", "link to nowhere"],
)
def test_what_is_no_file(
    root: Path, run: Script, make: Callable[[Path], None], said: str, number: int
) -> None:
    """Among small files it ends the join, by its name, and the target stays."""
    path = write_level(root, 1, WORDS)[number]
    path.unlink()
    make(path)
    (root / "result.txt").write_bytes(b"old")
    outcome = run("merge.py", MANY, "--level", 1)
    assert (outcome.returncode, outcome.stdout) == (3, "")
    assert f"{path}" in outcome.stderr
    assert said in outcome.stderr
    assert (root / "result.txt").read_bytes() == b"old"
    assert leftovers(root) == []


@pytest.mark.parametrize("options", [[], ["--verify"]], ids=["plain", "verified"])
@pytest.mark.parametrize("seed", range(3))
def test_sizes_among_small_ones(root: Path, run: Script, seed: int, options: list[str]) -> None:
    """Files of any size, empty ones and links among them are joined in order, byte for byte."""
    random = Random(seed)
    sizes = [0, 1, 1024, SMALL - 1, SMALL, SMALL + 1, BUFFER, BUFFER + 1]
    often = [5] * 6
    contents = [random.randbytes(random.choice(often + sizes)) for _ in range(3 * MANY)]
    paths = write_level(root, 1, contents)
    paths[100].rename(root / "elsewhere")
    paths[100].symlink_to(root / "elsewhere")
    assert run("merge.py", len(contents), "--level", 1, *options).returncode == 0
    assert (root / "result.txt").read_bytes() == b"".join(contents)


def test_a_file_that_is_read_in_pieces(root: Path, run: Script) -> None:
    """One read of a file of /proc gives a page of it at most, and its size says nothing. All arrives."""
    paths = write_level(root, 1, WORDS)
    asleep = [sys.executable, "-c", "import ssl, time; print(flush=True); time.sleep(60)"]
    with subprocess.Popen(asleep, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        maps = Path(f"/proc/{process.pid}/maps")
        contents = [*WORDS[:100], maps.read_bytes(), *WORDS[101:]]
        assert len(contents[100]) > os.sysconf("SC_PAGE_SIZE")
        paths[100].unlink()
        paths[100].symlink_to(maps)
        outcome = run("merge.py", MANY, "--level", 1)
        process.kill()
    assert outcome.returncode == 0, outcome.stderr
    assert (root / "result.txt").read_bytes() == b"".join(contents)


def test_a_file_whose_size_is_not_known(root: Path, run: Script) -> None:
    """Files of /proc have no size, and are read to their end."""
    paths = write_level(root, 1, WORDS)
    contents = list(WORDS)
    for number in (100, 120):
        paths[number].unlink()
        paths[number].symlink_to("/proc/cpuinfo" if number == 100 else "/proc/version")
        contents[number] = paths[number].read_bytes()
    contents[100] = b""  # it holds the processor's speed of the moment
    assert run("merge.py", MANY, "--level", 1).returncode == 0
    found = (root / "result.txt").read_bytes()
    before, after = b"".join(contents[:100]), b"".join(contents[101:])
    assert found.startswith(before)
    assert found.endswith(after)
    assert found[len(before) : -len(after)].count(b"processor") >= (os.cpu_count() or 1)


@pytest.mark.parametrize("rule", ["ioctl=ENOTTY", "preadv2=ENOSYS"])
def test_where_the_kernel_lacks_a_call(root: Path, rule: str) -> None:
    """Each file is looked at then, and the bytes are the same."""
    machine.syscall_filter()
    write_level(root, 1, WORDS)
    merge = command("merge.py", MANY, "--level", 1, "--root", root)
    subprocess.run(
        [sys.executable, seccomp.__file__, "--deny", rule, "--", *merge],
        env=environment(),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert (root / "result.txt").read_bytes() == b"".join(WORDS)


def test_where_it_stops(tmp_path: Path) -> None:
    """Small files are appended without a look at each; the first other one is handed back, with the rest."""
    paths = write_level(tmp_path, 1, WORDS)
    paths[90].write_bytes(bytes(SMALL))
    names = iter([f"l1/{path.name}" for path in paths])
    before = set(os.listdir("/proc/self/fd"))
    with (tmp_path / "target").open("wb", buffering=0) as target:
        appender = Appender(target.fileno(), checksum=False, advance=None)
        assert appender.gather(f"{tmp_path}/", names, 4) == "l1/90.txt"
        assert appender.gather(f"{tmp_path}/", names, 1) is None
        appender.flush()
    assert (tmp_path / "target").read_bytes() == b"".join(WORDS[:90] + WORDS[91:])
    assert set(os.listdir("/proc/self/fd")) == before


def test_descriptors_of_others_stay_open(tmp_path: Path) -> None:
    """Files are closed together only where no other descriptor lies between theirs."""
    write_level(tmp_path, 1, WORDS)
    names = [f"l1/{number}.txt" for number in range(MANY)]
    others = [os.open(tmp_path, os.O_RDONLY) for _ in range(20)]
    for descriptor in others[::3]:
        os.close(descriptor)
    kept = [descriptor for index, descriptor in enumerate(others) if index % 3]
    with (tmp_path / "target").open("wb", buffering=0) as target:
        appender = Appender(target.fileno(), checksum=False, advance=None)
        assert appender.gather(f"{tmp_path}/", iter(names), 16) is None
        appender.flush()
    for descriptor in kept:
        assert os.path.samestat(os.fstat(descriptor), tmp_path.stat())
        os.close(descriptor)
    assert (tmp_path / "target").read_bytes() == b"".join(WORDS)
