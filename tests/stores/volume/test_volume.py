"""Directories as people have them: names, modes, owners, locks, links and mount points."""

import fcntl
import os
import signal
import socket
import stat
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

import machine
import places
from aggregation.errors import AggregationError
from aggregation.stores.promise import Storage
from aggregation.stores.volume import mounts
from scripts import Script, command, environment, leftovers, mounted, write_level

MIB = 1 << 20


def mode(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("length", [200, 251, 255])
def test_a_target_with_the_longest_name(run: Script, root: Path, length: int) -> None:
    """A name that the file system takes never fails because a temporary's were longer."""
    write_level(root, 1, [b"a", b"b"])
    name = "r" * (length - 4) + ".txt"
    for _ in range(2):
        outcome = run("merge.py", 2, "--level", 1, "--output", name)
        assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (root / name).read_bytes() == b"ab"
    assert leftovers(root) == []


def test_a_socket_as_input(run: Script, root: Path) -> None:
    """A socket is no file, as a FIFO is none."""
    write_level(root, 1, [b"a", b"b"])[1].unlink()
    with socket.socket(socket.AF_UNIX) as server:
        place = os.getcwd()
        os.chdir(root / "l1")  # a socket's path is short
        try:
            server.bind("1.txt")
        finally:
            os.chdir(place)
        outcome = run("process.py", 0, 1)
    assert outcome.returncode == 3
    assert "l1/1.txt is not a regular file" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_an_input_under_a_lease(run: Script, root: Path) -> None:
    """A file on which another process has a lease is waited for, until that lets go of it."""
    inputs = write_level(root, 1, [b"a", b"b"])
    descriptor = os.open(inputs[1], os.O_RDWR)
    asked = []

    def let_go(*_: object) -> None:
        asked.append(True)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    before = signal.signal(signal.SIGIO, let_go)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        outcome = run("process.py", 0, 1)
    except OSError as error:
        machine.lacking(f"no leases where temporary files are ({error}): set TMPDIR to a folder on a disk")
    finally:
        os.close(descriptor)
        signal.signal(signal.SIGIO, before)
    assert asked
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (root / "l2/0.txt").read_bytes() == b"ab"


def test_what_a_thread_that_hangs_has_begun(tmp_path: Path) -> None:
    """A thread that waits for a mount cannot remove its temporary: the end of the process does it."""
    hangs, goes_on = threading.Event(), threading.Event()

    def advance(_: int) -> None:
        hangs.set()
        goes_on.wait(60)

    def join(storage: Storage) -> None:
        with suppress(AggregationError):  # its temporary is gone
            storage.concatenate(["l1/0.txt"], "l2/0.txt", advance=advance)

    with places.local(tmp_path) as place:
        place.put("l1/0.txt", b"x" * MIB)
        thread = threading.Thread(target=join, args=[place.storage])
        thread.start()
        assert hangs.wait(60)
        assert leftovers(tmp_path)
        place.storage.close()
        left = leftovers(tmp_path)
        goes_on.set()
        thread.join(60)
        assert left == []
        assert place.names() == {"l1/0.txt"}


def test_a_target_that_is_a_mount_point(run: Script, root: Path) -> None:
    """A file that is mounted itself, as subPath does it, cannot be replaced: the line says what to mount."""
    machine.administration()
    write_level(root, 1, [b"a", b"b"])
    (root / "elsewhere").write_bytes(b"old")
    (root / "result.txt").touch()
    with mounted(root / "result.txt", "--bind", str(root / "elsewhere")):
        outcome = run("merge.py", 2, "--level", 1)
        assert outcome.returncode == 6
        assert "result.txt is a mount point" in outcome.stderr
        assert "mount the folder that holds it" in outcome.stderr
        assert (root / "result.txt").read_bytes() == b"old"
        assert leftovers(root) == []


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o666, 0o444])
@pytest.mark.parametrize("by", [[], ["--command", "sh -c 'umask 0; cat \"$@\" > {output}' sh {inputs}"]])
def test_a_replaced_target_keeps_its_mode(run: Script, root: Path, bits: int, by: list[str]) -> None:
    """Whoever could read a result can read the next one, and nobody else."""
    write_level(root, 1, [b"a", b"b"])
    (root / "result.txt").write_bytes(b"old")
    (root / "result.txt").chmod(bits)
    assert run("merge.py", 2, "--level", 1, *by).returncode == 0
    assert (root / "result.txt").read_bytes() == b"ab"
    assert mode(root / "result.txt") == bits


