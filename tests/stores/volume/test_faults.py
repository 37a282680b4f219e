"""What a volume can do to the worker, done for real: exit code, one line that helps, target untouched."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from aggregation.layout import Temporary, parse_temporary
from scripts import Outcome, Script, command, environment, finished, leftovers, mounted, write_level

MIB = 1 << 20
OLD = b"old"
TARGETS = ("l2/0.txt", "result.txt")


def fill(root: Path, size: int = 200_000) -> None:
    """Inputs for process.py 0 1 and merge.py 2, and what earlier runs made of others."""
    write_level(root, 1, [b"a" * size, b"b" * size])
    write_level(root, 2, [OLD])
    (root / "result.txt").write_bytes(OLD)


class Fault(NamedTuple):
    """What goes wrong, and what the worker has to say about it."""

    name: str
    arguments: tuple[object, ...]
    """A script and its arguments."""
    exit_code: int
    said: tuple[str, ...]
    """Parts of the line: the path, below `{root}`, and what to do."""
    arrange: Callable[[Path], None] = lambda _: None
    """Spoils the root, which `fill` has filled."""
    mount: Callable[[Path], AbstractContextManager[None]] = lambda _: nullcontext()
    limits: str = ""
    """Options of the shell's `ulimit`."""
    untouched: tuple[str, ...] = TARGETS

    def __str__(self) -> str:
        return self.name


