"""pipeline.py: the whole tree in one process, what it shows, and taking up what was interrupted."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oss_server import OssServer
from oss_server.faults import Answer, Fault
from scripts import Script, command, environment, finished, leftovers, mounted, write_level


def test_the_tutorial_in_one_process(run: Script, root: Path) -> None:
    """32 letters, 25 steps and the preparation, a line each, then the result's size and first bytes."""
    outcome = run("pipeline.py", "--prepare")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    letters = b"".join((root / f"l1/{n}.txt").read_bytes() for n in range(32))
    assert (root / "result.txt").read_bytes() == letters
    lines = outcome.stdout.splitlines()
    commands = [f"process.py {n} {level}" for level, width in [(1, 16), (2, 8)] for n in range(width)]
    for wanted in ["prepare.py 32", *commands, "merge.py 8"]:
        (line,) = [line for line in lines if f" {wanted} " in line]
        assert line.endswith(("ms", "s"))
    assert lines[-1] == f"{root}/result.txt: 32 bytes: {letters.decode()}"
    assert leftovers(root) == []


def test_five_levels(run: Script, root: Path) -> None:
    """512 files, 256+128+64+32+16 merges, then merge.py 16: the tutorial's larger sister."""
    contents = [f"{n} ".encode() for n in range(512)]
    write_level(root, 1, contents)
    outcome = run("pipeline.py", "--levels", 5, "--keep", "--run", "five")
    assert outcome.returncode == 0, outcome.stderr
    assert "merge.py 16" in outcome.stdout
    assert "… 236 more, " in outcome.stdout
    widths = [len(list((root / f"runs/five/l{level}").iterdir())) for level in range(2, 7)]
    assert widths == [256, 128, 64, 32, 16]
    assert (root / "result.txt").read_bytes() == b"".join(contents)
    assert run("merge.py", 16, "--run", "five", "--output", "again.txt").returncode == 0
    assert (root / "again.txt").read_bytes() == b"".join(contents)


@pytest.mark.parametrize(("files", "width", "pods"), [(9, 3, [3, 1]), (9, 2, [3, 1, 1]), (2, 8, [1])])
def test_down_to_a_width(run: Script, root: Path, files: int, width: int, pods: list[int]) -> None:
    """--final-width is the templates' final-width: the same levels; --levels wins over its variable."""
    contents = [b"%d " % number for number in range(files)]
    write_level(root, 1, contents)
    shape = ("--fan-in", 4, "--keep", "--run", "w")
    outcome = run("pipeline.py", "--final-width", width, *shape)
    assert outcome.returncode == 0, outcome.stderr
    assert (root / "result.txt").read_bytes() == b"".join(contents)
    made = [len(list((root / "runs/w" / f"l{level}").glob("*.txt"))) for level in range(2, len(pods) + 1)]
    assert [*made, 1] == pods
    both = ("--final-width", width, "--levels", 1)
    assert "give one of them" in run("pipeline.py", *both).stderr
    variables = {"AGGREGATION_FINAL_WIDTH": str(width)}
    assert run("pipeline.py", "--levels", 0, "--run", "v", "--keep", **variables).returncode == 0
    assert not (root / "runs/v/l2").exists()


@pytest.mark.parametrize(("files", "levels", "fan_in"), [(1, 2, 2), (3, 0, 2), (7, 3, 2), (10, 1, 16)])
def test_any_shape(run: Script, root: Path, files: int, levels: int, fan_in: int) -> None:
    """Odd counts, no level at all, a fan-in above the number of files."""
    contents = [bytes([n]) * n for n in range(files)]
    write_level(root, 1, contents)
    outcome = run("pipeline.py", "--levels", levels, "--fan-in", fan_in)
    assert outcome.returncode == 0, outcome.stderr
    assert (root / "result.txt").read_bytes() == b"".join(contents)


def test_a_run_s_folder_goes_after_success(run: Script, root: Path) -> None:
    """Level 1 and the result stay only; --keep keeps the levels, without the journal and the notes."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    assert run("pipeline.py").returncode == 0
    assert sorted(path.name for path in root.iterdir()) == ["l1", "result.txt"]
    assert run("pipeline.py", AGGREGATION_CLEAN="false").returncode == 0
    (folder,) = (root / "runs").iterdir()
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == [
        *("l2", "l2/0.txt", "l2/1.txt", "l3", "l3/0.txt")
    ]
    assert run("pipeline.py", "--resume", "--run", folder.name, "--clean").returncode == 0
    assert sorted(path.name for path in root.iterdir()) == ["l1", "result.txt"]


def test_a_run_s_folder_stays_whole_after_failure(run: Script, root: Path) -> None:
    """What was made stays for --resume, in the run's folder only."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    (root / "result.txt").mkdir()
    assert run("pipeline.py").returncode == 6
    (folder,) = (root / "runs").iterdir()
    assert (folder / "l3/0.txt").read_bytes() == b"abcd"
    assert sorted(path.name for path in root.iterdir()) == ["l1", "result.txt", "runs"]


