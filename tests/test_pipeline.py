"""pipeline.py: the whole tree in one process, what it shows, and taking up what was interrupted."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from conftest import Script, command, environment, leftovers, write_level


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
    outcome = run("pipeline.py", "--levels", 5)
    assert outcome.returncode == 0, outcome.stderr
    assert "merge.py 16" in outcome.stdout
    assert "... 250 more" in outcome.stdout
    assert [len(list((root / f"l{level}").iterdir())) for level in range(2, 7)] == [256, 128, 64, 32, 16]
    assert (root / "result.txt").read_bytes() == b"".join(contents)
    assert run("merge.py", 16, "--output", "again.txt").returncode == 0
    assert (root / "again.txt").read_bytes() == b"".join(contents)


@pytest.mark.parametrize(("files", "levels", "fan_in"), [(1, 2, 2), (3, 0, 2), (7, 3, 2), (10, 1, 16)])
def test_any_shape(run: Script, root: Path, files: int, levels: int, fan_in: int) -> None:
    """Odd counts, no level at all, a fan-in above the number of files."""
    contents = [bytes([n]) * n for n in range(files)]
    write_level(root, 1, contents)
    outcome = run("pipeline.py", "--levels", levels, "--fan-in", fan_in)
    assert outcome.returncode == 0, outcome.stderr
    assert (root / "result.txt").read_bytes() == b"".join(contents)


def test_clean_removes_the_levels_between(run: Script, root: Path) -> None:
    """--clean leaves level 1 and the result only."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    assert run("pipeline.py", "--clean").returncode == 0
    assert sorted(path.name for path in root.iterdir()) == ["l1", "result.txt"]


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
    (root / "l3").mkdir()
    (root / "l3/2.txt").mkdir()  # so that this merge fails
    first = run("pipeline.py", "--workers", 1)
    assert first.returncode == 6
    done = {path: path.stat().st_mtime_ns for path in root.glob("l2/*.txt")}
    assert len(done) == 8
    (root / "l3/2.txt").rmdir()
    (root / "l2/5.txt").unlink()
    second = run("pipeline.py", "--workers", 1, "--resume")
    assert second.returncode == 0, second.stderr
    kept = {line.split()[-3] for line in second.stdout.splitlines() if line.endswith("kept")}
    redone = [
        line for line in second.stdout.splitlines() if "process.py" in line and not line.endswith("kept")
    ]
    assert kept
    assert {path for path, time in done.items() if path.stat().st_mtime_ns != time} == {root / "l2/5.txt"}
    assert any("process.py 2 2" in line for line in redone)
    assert (root / "result.txt").read_bytes() == b"".join(contents)
    assert leftovers(root) == []


def test_resume_sees_a_changed_input(run: Script, root: Path) -> None:
    """An input that was replaced after the interruption is merged anew, up to the result."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    (root / "result.txt").mkdir()  # so that the last step fails
    assert run("pipeline.py").returncode == 6
    (root / "result.txt").rmdir()
    (root / "l1/2.txt").write_bytes(b"C")
    outcome = run("pipeline.py", "--resume")
    assert outcome.returncode == 0, outcome.stderr
    assert (root / "result.txt").read_bytes() == b"abCd"
    assert outcome.stdout.count("kept") == 1  # group 0 of level 1


def test_resume_refuses_another_shape(run: Script, root: Path) -> None:
    """What another fan-in left must not be mixed in."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    (root / "result.txt").mkdir()
    assert run("pipeline.py").returncode == 6
    (root / "result.txt").rmdir()
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


def test_a_bar_on_a_terminal(root: Path) -> None:
    """On a terminal stderr shows a progress bar; elsewhere (above) nothing."""
    write_level(root, 1, [b"x" * 1000] * 8)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("pipeline.py", "--root", root), env=environment(), stdout=subprocess.DEVNULL, stderr=theirs
    )
    assert process.wait() == 0
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "100%" in shown


def test_ascii_where_unicode_cannot_be_shown(run: Script, root: Path) -> None:
    """A terminal without UTF-8 gets the tree in ASCII."""
    write_level(root, 1, [b"a", b"b"])
    outcome = run("pipeline.py", PYTHONIOENCODING="ascii")
    assert outcome.returncode == 0
    assert outcome.stdout.isascii()


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
    assert "497 merges, the data moved 6 times" in outcome.stdout
    assert "merge.py 512 --level 1: 1 merge, the data moved once" in outcome.stdout
    assert list(root.iterdir()) == []


def test_dry_run_knows_the_bytes_that_are_there(run: Script, root: Path) -> None:
    """Without --files level 1 is counted, and its bytes too."""
    write_level(root, 1, [b"x" * 10] * 5)
    outcome = run("pipeline.py", "--dry-run")
    assert "the data moved 3 times: 150 bytes" in outcome.stdout
    assert [path.name for path in root.iterdir()] == ["l1"]


def test_dry_run_of_a_hundred_thousand(run: Script) -> None:
    """A plan is arithmetic: 100,000 files cost no more than a start of the interpreter."""
    outcome = run("pipeline.py", "--files", 100_000, "--fan-in", 16, "--levels", 3, "--dry-run")
    assert "process.py 6249 1" in outcome.stdout
    assert "merge.py 25" in outcome.stdout