def test_a_replaced_target_keeps_its_owner(run: Script, root: Path) -> None:
    """Where the worker may give files away."""
    machine.root()
    write_level(root, 1, [b"a", b"b"])
    (root / "result.txt").write_bytes(b"old")
    os.chown(root / "result.txt", 1234, 5678)
    assert run("merge.py", 2, "--level", 1).returncode == 0
    status = (root / "result.txt").stat()
    assert (status.st_uid, status.st_gid) == (1234, 5678)


@pytest.mark.parametrize("mask", ["022", "077", "002"])
@pytest.mark.parametrize("bits", ["600", "777"])
def test_a_commands_target_has_the_mode_of_a_plain_join(root: Path, mask: str, bits: str) -> None:
    """Whatever mode the program gave its file."""
    write_level(root, 1, [b"a"] * 4)
    line = f"sh -c 'cat \"$@\" > {{output}}; chmod {bits} {{output}}' sh {{inputs}}"
    for number, options in enumerate(([], ["--command", line])):
        script = command("process.py", number, 1, "--root", root, *options)
        subprocess.run(
            ["sh", "-c", f'umask {mask} && exec "$@"', "sh", *script],
            env=environment(),
            check=True,
            stdout=subprocess.DEVNULL,
        )
    assert mode(root / "l2/1.txt") == mode(root / "l2/0.txt") == 0o666 & ~int(mask, 8)


TABLE = """\
21 1 8:1 / / rw - ext4 /dev/sda1 rw
22 21 0:40 / /disk/tmpfs rw - tmpfs tmpfs rw
23 21 0:41 / /disk/overlay rw - overlay overlay rw,lowerdir=/a,upperdir=/b
24 21 259:3 / /disk/ntfs rw - fuseblk /dev/nvme0n1p3 rw
25 21 0:42 / /disk/zfs rw - zfs tank rw
31 21 0:51 / /far/ossfs rw - fuse.ossfs ossfs rw
32 21 0:52 / /far/alifuse rw - alifuse.aliyun-alinas-efc x rw
33 21 0:53 / /far/juice rw - fuse.juicefs JuiceFS:x rw
34 21 0:54 / /far/gcsfuse rw - fuse.gcsfuse bucket rw
35 21 0:55 / /far/virtiofs rw - virtiofs kataShared rw
36 21 0:56 / /far/9p rw - 9p share rw
37 21 0:57 / /far/nfs rw - nfs4 server:/a rw
38 21 0:58 / /far/cifs rw - cifs //server/a rw
39 21 0:59 / /far/lustre rw - lustre server@tcp:/a rw
40 21 0:60 / /far/new rw master:1 - brandnewfs x rw
41 21 0:61 / /far/with\\040space rw - fuse x rw
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A mount table of many kinds."""
    path = tmp_path / "mountinfo"
    path.write_text(TABLE)
    return path


@pytest.mark.parametrize("line", TABLE.splitlines(), ids=lambda line: line.split()[4])
def test_what_is_a_disk_and_what_is_far(table: Path, line: str) -> None:
    """Each kind of mount in the table is told by its device, or by being one of the few without."""
    place = line.split()[4].replace("\\040", " ")
    kind = mounts.kind_in(f"{place}/demo/l1", mounts.read_table(str(table)))
    assert (kind == "disk") == (not place.startswith("/far"))
    assert (kind == "fuse") == (
        place in ("/far/ossfs", "/far/alifuse", "/far/juice", "/far/gcsfuse", "/far/with space")
    )


def test_without_a_table(root: Path) -> None:
    """A path that nothing says anything about is far, which only costs time."""
    assert mounts.kind_in(str(root), []) == "network"


@pytest.mark.parametrize(
    "change", ["echo more >> {root}/l1/1.txt", "mv {root}/other {root}/l1/1.txt", "rm {root}/l1/1.txt"]
)
@pytest.mark.parametrize("scratch", [False, True], ids=["beside", "scratch"])
def test_a_commands_input_that_changes(
    run: Script, root: Path, tmp_path: Path, change: str, scratch: bool
) -> None:
    """What a command made of inputs that changed meanwhile is not published: exit code 4, one line."""
    write_level(root, 1, [b"a" * 10, b"b" * 10])
    write_level(root, 2, [b"old"])
    (root / "other").write_bytes(b"c" * 10)
    os.utime(root / "other", (1, 1))
    script = f"cat $0 $1 > {{output}}; {change.replace('{root}', str(root))}"
    options = ["--scratch", tmp_path] if scratch else []
    outcome = run("process.py", 0, 1, "--command", f"sh -c '{script}' {{inputs}}", *options)
    assert outcome.returncode == 4, outcome.stderr
    assert "l1/1.txt changed while it was read" in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert (root / "l2/0.txt").read_bytes() == b"old"
    assert leftovers(root) == []