def test_missing_inputs_show_before_anything_is_written(run: Script, root: Path) -> None:
    """An incomplete level 1 is exit code 3, says what there is, and leaves the root as it was."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    (root / "l1/2.txt").unlink()
    for arguments in ([], ["--files", 4]):
        outcome = run("pipeline.py", *arguments)
        assert outcome.returncode == 3
        assert "l1 holds 3 files (0 to 3 without 2)" in outcome.stderr or "without 2" in outcome.stderr
        assert outcome.stderr.count("\n") == 1
    assert sorted(path.name for path in root.iterdir()) == ["l1"]


def test_resume_redoes_only_what_is_missing(run: Script, root: Path) -> None:
    """After a failure in level 2, --resume keeps what is done, redoes what is not, and gives the result."""
    contents = [f"{n} ".encode() for n in range(16)]
    write_level(root, 1, contents)
    folder = root / "runs/mine"
    (folder / "l3/2.txt").mkdir(parents=True)  # so that this merge fails
    first = run("pipeline.py", "--workers", 1, "--run", "mine")
    assert first.returncode == 6
    done = {path: path.stat().st_mtime_ns for path in folder.glob("l2/*.txt")}
    assert len(done) == 8
    (folder / "l3/2.txt").rmdir()
    (folder / "l2/5.txt").unlink()
    second = run("pipeline.py", "--workers", 1, "--resume", "--keep")
    assert second.returncode == 0, second.stderr
    kept = [line for line in second.stdout.splitlines() if line.endswith("kept")]
    redone = [
        line for line in second.stdout.splitlines() if "process.py" in line and not line.endswith("kept")
    ]
    assert len(kept) >= 7 + 2  # of level 1, and the two of level 2 that were made before the failure
    assert {path for path, time in done.items() if path.stat().st_mtime_ns != time} == {folder / "l2/5.txt"}
    assert any("process.py 2 2" in line for line in redone)
    assert (root / "result.txt").read_bytes() == b"".join(contents)
    assert leftovers(root) == []


def fail_in_the_end(run: Script, root: Path, *arguments: object) -> None:
    """A run whose last step fails, once."""
    (root / "result.txt").mkdir()
    assert run("pipeline.py", *arguments).returncode == 6
    (root / "result.txt").rmdir()


def overwritten(path: Path, old: os.stat_result) -> None:
    """Written anew, with the old times."""
    path.write_bytes(b"C")
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))


def moved(path: Path, old: os.stat_result) -> None:
    """Replaced by another file with the same size and time, as rsync -t does."""
    other = path.with_name("other")
    other.write_bytes(b"C")
    os.utime(other, ns=(old.st_atime_ns, old.st_mtime_ns))
    other.rename(path)


def aged(path: Path, _: os.stat_result) -> None:
    """Replaced by an older file, as cp -p and mv do."""
    path.write_bytes(b"C")
    os.utime(path, (1, 1))


@pytest.mark.parametrize("replace", [overwritten, moved, aged])
@pytest.mark.parametrize("name", ["l1/2.txt", "runs/mine/l2/1.txt"])
def test_resume_sees_a_changed_file(
    run: Script, root: Path, replace: Callable[[Path, os.stat_result], None], name: str
) -> None:
    """An input, or a level's file, that was replaced is noticed whatever its times, up to the result."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    fail_in_the_end(run, root, "--run", "mine")
    replace(root / name, (root / name).stat())
    outcome = run("pipeline.py", "--resume")
    assert outcome.returncode == 0, outcome.stderr
    assert (root / "result.txt").read_bytes() == (b"abCd" if name == "l1/2.txt" else b"abcd")
    assert outcome.stdout.count("kept") == 1  # group 0 of level 1


