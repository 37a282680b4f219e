"""A mount whose service is away for a while, whose process is killed, or that is taken away: 75, one line."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import machine
import slow_mount
from aggregation import location
from aggregation.errors import UnavailableError
from aggregation.stores.opening import open_storage
from scripts import Outcome, Script, command, environment, leftovers, mounted, write_level

SIZE = 300_000
INPUTS = [b"a" * SIZE, b"b" * SIZE]


@pytest.fixture
def behind(tmp_path: Path) -> Path:
    """The folder that the mount at `root` shows: two inputs, and what an earlier run made of others."""
    path = tmp_path / "behind"
    write_level(path, 1, INPUTS)
    write_level(path, 2, [b"old"])
    return path


@pytest.fixture
def faults(tmp_path: Path, behind: Path, root: Path) -> Iterator[Path]:
    """The file in which a test says which calls of the mount fail."""
    machine.fuse()
    path = tmp_path / "faults"
    with slow_mount.mounted(behind, root, latency=0, faults=path):
        yield path


def check(outcome: Outcome, behind: Path, code: int, *said: str) -> None:
    """One line that says so, and the old target; or none, and the new one."""
    assert outcome.returncode == code, outcome.stderr
    assert outcome.stderr.count("\n") == (1 if code else 0)
    assert [part for part in said if part not in outcome.stderr] == [], outcome.stderr
    assert (behind / "l2/0.txt").read_bytes() == (b"old" if code else b"".join(INPUTS))


KILLED = [
    "getattr l1",
    "open l1/0",
    "read l1/0",
    "read l1/1",
    "release l1/",
    "create .tmp",
    "write .tmp",
    "fsync .tmp",
    "flush .tmp",
    "release .tmp",
    "rename .tmp",
]


@pytest.mark.parametrize(
    ("call", "options"),
    [*((call, []) for call in KILLED), *((call, ["--checksum"]) for call in ("read l1/1", "write .tmp"))],
)
def test_a_mount_that_is_killed(
    behind: Path, faults: Path, run: Script, call: str, options: list[str]
) -> None:
    """Whatever it was asked for when it died: exit code 75, one line."""
    faults.write_text(f"{call} KILL\n")
    outcome = run("process.py", 0, 1, "--timeout", 20, *options)
    ended = call == "release l1/" and outcome.returncode == 0  # the kernel may ask for it when all is done
    check(outcome, behind, 0 if ended else 75)


@pytest.mark.parametrize(
    ("call", "error"),
    [*((call, "EIO") for call in KILLED), ("open l1/0", "ENXIO"), ("write .tmp", "EHOSTUNREACH")],
)
def test_a_service_that_comes_back(behind: Path, faults: Path, run: Script, call: str, error: str) -> None:
    """What passes within --timeout is waited out, wherever it came; nothing stays behind."""
    faults.write_text(f"{call} {error} 2\n")
    check(run("process.py", 0, 1, "--timeout", 30), behind, 0)
    assert leftovers(behind) == []


@pytest.mark.parametrize("call", ["getattr l1", "open l1/", "create .tmp"])
def test_an_argument_that_a_mount_refuses_for_a_while(
    behind: Path, faults: Path, run: Script, call: str
) -> None:
    """EINVAL from a look-up or an open is what ossfs 2 says while its service is away."""
    faults.write_text(f"{call} EINVAL 3\n")
    check(run("process.py", 0, 1, "--timeout", 30), behind, 0)


@pytest.mark.parametrize("call", ["open l1/", "read l1/", "create .tmp", "write .tmp", "rename .tmp"])
def test_a_service_that_stays_away(behind: Path, faults: Path, run: Script, call: str) -> None:
    """After --timeout it is 75, and no sooner."""
    faults.write_text(f"{call} EIO\n")
    started = time.monotonic()
    check(run("process.py", 0, 1, "--timeout", 1), behind, 75, "Input/output error", "mount's log")
    assert time.monotonic() - started > 1
    assert leftovers(behind) == []


@pytest.mark.parametrize(("error", "said"), [("EPERM", "not permitted"), ("EACCES", "denied")])
def test_a_key_that_may_not(behind: Path, faults: Path, run: Script, error: str, said: str) -> None:
    """A 403 of the service is no mode: the line names the mount's key too, and nothing is waited for."""
    faults.write_text(f"open l1/ {error}\n")
    check(run("process.py", 0, 1), behind, 5, said, "mount's key and its policy")


