"""What is printed where: streams that are closed, full or not UTF-8, and the termination message."""

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import WORKER, Outcome, Script, command, environment, finished, leftovers, runs, write_level


def redirected(where: str, *arguments: object, **variables: str) -> Outcome:
    """Run a script by a shell that redirects its streams."""
    line = shlex.join(command(*map(str, arguments)))
    return finished(["bash", "-c", f"{line} {where}"], env=environment(**variables))


@pytest.mark.parametrize("where", [">&-", "2>&-", ">&- 2>&-", "<&-", "<&- >&- 2>&-", "2> /dev/full"])
@pytest.mark.parametrize("script", [("process.py", 0, 1), ("pipeline.py",), ("prepare.py", 2)], ids=str)
def test_streams_that_nobody_reads(root: Path, script: tuple[object, ...], where: str) -> None:
    """Closed or, for stderr, full: the work is done, and nothing of it ends in a file by mistake."""
    write_level(root, 1, [b"A", b"B"])
    outcome = redirected(where, *script, "--root", root)
    assert outcome.returncode == 0, outcome
    assert outcome.stderr == ""
    assert leftovers(root) == []
    made = {"process.py": "l2/0.txt", "pipeline.py": "result.txt", "prepare.py": "l1/0.txt"}[str(script[0])]
    assert (root / made).read_bytes() in (b"AB", b"A")


@pytest.mark.parametrize("where", ["2>&-", "2> /dev/full", "<&- >&- 2>&-"])
def test_an_error_that_nobody_reads(root: Path, where: str) -> None:
    """The exit code says it all the same, and stdout stays what it is for."""
    outcome = redirected(where, "process.py", 0, 1, "--root", root)
    assert (outcome.returncode, outcome.stdout) == (3, "")


@pytest.mark.parametrize("where", [">&- 2>&-", "2>&-", "2> /dev/full"])
def test_a_command_whose_messages_nobody_reads(root: Path, where: str) -> None:
    """What it prints beside the target goes nowhere: not to stdout, not into a file."""
    write_level(root, 1, [b"a", b"b"])
    chatty = """sh -c 'echo out; (echo err >&2) 2> /dev/null; cat "$@" > "$0"' {output} {inputs}"""
    outcome = redirected(where, "process.py", 0, 1, "--root", root, "--command", chatty)
    if where != "2> /dev/full":  # there echo itself fails
        assert outcome.returncode == 0, outcome
        assert (root / "l2/0.txt").read_bytes() == b"ab"
    assert "out\n" not in outcome.stdout


@pytest.mark.parametrize(
    "arguments",
    [("process.py", "--help"), ("-m",), ("plan.py", "1", "--files", "4"), ("process.py", "0", "1")],
    ids=str,
)
def test_a_full_stdout_is_no_bug(root: Path, arguments: tuple[str, ...]) -> None:
    """Whatever is printed there: exit code 6 and one line."""
    write_level(root, 1, [b"a", b"b"])
    if arguments == ("-m",):
        line = f"cd {shlex.quote(str(WORKER))}; {shlex.quote(sys.executable)} -m aggregation > /dev/full"
        outcome = finished(["sh", "-c", line])
    else:
        outcome = redirected("> /dev/full", *arguments, AGGREGATION_ROOT=str(root))
    assert outcome.returncode == 6, outcome
    assert outcome.stderr.count("\n") == 1
    assert "stdout: No space left on device" in outcome.stderr
    if arguments[-1] == "1":
        assert "the target is complete" in outcome.stderr
        assert (root / "l2/0.txt").read_bytes() == b"ab"


@pytest.mark.parametrize("arguments", [["--help"], ["0", "1"]], ids=["a pager", "a join"])
def test_a_reader_that_goes_away(root: Path, arguments: list[str]) -> None:
    """What is left early is no error, and the target is made."""
    write_level(root, 1, [b"a", b"b"])
    outcome = redirected(
        "| true; exit ${PIPESTATUS[0]}", "process.py", *arguments, AGGREGATION_ROOT=str(root)
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (root / "l2").exists() == (arguments == ["0", "1"])


def test_a_list_that_cannot_be_printed(root: Path) -> None:
    """All that plan.py makes is what it prints: a closed stdout is a failure there."""
    outcome = redirected(">&-", "plan.py", 1, "--files", 4, "--root", root)
    assert outcome.returncode == 6
    assert "stdout" in outcome.stderr


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "utf-8:strict"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["\u2603", "\udcff", "\x1b[31m\r"], ids=ascii)
def test_names_that_the_encoding_lacks(root: Path, name: str, variables: dict[str, str]) -> None:
    """The target is made, the summary is one line, and so is an error."""
    paths = write_level(root, 1, [b"a", b"b"], f".{name}")
    arguments = ("--root", os.fsencode(root), "--suffix", os.fsencode(f".{name}"))
    for _ in range(2):
        line = [os.fsencode(each) for each in (*command("process.py", 0, 1),)] + [
            each if isinstance(each, bytes) else each.encode() for each in arguments
        ]
        outcome = subprocess.run(line, env=environment(**variables), capture_output=True, check=False)
        printed = outcome.stderr or outcome.stdout
        assert printed.count(b"\n") == 1
        assert b"\x1b" not in printed
        assert b"\r" not in printed
        assert b"bug" not in printed
        if paths[0].exists():
            assert outcome.returncode == 0, outcome
            paths[0].unlink()
        else:
            assert outcome.returncode == 3, outcome
    assert (root / f"l2/0.{name}").read_bytes() == b"ab"