def test_resume_on_oss_sees_an_object_of_the_same_second(run: Script) -> None:
    """There the times are whole seconds: an object put twice within one is known by its ETag."""
    with OssServer(["demo"], access_key_id="id", access_key_secret="secret") as server:
        variables = server.environment()
        for number, letter in enumerate("abcd"):
            server.put("demo", f"a/l1/{number}.txt", letter.encode())
        denied = server.faults.add(Fault("PutObject", Answer(403, "AccessDenied"), key="a/result.txt"))
        assert run("pipeline.py", "--root", "oss://demo/a", **variables).returncode == 5
        server.faults.remove(denied)
        server.put("demo", "a/l1/2.txt", b"C")
        outcome = run("pipeline.py", "--root", "oss://demo/a", "--resume", **variables)
        assert outcome.returncode == 0, outcome.stderr
        assert server.get("demo", "a/result.txt") == b"abCd"
        assert outcome.stdout.count("kept") == 1
        assert {key for key in server.keys("demo", "") if "runs" in key} == set()


def test_resume_takes_the_latest_run_of_its_shape(run: Script, root: Path) -> None:
    """Other shapes, older runs and other names stay as they are; a named run is the one that is taken."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    for name, levels in (("old", 1), ("named", 1), ("latest", 1), ("other-shape", 2)):
        fail_in_the_end(run, root, "--run", name, "--levels", levels)
    outcome = run("pipeline.py", "--resume", "--levels", 1)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.count("kept") == 2
    assert sorted(path.name for path in (root / "runs").iterdir()) == ["named", "old", "other-shape"]
    outcome = run("pipeline.py", "--resume", "--levels", 1, "--run", "old")
    assert outcome.stdout.count("kept") == 2
    assert sorted(path.name for path in (root / "runs").iterdir()) == ["named", "other-shape"]
    assert run("pipeline.py", "--resume", "--levels", 1, "--run", "other-shape").returncode == 2


@pytest.mark.parametrize(("name", "content"), [(".pipeline.json", b'{"run"'), (".made-l2.json", b"[]")])
def test_resume_takes_no_damaged_notes(run: Script, root: Path, name: str, content: bytes) -> None:
    """What was cut short, or is not the worker's, is no error: what it spoke of is made again."""
    write_level(root, 1, [b"a", b"b"])
    fail_in_the_end(run, root, "--run", "mine")
    (root / "runs/mine" / name).write_bytes(content)
    outcome = run("pipeline.py", "--resume")
    assert outcome.returncode == 0, outcome.stderr
    assert "kept" not in outcome.stdout
    assert (root / "result.txt").read_bytes() == b"ab"


def test_resume_takes_no_notes_of_an_earlier_run_of_the_name(run: Script, root: Path) -> None:
    """The earlier one had another command, and its files are there still: they are made again."""
    write_level(root, 1, [b"a", b"b"])
    fail_in_the_end(run, root, "--run", "mine", "--levels", 1)
    upper = f"sh -c 'test -e {root}/go || kill -9 $PPID; tr a-z A-Z'"
    arguments = ("--run", "mine", "--levels", 1, "--command", upper)
    assert run("pipeline.py", *arguments).returncode == -signal.SIGKILL
    (root / "go").touch()
    outcome = run("pipeline.py", "--resume", *arguments)
    assert outcome.returncode == 0, outcome.stderr
    assert "kept" not in outcome.stdout
    assert (root / "result.txt").read_bytes() == b"AB"


def test_resume_leaves_a_run_that_is_at_work_alone(run: Script, root: Path) -> None:
    """What another process is making is not interrupted: --resume begins a run of its own beside it."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    arguments = ("--levels", 1, "--command", f"sh -c 'until [ -e {root}/go ]; do sleep 0.02; done; cat'")
    process = subprocess.Popen(
        command("pipeline.py", "--root", root, "--run", "working", *arguments),
        env=environment(),
        stdout=subprocess.DEVNULL,
    )
    while not list(root.glob("runs/working/l2/.*")):
        assert process.poll() is None
        time.sleep(0.01)
    assert run("pipeline.py", "--resume", "--run", "working", *arguments).returncode == 2
    second = subprocess.Popen(
        command("pipeline.py", "--root", root, "--resume", *arguments),
        env=environment(),
        stdout=subprocess.DEVNULL,
    )
    while len(list((root / "runs").glob("*/l2/.*"))) < 3:
        assert second.poll() is None
        time.sleep(0.01)
    (root / "go").touch()
    assert (process.wait(), second.wait()) == (0, 0)
    assert (root / "result.txt").read_bytes() == b"abcd"
    assert not (root / "runs").exists()


def test_a_kill_costs_what_was_not_noted(run: Script, root: Path) -> None:
    """Killed outright in the middle of a level, --resume keeps most of it and the result is right."""
    write_level(root, 1, [b"%x" % number for number in range(16)])
    arguments = ("--levels", 1, "--workers", 1, "--command", "sh -c 'sleep 0.3; cat'")
    process = subprocess.Popen(
        command("pipeline.py", "--root", root, *arguments), env=environment(), stdout=subprocess.DEVNULL
    )
    while not list(root.glob("runs/*/l2/6.txt")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    outcome = run("pipeline.py", "--resume", *arguments)
    assert outcome.returncode == 0, outcome.stderr
    assert (root / "result.txt").read_bytes() == b"0123456789abcdef"
    assert outcome.stdout.count("kept") > 0


def test_a_killed_cleaning_is_finished(run: Script, root: Path) -> None:
    """A run that was killed while its folder was removed is done; only the rest of the folder goes."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    fail_in_the_end(run, root, "--run", "mine")
    copy = root.parent / "copy"
    shutil.copytree(root / "runs/mine", copy)
    fifo = root / "runs/mine/l2/trap"
    fifo.mkdir()
    with mounted(fifo, "-t", "tmpfs", "none"):  # so that the removal is not finished
        assert run("pipeline.py", "--resume").returncode == 0
    assert (root / "runs/mine~").exists()
    result = (root / "result.txt").stat()
    outcome = run("pipeline.py", "--resume")
    assert outcome.returncode == 0, outcome.stderr
    assert "kept" in outcome.stdout
    assert (root / "result.txt").stat().st_mtime_ns == result.st_mtime_ns
    assert sorted(path.name for path in root.iterdir()) == ["l1", "result.txt"]