def test_a_signal_ends_the_wait(behind: Path, faults: Path, root: Path) -> None:
    """SIGTERM while the service is waited for ends the worker at once."""
    faults.write_text("open l1/ EIO\n")
    process = subprocess.Popen(
        command("process.py", 0, 1, "--root", root), env=environment(), stderr=subprocess.PIPE, text=True
    )
    time.sleep(3)
    assert process.poll() is None
    process.terminate()
    started = time.monotonic()
    process.communicate(timeout=20)
    assert process.returncode == 143
    assert time.monotonic() - started < 8
    assert (behind / "l2/0.txt").read_bytes() == b"old"


@pytest.mark.parametrize("error", ["EIO", "ENOTCONN"])
def test_a_command_on_a_mount_that_died(behind: Path, faults: Path, run: Script, error: str) -> None:
    """A command that fails since its volume has gone is not to blame."""
    line = f'sh -c \'echo "* / {error}" > {faults}; cat "$0" > {{output}} || exit 9\' {{inputs}}'
    outcome = run("process.py", 0, 1, "--command", line, "--timeout", 1)
    faults.unlink()
    assert outcome.returncode == 75, outcome.stderr
    assert (behind / "l2/0.txt").read_bytes() == b"old"


def test_a_command_that_fails_by_itself(behind: Path, faults: Path, run: Script) -> None:
    """It is to blame while the volume answers."""
    del faults
    outcome = run("process.py", 0, 1, "--command", "sh -c 'exit 9' {inputs} {output}")
    assert outcome.returncode == 7, outcome.stderr
    assert (behind / "l2/0.txt").read_bytes() == b"old"


def test_verify_on_a_mount(behind: Path, faults: Path, run: Script) -> None:
    """A mount that shows a file only once it is closed, as ossfs 2 does, can be read back."""
    faults.write_text("")
    outcome = run("process.py", 0, 1, "--verify")
    check(outcome, behind, 0)
    assert "verified" in outcome.stdout


@pytest.mark.parametrize("files", [2, 8], ids=["one by one", "side by side"])
@pytest.mark.parametrize("size", [10, SIZE])
def test_sizes_that_the_kernel_remembers(
    behind: Path, root: Path, run: Script, files: int, size: int
) -> None:
    """A file that was replaced by a longer one a moment ago is read to its new end."""
    machine.fuse()
    write_level(behind, 1, [b"x" * size] * files)
    with slow_mount.mounted(behind, root, latency=0, remember=60):
        for number in range(files):
            assert (root / f"l1/{number}.txt").stat().st_size == size
        write_level(behind, 1, [b"y" * 3 * size] * files)
        assert (root / "l1/0.txt").stat().st_size == size  # as the kernel believes
        outcome = run("merge.py", files, "--level", 1)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (behind / "result.txt").read_bytes() == b"y" * 3 * size * files


def detach(place: Path) -> None:
    """What a restart of the CSI plug-in does to a mount in use."""
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("back", [False, True], ids=["away", "back"])
@pytest.mark.parametrize("below", ["", "demo"], ids=["mount point", "below"])
def test_a_mount_that_is_taken_away(tmp_path: Path, back: bool, below: str) -> None:
    """Nothing is made under the bare mount point, nor in what was mounted in its place."""
    place = tmp_path / "mount"
    place.mkdir()
    machine.administration()
    with mounted(place, "-t", "tmpfs", "none"):
        root = place / below
        write_level(root, 1, [b"x" * 200_000] * 2)
        line = "sh -c 'cat \"$0\" > {output}; touch %s; while [ -e %s ]; do sleep 0.05; done' {inputs}"
        gate = tmp_path / "gate"
        process = subprocess.Popen(
            command(
                "process.py", 0, 1, "--root", root, "--scratch", tmp_path, "--command", line % (gate, gate)
            ),
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        while not gate.exists():
            time.sleep(0.02)
        detach(place)
        if back:
            subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)
            root.mkdir(exist_ok=True)
        gate.unlink()
        _, said = process.communicate(timeout=60)
        assert process.returncode == 75, said
        assert said.count("\n") == 1
        assert "went away" in said
        assert [path.name for path in place.rglob("*")] == ([below] if back and below else [])
        if not back:  # for the unmounting
            subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)


def test_a_bare_mount_point_with_the_target_s_folder(tmp_path: Path) -> None:
    """Not even there is anything written: whoever mounts the volume again would never see it."""
    machine.administration()
    place = tmp_path / "mount"
    (place / "l2").mkdir(parents=True)
    with mounted(place, "-t", "tmpfs", "none"):
        storage = open_storage(location.parse(str(place)))
        storage.write("l2/0.txt", b"old")
        detach(place)
        with pytest.raises(UnavailableError, match="went away"):
            storage.write("l2/0.txt", b"new")
        storage.close()
        assert list((place / "l2").iterdir()) == []
        subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)  # for the unmounting