def replace(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Put something else in a file's or folder's place."""

    def arrange(root: Path) -> None:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        make(path)

    return arrange


def without(name: str) -> Callable[[Path], None]:
    """Remove a file or folder."""
    return replace(name, lambda _: None)


def link_to_itself(path: Path) -> None:
    """A symbolic link that leads back to itself."""
    path.symlink_to(path.name)


def exhaust(root: Path) -> None:
    """Leave no byte on the file system."""
    with open(root / "filler", "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def small(root: Path) -> AbstractContextManager[None]:
    """A file system of 1 MiB."""
    return mounted(root, "-t", "tmpfs", "-o", "size=1m", "none")


def remount_read_only(root: Path) -> None:
    """What `readOnly: true` of a volumeMount makes of a volume."""
    subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)


def many(root: Path) -> None:
    """64 inputs."""
    write_level(root, 1, [b"x"] * 64)


def large(root: Path) -> None:
    """Inputs that need more than half of the small file system."""
    fill(root, 400_000)


PROCESS = ("process.py", 0, 1)
MERGE = ("merge.py", 2, "--level", 1)
FULL = ("{root}", "No space left on device", "free some space or enlarge the volume")
WRITTEN_ONCE = "write it, or run the step that makes it"

FAULTS = [
    Fault("disk full", PROCESS, 6, ("{root}/l2", *FULL[1:]), large, small),
    Fault("disk full, streamed", (*PROCESS, "--checksum"), 6, ("{root}/l2", *FULL[1:]), large, small),
    Fault("disk full, merge", MERGE, 6, FULL, large, small),
    Fault("disk full, pipeline", ("pipeline.py",), 6, FULL, large, small),
    Fault(
        "no room for a byte",
        PROCESS,
        6,
        FULL,
        exhaust,
        lambda root: mounted(root, "-t", "tmpfs", "-o", "size=1m", "none"),
    ),
    Fault("no room for a letter", ("prepare.py", 2, "--root", "{root}/new"), 6, FULL, exhaust, small),
    Fault(
        "no room for a name",
        PROCESS,
        6,
        FULL,
        mount=lambda root: mounted(root, "-t", "tmpfs", "-o", "size=1m,nr_inodes=7", "none"),
    ),
    Fault(
        "a file too large", PROCESS, 6, ("{root}/l2", "File too large", "use another one"), limits="-f 400"
    ),
    Fault(
        "a file too large, streamed",
        (*PROCESS, "--checksum"),
        6,
        ("{root}/l2", "File too large"),
        limits="-f 400",
    ),
    Fault(
        "too many open files",
        (*PROCESS, "--fan-in", 64),
        6,
        ("{root}/l2", "Too many open files", "ulimit -n"),
        many,
        limits="-n 7",
    ),
    Fault(
        "too many open files to load the worker",
        (*PROCESS, "--fan-in", 64),
        6,
        ("working: ", "aggregation/stores/", "Too many open files", "ulimit -n"),
        many,
        limits="-n 5",
    ),
    *[
        Fault(
            f"read-only, {arguments[0]}",
            arguments,
            6,
            ("{root}", "Read-only file system", "mount the volume without readOnly"),
            remount_read_only,
            small,
        )
        for arguments in (PROCESS, MERGE, ("pipeline.py",), ("prepare.py", 2, "--root", "{root}/new"))
    ],
    Fault("an input is missing", PROCESS, 3, ("{root}/l1/1.txt", WRITTEN_ONCE), without("l1/1.txt")),
    Fault("a merge's input is missing", MERGE, 3, ("{root}/l1/0.txt", WRITTEN_ONCE), without("l1/0.txt")),
    Fault("a level is missing", PROCESS, 3, ("{root}/l1/0.txt", WRITTEN_ONCE), without("l1")),
    Fault("no level fits", ("merge.py", 5), 3, ("{root}", "l1 holds 2 files (0 to 1)", "--level")),
    Fault(
        "a directory as input",
        PROCESS,
        3,
        ("{root}/l1/1.txt is a directory",),
        replace("l1/1.txt", Path.mkdir),
    ),
    Fault(
        "a FIFO as input",
        PROCESS,
        3,
        ("{root}/l1/1.txt is not a regular file",),
        replace("l1/1.txt", os.mkfifo),
    ),
    Fault(
        "a device as input",
        MERGE,
        3,
        ("{root}/l1/1.txt is not a regular file", "put the input file in its place"),
        replace("l1/1.txt", lambda path: path.symlink_to("/dev/zero")),
    ),
    Fault(
        "a link to itself as input",
        PROCESS,
        3,
        ("{root}/l1/0.txt", "symbolic link", "replace it by the file"),
        replace("l1/0.txt", link_to_itself),
    ),
    Fault(
        "a dangling link as input",
        PROCESS,
        3,
        ("{root}/l1/0.txt", WRITTEN_ONCE),
        replace("l1/0.txt", lambda path: path.symlink_to("nowhere")),
    ),
    Fault(
        "a file as input folder",
        PROCESS,
        3,
        ("{root}/l1/0.txt", "a file stands where a folder should be"),
        replace("l1", Path.touch),
    ),
    Fault(
        "a file as target folder",
        PROCESS,
        6,
        ("{root}/l2", "a file stands where a folder should be"),
        replace("l2", Path.touch),
        untouched=("result.txt",),
    ),
    Fault(
        "a link to itself as target folder",
        PROCESS,
        6,
        ("{root}/l2", "symbolic link"),
        replace("l2", link_to_itself),
        untouched=("result.txt",),
    ),
    Fault(
        "a dangling link as target folder",
        PROCESS,
        6,
        ("{root}/l2",),
        replace("l2", lambda path: path.symlink_to("nowhere")),
        untouched=("result.txt",),
    ),
    Fault(
        "a directory as target",
        PROCESS,
        6,
        ("{root}/l2/0.txt", "a directory stands where a file should be: move it away"),
        replace("l2/0.txt", Path.mkdir),
        untouched=("result.txt",),
    ),
    Fault(
        "a directory as result",
        MERGE,
        6,
        ("{root}/result.txt", "a directory stands where a file should be: move it away"),
        replace("result.txt", Path.mkdir),
        untouched=("l2/0.txt",),
    ),
    *[
        Fault(
            f"no root, {arguments[0]}",
            (*arguments, "--root", "{root}/volume/demo"),
            exit_code,
            ("{root}/volume/demo does not exist", "mounted here: ", "volumeMounts"),
            mount=small,
        )
        for arguments, exit_code in [
            (PROCESS, 3),
            (MERGE, 3),
            (("merge.py", 2), 3),
            (("pipeline.py",), 3),
            (("prepare.py",), 5),
        ]
    ],
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_one_line_and_leaves_the_target(fault: Fault, root: Path) -> None:
    """The exit code is the table's; one line has the path and the cure; the old target stays."""
    with fault.mount(root):
        fill(root)
        fault.arrange(root)
        script, *arguments = (str(word).replace("{root}", str(root)) for word in fault.arguments)
        line = command(script, *arguments)
        if fault.limits:
            line = ["sh", "-c", f'ulimit {fault.limits} && exec "$@"', "sh", *line]
        outcome = finished(line, env=environment(AGGREGATION_ROOT=str(root)))
        check(outcome, script, fault.exit_code, [part.replace("{root}", str(root)) for part in fault.said])
        assert {name: (root / name).read_bytes() for name in fault.untouched} == dict.fromkeys(
            fault.untouched, OLD
        )
        assert [name for name in leftovers(root) if name.endswith(".tmp")] == []


def check(outcome: Outcome, script: str, exit_code: int, said: list[str]) -> None:
    """One line on stderr, with all of its parts, and nothing on stdout."""
    assert (outcome.returncode, outcome.stdout) == (exit_code, ""), outcome.stderr
    assert outcome.stderr.startswith(f"{script}: error: ")
    assert outcome.stderr.count("\n") == 1
    assert [part for part in said if part not in outcome.stderr] == [], outcome.stderr
    assert "bug" not in outcome.stderr


# Runs a script with the rights of another user. A first call, on a root that is not there, loads all that the
# script imports while this is still root: the interpreter need not be open to everybody.
BECOME = """
import click._termui_impl, contextlib, os, sys
uid, gid, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
sys.path[0] = os.path.dirname(path)
with open(path, encoding="utf-8") as file:
    code = compile(file.read(), path, "exec")
sys.argv = [path, *sys.argv[4:]]
names = {"__name__": "loading"}
exec(code, names)
script = names[os.path.basename(path).removesuffix(".py")]
with contextlib.suppress(Exception):
    script.main([*sys.argv[1:], "--root", "/nowhere/at/all"], standalone_mode=False)
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
exec(code, {"__name__": "__main__"})
"""


class Stranger(NamedTuple):
    """A user to whom a volume says no."""

    uid: int
    gid: int
    root: Path

    def run(self, script: str, *arguments: object) -> Outcome:
        """A script as that user."""
        interpreter, *line = command(script, *arguments)
        return finished(
            [interpreter, "-c", BECOME, str(self.uid), str(self.gid), *line],
            env=environment(AGGREGATION_ROOT=str(self.root)),
        )


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """The image's user, or this one where it is not root, and a root that it can reach."""
    root = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        root.chmod(0o755)
        fill(root)
        yield Stranger(os.geteuid() or 1000, os.getegid() or 1001, root)
    finally:
        for path in root.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        root.chmod(0o755)
        shutil.rmtree(root)


class Denial(NamedTuple):
    """A mode that shuts a user out, and which way."""

    name: str
    arguments: tuple[object, ...]
    path: str
    mode: int
    writing: bool
    prepared: Callable[[Path], None] = lambda _: None

    def __str__(self) -> str:
        return self.name


DENIALS = [
    Denial("an unreadable input", PROCESS, "l1/1.txt", 0o000, writing=False),
    Denial("an unreadable folder of inputs", PROCESS, "l1", 0o000, writing=False),
    Denial("a level that cannot be listed", ("merge.py", 2), "l1", 0o311, writing=False),
    Denial("a target folder that is not writable", PROCESS, "l2", 0o555, writing=True),
    Denial("a root that is not writable", PROCESS, "", 0o555, writing=True, prepared=without("l2")),
    Denial("a root that takes no result", MERGE, "", 0o555, writing=True),
    Denial("a root that takes no run", ("pipeline.py",), "", 0o555, writing=True),
    Denial("a root that takes no level", ("prepare.py",), "", 0o555, writing=True, prepared=without("l1")),
]


@pytest.mark.parametrize("denial", DENIALS, ids=str)
def test_access_denied_names_the_user_and_the_cure(stranger: Stranger, denial: Denial) -> None:
    """Exit code 5, one line: which path, which uid and gid, and how to mount the volume or run instead."""
    denial.prepared(stranger.root)
    path = stranger.root / denial.path if denial.path else stranger.root
    before = {
        name: (stranger.root / name).read_bytes() for name in TARGETS if (stranger.root / name).exists()
    }
    if os.geteuid() == 0:
        for each in [stranger.root, *stranger.root.rglob("*")]:
            os.chown(each, stranger.uid, stranger.gid)
    path.chmod(denial.mode)
    outcome = stranger.run(str(denial.arguments[0]), *denial.arguments[1:])
    verb = "writable" if denial.writing else "readable"
    said = [str(path), "Permission denied", f"not {verb} by uid {stranger.uid}, gid {stranger.gid}"]
    if denial.writing:
        said += [f"uid={stranger.uid},gid={stranger.gid}", "securityContext.runAsUser", "docker run --user"]
    check(outcome, str(denial.arguments[0]), 5, said)
    path.chmod(0o755)
    assert {name: (stranger.root / name).read_bytes() for name in before} == before
    assert leftovers(stranger.root) == []


def test_a_link_that_is_no_level_disturbs_nothing(run: Script, root: Path) -> None:
    """A symbolic link to itself among the levels, or among a level's files, is a stranger like any other."""
    fill(root)
    link_to_itself(root / "stranger")
    link_to_itself(root / "l1/stranger")
    outcome = run("merge.py", 2)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    outcome = run("pipeline.py", "--files", 2, "--levels", 1)
    assert (outcome.returncode, outcome.stderr) == (0, "")


@pytest.mark.parametrize(
    "make", [link_to_itself, lambda path: path.symlink_to("nowhere")], ids=["loop", "dangling"]
)
def test_a_link_as_target_is_replaced(run: Script, root: Path, make: Callable[[Path], None]) -> None:
    """A target that is a broken link becomes a file."""
    fill(root)
    replace("l2/0.txt", make)(root)
    assert run("process.py", 0, 1).returncode == 0
    assert not (root / "l2/0.txt").is_symlink()
    assert (root / "l2/0.txt").stat().st_size == 400_000


def test_a_summary_file_nowhere(run: Script, root: Path, tmp_path: Path) -> None:
    """A summary file in a folder that is not there is exit code 6; the line says that the target is made."""
    fill(root)
    outcome = run("process.py", 0, 1, "--summary-file", tmp_path / "none/summary.json")
    assert outcome.returncode == 6
    assert outcome.stderr.count("\n") == 1
    assert f"{tmp_path}/none/summary.json: No such file or directory" in outcome.stderr
    assert "the target is complete" in outcome.stderr
    assert (root / "l2/0.txt").stat().st_size == 400_000


@pytest.fixture
def dead(root: Path) -> Temporary:
    """The name of a temporary that a process of this host left when it was killed."""
    write_level(root, 1, [bytes(24 * MIB)] * 2)
    for _ in range(50):
        process = subprocess.Popen(command("process.py", 0, 1, "--root", root), stdout=subprocess.DEVNULL)
        while process.poll() is None and not leftovers(root):
            time.sleep(0.0005)
        process.kill()
        process.wait()
        if names := leftovers(root):
            (root / names[0]).unlink()
            temporary = parse_temporary(Path(names[0]).name)
            assert temporary is not None
            return temporary
    raise AssertionError("no kill met a temporary")


def leave(root: Path, folder: str, temporary: Temporary, age: float = 0) -> Path:
    """A temporary that was last written to `age` seconds ago."""
    path = root / folder / temporary.name()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def token(temporary: Temporary, number: int) -> Temporary:
    """Another temporary of the same writer."""
    return temporary._replace(token=f"{temporary.token[:-1]}{number}")


def test_whose_temporaries_are_removed(run: Script, root: Path, dead: Temporary) -> None:
    """A dead process's at once, a silent one's after a day; a live one's and other targets' stay."""
    fill(root)
    living = dead._replace(pid=os.getpid())
    elsewhere = dead._replace(host="node-7-4026531999")
    gone = [leave(root, "l1", dead), leave(root, "l1", token(elsewhere, 2), age=25 * 3600)]
    kept = [
        leave(root, "l1", living),
        leave(root, "l1", token(living, 3), age=25 * 3600),
        leave(root, "l1", elsewhere, age=23 * 3600),
        leave(root, "l3", dead),
    ]
    # As 0.1.0 named them, and others that only resemble ours, however old.
    for name in (f".0.txt.{dead.host}.{dead.pid}.0a1b2c3d7.tmp", ".0.txt.swp", ".backup.2024.12.31.tmp"):
        path = root / "l1" / name
        path.write_bytes(b"not ours")
        os.utime(path, (0, 0))
        kept.append(path)
    folder = root / "l1" / ".cache.v1.2.3.tmp"
    folder.mkdir()
    kept.append(folder / "data")
    kept[-1].write_bytes(b"precious")
    os.utime(folder, (0, 0))
    assert run("merge.py", 2, "--level", 1).returncode == 0
    assert [path for path in gone if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []


def test_a_join_removes_what_was_left_of_its_target(run: Script, root: Path, dead: Temporary) -> None:
    """A dead process's temporary of the target goes at once, others' targets and others' runs stay."""
    fill(root)
    gone = leave(root, "l2", dead)
    kept = [
        leave(root, "l2", dead._replace(target="1.txt")),
        leave(root, "l2", dead._replace(pid=os.getpid())),
    ]
    assert run("process.py", 0, 1).returncode == 0
    assert not gone.exists()
    assert [path for path in kept if not path.exists()] == []


@pytest.mark.parametrize("age", [-7200, 0, 23 * 3600])
def test_a_folder_in_use_stays(run: Script, root: Path, dead: Temporary, age: float) -> None:
    """A command's folder on another host is as young as what was last written in it, by whatever clock."""
    fill(root)
    folder = root / "l1" / dead._replace(host="node-7-4026531999").name()
    folder.mkdir()
    (folder / "0.txt").write_bytes(b"half")
    os.utime(folder / "0.txt", (time.time() - age, time.time() - age))
    os.utime(folder, (time.time() - 90_000, time.time() - 90_000))
    assert run("merge.py", 2, "--level", 1).returncode == 0
    assert (folder / "0.txt").exists()
    os.utime(folder / "0.txt", (time.time() - 90_000, time.time() - 90_000))
    os.utime(folder, (time.time() - 90_000, time.time() - 90_000))
    assert run("merge.py", 2, "--level", 1).returncode == 0
    assert not folder.exists()


def test_a_merge_sweeps_its_level(run: Script, root: Path, dead: Temporary) -> None:
    """The last step removes what dead runs left beside its inputs and its result, whatever their targets."""
    fill(root)
    leave(root, "l1", dead._replace(target="7.txt"))
    leave(root, "", dead._replace(target="other.txt"))
    leave(root, "", dead._replace(target="result.txt"))
    assert run("merge.py", 2, "--level", 1).returncode == 0
    assert leftovers(root) == []


def test_a_pipeline_removes_every_dead_temporary(run: Script, root: Path, dead: Temporary) -> None:
    """Merges side by side in one process remove what killed runs left of any of them."""
    write_level(root, 1, [b"x"] * 32)
    for number in range(16):
        for serial in range(250):
            name = dead._replace(target=f"{number}.txt", token=f"{dead.token[:-1]}{serial}")
            leave(root, "runs/killed/l2", name)
    assert run("pipeline.py", "--workers", 8, "--levels", 2, "--run", "killed", "--keep").returncode == 0
    assert (root / "runs/killed/l2/15.txt").exists()
    assert leftovers(root) == []


@pytest.mark.parametrize("digits", [99, 100])
def test_a_level_of_100_digits(run: Script, root: Path, digits: int) -> None:
    """The same for a level's number."""
    level = int("9" * (digits - 1) + "8")
    write_level(root, level, [b"a", b"b"])
    outcome = run("process.py", 0, level)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (root / f"l{level + 1}/0.txt").read_bytes() == b"ab"


@pytest.mark.parametrize(
    "arguments", [("merge.py", 10**15, "--level", 1), ("merge.py", 10**15), ("merge.py", "9" * 100)]
)
def test_a_mistyped_count_ends(root: Path, arguments: tuple[object, ...]) -> None:
    """A count that no level can hold is a missing input, not a list of that length."""
    write_level(root, 1, [b"a", b"b"])
    (root / f"l1/{10**15 - 1}.txt").write_bytes(b"the last one")
    script, *rest = arguments
    line = ["sh", "-c", 'ulimit -v 524288 && exec "$@"', "sh", *command(str(script), *rest, "--root", root)]
    outcome = finished(line, env=environment())
    assert outcome.returncode == 3, outcome.stderr
    assert outcome.stderr.count("\n") == 1