def test_resume_refuses_another_shape(run: Script, root: Path) -> None:
    """What another fan-in left must not be mixed in."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    fail_in_the_end(run, root)
    outcome = run("pipeline.py", "--resume", "--fan-in", 4)
    assert outcome.returncode == 2
    assert "without --resume" in outcome.stderr


def test_resume_with_nothing_to_resume_starts_afresh(run: Script, root: Path) -> None:
    """After a run that was done, and on a fresh root, --resume is a run like any other."""
    write_level(root, 1, [b"a", b"b"])
    for expected in (b"ab", b"xb"):
        outcome = run("pipeline.py", "--resume")
        assert outcome.returncode == 0, outcome.stderr
        assert "kept" not in outcome.stdout
        assert (root / "result.txt").read_bytes() == expected
        (root / "l1/0.txt").write_bytes(b"x")


def test_without_resume_everything_is_redone(run: Script, root: Path) -> None:
    """Levels that an earlier run left are replaced, whatever their age."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    write_level(root, 2, [b"stale", b"stale"])
    future = 2**32
    for path in (root / "l2").iterdir():
        os.utime(path, (future, future))
    assert run("pipeline.py", "--levels", 1).returncode == 0
    assert (root / "result.txt").read_bytes() == b"abcd"


def test_a_binary_result_is_shown_as_digits(run: Script, root: Path) -> None:
    """The first bytes of a map tile do not reach the terminal as they are."""
    contents = [b"\x1b[2J\x00"] * 20
    write_level(root, 1, contents)
    last = run("pipeline.py").stdout.splitlines()[-1]
    assert last == f"{root}/result.txt: 100 bytes: {b''.join(contents)[:64].hex(' ')} ..."


def test_json(run: Script, root: Path) -> None:
    """With --log-format json stdout is JSON lines, without the tree."""
    write_level(root, 1, [b"a", b"b"])
    outcome = run("pipeline.py", "--log-format", "json")
    (line,) = outcome.stdout.splitlines()
    assert json.loads(line)["bytes"] == 2