# The termination message


def test_the_last_words(run: Script, root: Path, tmp_path: Path) -> None:
    """The summary's line, or the error's, as it stands on stdout or stderr, without the script's name."""
    path = tmp_path / "message"
    path.write_text("what another container said, which was longer than all of this " * 9)
    write_level(root, 1, [b"a", b"b"])
    for arguments, code in ((("0", "1"), 0), (("7", "1"), 3), (("x", "1"), 2), (("0", "1", "--none"), 2)):
        for way in ("--termination-message", f"--termination-message={path}", "variable"):
            options = [way, str(path)] if way == "--termination-message" else [way]
            variables = {"AGGREGATION_TERMINATION_MESSAGE": str(path)} if way == "variable" else {}
            outcome = run("process.py", *arguments, *(options if not variables else []), **variables)
            assert outcome.returncode == code
            said = (outcome.stderr or outcome.stdout).removeprefix("process.py: ").removeprefix("error: ")
            assert path.read_text() == said.removesuffix("\n")
            path.write_text("")
    outcome = run("process.py", 7, 1, "--log-format", "json", "--termination-message", path)
    assert path.read_text() == json.loads(outcome.stderr)["message"]


def test_an_interruption_leaves_word(root: Path, tmp_path: Path) -> None:
    """A pod that is preempted says so."""
    write_level(root, 1, [b"a", b"b"])
    message = tmp_path / "message"
    merge = f"sh -c 'touch {tmp_path}/started; exec sleep 4242'"
    worker = subprocess.Popen(
        command("process.py", 0, 1, "--root", root, "--command", merge, "--termination-message", message),
        env=environment(),
        stderr=subprocess.PIPE,
    )
    while not (tmp_path / "started").exists():
        time.sleep(0.01)
    worker.terminate()
    worker.communicate(timeout=30)
    assert worker.returncode == 143
    assert message.read_text().startswith("SIGTERM: stopped")


@pytest.mark.parametrize("place", ["/dev/full", "folder", "none/there", "not writable", "a pipe", ""])
def test_words_that_cannot_be_left(run: Script, root: Path, tmp_path: Path, place: str) -> None:
    """No exit code and no output differs, whatever the file is; an empty path asks for none."""
    write_level(root, 1, [b"a", b"b"])
    (tmp_path / "folder").mkdir()
    (tmp_path / "not writable").touch(0o444)
    os.mkfifo(tmp_path / "a pipe")
    path = str(tmp_path / place) if place else ""
    assert run("process.py", 0, 1, "--termination-message", path).returncode == 0
    said = run("process.py", 9, 1, AGGREGATION_TERMINATION_MESSAGE=path).stderr
    assert said.startswith("process.py: error: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "none").exists()
    assert not Path("/dev/termination-log").exists()


def test_long_words_are_cut_between_characters(run: Script, tmp_path: Path) -> None:
    """At most 4,096 bytes, and UTF-8 to the last of them."""
    message = tmp_path / "message"
    for shift in range(3):
        message.write_text("")
        wrong = "x" * shift + "\u2603" * 3000
        assert run("process.py", wrong, 1, "--termination-message", message).returncode == 2
        text = message.read_bytes()
        assert 4096 - 3 < len(text) <= 4096
        assert text.decode().endswith("\u2603")


# Signals and limits


def test_a_terminal_that_goes_ends_the_run(root: Path, tmp_path: Path) -> None:
    """SIGHUP is what a closed window sends: the command ends, and nothing is left."""
    write_level(root, 1, [b"a", b"b"])
    pid = tmp_path / "pid"
    merge = f"sh -c 'echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 4242' {{output}}"
    line = command("process.py", 0, 1, "--root", root, "--command", merge)
    for ignored in (False, True):
        pid.unlink(missing_ok=True)
        worker = subprocess.Popen(
            [*(["nohup"] if ignored else ["env", "--default-signal=HUP"]), *line],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not pid.exists():
            time.sleep(0.01)
        worker.send_signal(signal.SIGHUP)
        if ignored:
            time.sleep(0.5)
            assert worker.poll() is None
            worker.terminate()
        _, complaint = worker.communicate(timeout=30)
        assert worker.returncode == 143
        assert ("SIGTERM" if ignored else "SIGHUP") in complaint
        assert not runs(int(pid.read_text()))
        assert leftovers(root) == []


def test_a_terminal_that_is_gone(root: Path) -> None:
    """A progress bar that nobody sees any more ends nothing: the run was told to survive its terminal."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    master, slave = pty.openpty()
    worker = subprocess.Popen(
        command("pipeline.py", "--root", root, "--command", "sh -c 'sleep 0.3; cat'"),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=slave,
    )
    os.close(slave)
    os.read(master, 1)  # the bar is there
    os.close(master)
    assert worker.wait(60) == 0
    assert (root / "result.txt").read_bytes() == b"abcd"