def test_lines_without_a_terminal(run: Script, root: Path) -> None:
    """A line a level as it is done, on stdout; for a machine as JSON on stderr."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    stages = ["process-data-l1: 2 steps", "process-data-l2: 1 step", "merge-data: 1 step"]
    lines = run("pipeline.py").stdout.splitlines()
    assert [line.partition(",")[0] for line in lines[:3]] == [f"pipeline.py: {stage}" for stage in stages]
    outcome = run("pipeline.py", "--log-format", "json")
    records = [json.loads(line) for line in outcome.stderr.splitlines()]
    assert [record["message"].partition(",")[0] for record in records] == stages
    assert json.loads(outcome.stdout)["bytes"] == 4


def test_lines_come_while_the_run_goes_on(root: Path) -> None:
    """The first level's line is there before the second level is done."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    waiting = f"sh -c 'until [ {{level}} = 1 -o -e {root}/go ]; do sleep 0.02; done; cat'"
    process = subprocess.Popen(
        command("pipeline.py", "--root", root, "--command", waiting),
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("pipeline.py: process-data-l1: 2 steps")
    (root / "go").touch()
    process.communicate()
    assert process.returncode == 0


def test_progress_counts_the_inputs_that_are_done(root: Path, tmp_path: Path) -> None:
    """With a command whose output is small progress goes with its inputs: no estimate of days."""
    write_level(root, 1, [b"x" * 1000] * 4)
    progress = tmp_path / "progress"
    waiting = f"sh -c 'until [ {{level}} != 3 -o -e {root}/go ]; do sleep 0.02; done; echo'"
    process = subprocess.Popen(
        command("pipeline.py", "--root", root, "--command", waiting),
        env=environment(ARGO_PROGRESS_FILE=str(progress)),
        stdout=subprocess.DEVNULL,
    )
    shown = ""
    while shown != "8000/12000\n":  # two levels of three
        assert process.poll() is None
        shown = progress.read_text() if progress.exists() else ""
        time.sleep(0.02)
    (root / "go").touch()
    assert process.wait() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--levels", "99999999999"],
        ["--levels", "1001"],
        ["--prepare", "--files", "9" * 99],
        ["--prepare", "--files", "10000000"],
    ],
)
def test_numbers_too_large_for_memory(run: Script, root: Path, arguments: list[str]) -> None:
    """They are wrong usage, and nothing is written."""
    outcome = run("pipeline.py", *arguments)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.count("\n") == 1
    assert list(root.iterdir()) == []


def test_numbers_that_are_only_large(run: Script, root: Path) -> None:
    """More workers and requests than a machine can have are as many as it can have."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    outcome = run("pipeline.py", "--workers", "9" * 99, "--parallel", "9" * 99, "--fan-in", "9" * 99)
    assert outcome.returncode == 0, outcome.stderr
    assert (root / "result.txt").read_bytes() == b"abcd"


def test_files_that_would_be_left_out(run: Script, root: Path) -> None:
    """Fewer --files than level 1 holds are an error with both counts; --partial says that they are meant."""
    write_level(root, 1, [b"a", b"b", b"c", b"d", b"e"])
    outcome = run("pipeline.py", "--files", 4)
    assert outcome.returncode == 3
    assert "joining 4 files" in outcome.stderr
    assert "5 files (0 to 4)" in outcome.stderr
    assert sorted(path.name for path in root.iterdir()) == ["l1"]
    assert run("pipeline.py", "--files", 4, "--partial").returncode == 0
    assert (root / "result.txt").read_bytes() == b"abcd"


def test_windows_fit_into_open_files(root: Path) -> None:
    """Many workers with many inputs each get by with 100 open files, soft and hard."""
    write_level(root, 1, [b"%d," % number for number in range(640)])
    arguments = command("pipeline.py", "--root", root, "--workers", 30, "--fan-in", 64, "--levels", 1)
    outcome = finished(["bash", "-c", 'ulimit -n 100; exec "$@"', "bash", *arguments], env=environment())
    assert outcome.returncode == 0, outcome.stderr
    assert (root / "result.txt").read_bytes() == b"".join(b"%d," % number for number in range(640))


def test_dry_run(run: Script, root: Path) -> None:
    """--dry-run shows levels, merges, bytes moved and the flat merge's cost, and touches nothing."""
    outcome = run("pipeline.py", "--files", 512, "--levels", 5, "--dry-run")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    lines = [line.split() for line in outcome.stdout.splitlines()]
    assert [line[:3] for line in lines[1:7]] == [
        ["l1", "512", "256"],
        ["l2", "256", "128"],
        ["l3", "128", "64"],
        ["l4", "64", "32"],
        ["l5", "32", "16"],
        ["l6", "16", "1"],
    ]
    assert " ".join(lines[7]) == "total 497 6 x the data"
    assert " ".join(lines[8]) == "flat 1 1 x the data merge.py 512 --level 1"
    assert list(root.iterdir()) == []


def test_dry_run_knows_the_bytes_that_are_there(run: Script, root: Path) -> None:
    """Without --files level 1 is counted, and its bytes too."""
    write_level(root, 1, [b"x" * 10] * 5)
    outcome = run("pipeline.py", "--dry-run")
    assert "total              6  150 bytes" in outcome.stdout
    assert [path.name for path in root.iterdir()] == ["l1"]


def test_dry_run_of_a_hundred_thousand(run: Script) -> None:
    """A plan is arithmetic: 100,000 files cost no more than a start of the interpreter."""
    outcome = run("pipeline.py", "--files", 100_000, "--fan-in", 16, "--levels", 3, "--dry-run")
    assert "process.py 6249 1" in outcome.stdout
    assert "merge.py 25" in outcome.stdout
