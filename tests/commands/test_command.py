"""The user's own merge command: what it gets, what may go wrong with it, and that nothing is left behind."""

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregation import location, steps, tree
from aggregation.commands.command import Command, parse
from aggregation.errors import (
    AggregationError,
    CommandFailedError,
    ConfigurationError,
    MissingInputError,
    RefusedError,
    UnavailableError,
)
from aggregation.layout import Layout
from aggregation.stores.opening import open_storage
from aggregation.stores.promise import Settings
from oss_server import Answer, Call, Fault, Hold, LoseAnswer, OssServer, Reset, Truncate, WrongCrc
from places import PLACES, Place, oss_place
from scripts import Script, command, environment, finished, leftovers, mounted, runs, write_level

LAYOUT = Layout()
MIB = 1 << 20
OLD = b"what an earlier run left\n"
SORT = "env LC_ALL=C sort -m {inputs} -o {output}"
PYTHON = shlex.quote(sys.executable)


def program(code: str, *arguments: str) -> str:
    """A command that runs a few lines of Python."""
    return f"{PYTHON} -c {shlex.quote(code)} {' '.join(arguments)}"


def shell(script: str, *arguments: str) -> str:
    """A command that runs a shell, whose script sees the arguments as $0, $1 and so on."""
    return f"sh -c {shlex.quote(script)} {' '.join(arguments)}"


def marked(mark: str) -> list[int]:
    """The processes that have this among their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if mark.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until something has come about."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.005)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder for this test, empty."""
    path = tmp_path / "scratch"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr("tempfile.tempdir", str(path))
    return path


# What a command is


def test_a_command_is_split_as_a_shell_would() -> None:
    """Quotes and backslashes group, and mean nothing more: no variable, substitution or operator."""
    text = r"""prog 'one $(two)' "a 'b' \"c\"" d\ e $HOME `id` ; | > out *"""
    assert parse(text) == (
        "prog",
        "one $(two)",
        "a 'b' \"c\"",
        "d e",
        "$HOME",
        "`id`",
        ";",
        "|",
        ">",
        "out",
        "*",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no program"),
        ("  \n ", "names no program"),
        ("sort 'a", "quoting is wrong"),
        ("sort a\\", "quoting is wrong"),
        ("sort --files={inputs}", "an argument of its own"),
        ("sh -c 'cat {inputs}'", "an argument of its own"),
    ],
)
def test_what_cannot_be_a_command(text: str, why: str, run: Script) -> None:
    """Wrong usage, said before anything is read: exit code 2 and the reason."""
    with pytest.raises(ValueError, match=why):
        parse(text)
    outcome = run("process.py", 0, 1, "--command", text)
    assert outcome.returncode == 2
    assert why in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert ("is written {{inputs}}" in outcome.stderr) == ("{inputs}" in text)


def test_an_empty_variable_is_no_command(run: Script, root: Path) -> None:
    """As the manifests pass it: an empty $AGGREGATION_COMMAND, and all that goes with it, changes nothing."""
    write_level(root, 1, [b"a", b"b"])
    names = ("COMMAND", "FINAL_COMMAND", "SUFFIX", "SCRATCH", "ALLOW_EMPTY")
    variables = {f"AGGREGATION_{name}": "" for name in names}
    assert run("process.py", 0, 1, **variables).returncode == 0
    assert (root / "l2/0.txt").read_bytes() == b"ab"
    assert run("pipeline.py", "--levels", 1, **variables).returncode == 0
    assert (root / "result.txt").read_bytes() == b"ab"


def test_placeholders_are_replaced_once() -> None:
    """Each placeholder becomes its value and no value is looked at again, whatever it looks like."""
    words = (
        "prog",
        "{inputs}",
        "a{output}{level}",
        "{number}b{{a",
        "{inputs}",
        "{}",
        "{Output}",
        "{output",
        "}",
    )
    inputs, output = ["{output}", "%s", "{inputs}", "$0"], "{level}"
    wanted = ["prog", *inputs, "a{level}3", "4b{{a", *inputs, "{}", "{Output}", "{output", "}"]
    assert Command(words).expanded(inputs, output, 3, 4) == wanted


NAMED = {"output": "/o", "level": "1", "number": "2"}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("depth", range(1, 7))
def test_doubled_braces_are_halved(name: str, depth: int) -> None:
    """As Python's format strings have it: what the program itself shall see in braces is written in two."""
    text = "{" * depth + name + "}" * depth
    merge = Command(("prog", f"a{text}b{text}"))
    assert merge.expanded([], "/o", 1, 2)[1] == f"a{text}b{text}".format(**NAMED)
    assert merge.writes_stdout == (name != "output" or depth % 2 == 0)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{a:{number}}", "{a:2}"),
        ("{a:{{number}}}", "{a:{number}}"),
        ("{{print {number}}}", "{{print 2}}"),
        ("{{ number }}", "{{ number }}"),
        ("{{number}", "{2"),
        ("{{.}} {{a}} {{}}", "{{.}} {{a}} {{}}"),
        ("{{number}} {number}", "{number} 2"),
        ("{{inputs}}", "{inputs}"),
        ("[{{inputs}}]", "[{inputs}]"),
        ("{{output}}", "{output}"),
        *((text, text) for text in ("{ print $1 }", "map({key: .k}) | {a: .}", "s/{a}/{b}/", "{}, {0}")),
        *((text, text) for text in ("${output_}", "{outputs}", "{ output }")),
    ],
)
def test_what_else_stands_in_braces(text: str, wanted: str) -> None:
    """Only braces around a name of ours count, and only as many as stand on both sides of it."""
    merge = Command(parse(shlex.join(["prog", text])))
    assert merge.expanded(["in"], "out", 1, 2) == ["prog", wanted]
    assert (merge.reads_stdin, merge.writes_stdout) == (True, True)


# Names never reach a shell

NASTY = [
    "a b",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned;",
    "| touch pwned",
    "> pwned",
    "a'b\"c",
    "new\nline",
    "*",
    "{output}",
    "{inputs} {level}",
    "-rf",
    "%s%n",
    "back\\slash",
    "~",
    "\u00e9\u2603",
    "\udcff",  # the byte 255, which is not UTF-8
    "\t\x01\x7f",
]
PRINTED = "printf '%s\\0' {inputs} {level}/{number}"


@pytest.mark.parametrize("name", NASTY, ids=ascii)
def test_a_name_is_an_argument(
    name: str, run: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the root and the suffix are called, the program gets them as they are, and no shell does."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / name
    suffix = f".{name}" if name.isascii() else ".txt"  # the summary line names it
    write_level(root, 1, [b"a", b"b"], suffix)
    before = sorted(os.listdir(tmp_path))
    places = ("--root", root, "--suffix", suffix)
    outcome = run("process.py", 0, 1, "--command", PRINTED, *places)
    assert outcome.returncode == 0, outcome.stderr
    got = (root / f"l2/0{suffix}").read_bytes().split(b"\0")
    assert got == [*(os.fsencode(root / f"l1/{n}{suffix}") for n in range(2)), b"1/0", b""]
    record = program("import os, sys; open(sys.argv[1], 'wb').write(os.fsencode(sys.argv[1]))", "{output}")
    assert run("process.py", 0, 1, *places, AGGREGATION_COMMAND=record).returncode == 0
    output = (root / f"l2/0{suffix}").read_bytes()
    assert output.endswith(os.fsencode(f"/0{suffix}"))
    assert output.startswith(os.fsencode(root / "l2") + b"/.0")
    assert sorted(os.listdir(tmp_path)) == before
    assert leftovers(root) == []


def test_options_do_not_reach_a_shell(run: Script, root: Path, tmp_path: Path) -> None:
    """Operators and substitutions in the command itself are arguments: `sh -c` is there for who wants it."""
    write_level(root, 1, [b"a", b"b"])
    path = tmp_path / "pwned"
    merge = f"printf '%s ' $(touch {path}) `touch {path}` ; touch {path} && touch {path} > {path}"
    assert run("process.py", 0, 1, "--command", merge).returncode == 0
    assert (root / "l2/0.txt").read_bytes() == " ".join([*parse(merge)[2:], ""]).encode()
    assert not path.exists()


# How it reads and writes

MODES = {
    "files": "sort {inputs} -o {output}",
    "stdin": "sort -o {output}",
    "stdout": "sort {inputs}",
    "a filter": "sort",
    "output in an argument": "sort {inputs} --output={output}",
    "inputs twice": "sort -u {inputs} {inputs}",
    "a shell": shell('sort "$@" > "$0"', "{output}", "{inputs}"),
}


@pytest.mark.parametrize("text", MODES.values(), ids=MODES)
def test_files_and_streams(text: str, run: Script, root: Path) -> None:
    """Inputs as files or joined on standard input, the target as a file or from standard output."""
    write_level(root, 1, [b"b\n", b"a\n"])
    outcome = run("process.py", 0, 1, "--command", text)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (root / "l2/0.txt").read_bytes() == b"a\nb\n"
    assert "2 files, 4 bytes" in outcome.stdout
    assert outcome.stdout.count("\n") == 1
    assert leftovers(root) == []


def test_the_joined_inputs_come_in_order(run: Script, root: Path) -> None:
    """Standard input is the files joined byte for byte, empty and large ones too."""
    contents = [os.urandom(3 * MIB), b"", b"\0", os.urandom(65_537)]
    write_level(root, 1, contents)
    assert run("merge.py", 4, "--command", "cat").returncode == 0
    assert (root / "result.txt").read_bytes() == b"".join(contents)


def test_level_and_number(run: Script, root: Path) -> None:
    """{level} and {number} are what process.py was called with; to the last merge it is group 0."""
    write_level(root, 7, [b"x"] * 4)
    told = "printf %s {level}-{number}"
    assert run("process.py", 1, 7, "--command", told).returncode == 0
    assert (root / "l8/1.txt").read_bytes() == b"7-1"
    assert run("merge.py", 4, "--command", told).returncode == 0
    assert (root / "result.txt").read_bytes() == b"7-0"


def test_the_suffix_ends_every_name(run: Script, root: Path) -> None:
    """--suffix names inputs, target and result, and the program sees it, as ffmpeg and osmium need it."""
    write_level(root, 1, [b"a", b"b"], ".osm.pbf")
    seen = shell('echo "$1"; basename "$0"; cp "$1" "$0"', "{output}", "{inputs}")
    done = run("process.py", 0, 1, "--suffix", ".osm.pbf", "--command", seen)
    assert done.returncode == 0
    assert done.stderr == f"{root}/l1/0.osm.pbf\n0.osm.pbf\n"
    assert run("merge.py", 1, "--suffix", ".osm.pbf", "--level", 2, "--command", "cat").returncode == 0
    assert (root / "result.osm.pbf").read_bytes() == b"a"


def test_what_it_prints_beside_the_target_is_on_stderr(run: Script, root: Path) -> None:
    """Standard error goes through, and so does standard output where {output} takes the target."""
    write_level(root, 1, [b"a", b"b"])
    chatty = shell('echo to stdout; echo to stderr >&2; cat > "$0"', "{output}")
    outcome = run("process.py", 0, 1, "--command", chatty)
    assert outcome.returncode == 0
    assert outcome.stderr == "to stdout\nto stderr\n"
    assert outcome.stdout.count("\n") == 1


def test_reading_a_part_is_enough(run: Script, root: Path) -> None:
    """A command that has seen enough of its standard input ends without an error."""
    write_level(root, 1, [b"a" * MIB, b"b" * MIB])
    outcome = run("process.py", 0, 1, "--command", "head -c 3")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (root / "l2/0.txt").read_bytes() == b"aaa"


def test_reading_nothing_of_many_files_is_enough(run: Script, root: Path) -> None:
    """The same where the worker still goes through empty inputs when the command ends."""
    write_level(root, 1, [*[b""] * 300, b"x"])
    outcome = run("merge.py", 301, "--level", 1, "--command", "echo done")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (root / "result.txt").read_bytes() == b"done\n"


def test_a_pipe_that_breaks_within_the_command(run: Script, root: Path) -> None:
    """SIGPIPE has its usual meaning in the command, which Python alone would have taken from it."""
    write_level(root, 1, [b"a", b"b"])
    outcome = run("process.py", 0, 1, "--command", shell("yes | head -n 1"))
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (root / "l2/0.txt").read_bytes() == b"y\n"


DESCRIPTORS = """
import os, sys
held = []
for pid in (os.getpid(), os.getppid()):
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            held.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except FileNotFoundError:
            pass
open(sys.argv[1], "w").write("\\n".join(held))
"""


def test_no_file_of_the_volume_is_held_open(run: Script, root: Path) -> None:
    """Neither the worker nor the command holds a descriptor below the root while the command starts."""
    write_level(root, 1, [b"a", b"b"])
    assert run("process.py", 0, 1, "--command", program(DESCRIPTORS, "{output}", "{inputs}")).returncode == 0
    held = (root / "l2/0.txt").read_text().splitlines()
    assert held
    assert [path for path in held if path.startswith(str(root))] == []
    count = "import os; print(sorted(os.listdir('/proc/self/fd'))[:4])"  # 3 is the listing itself
    assert run("process.py", 0, 1, "--command", program(count)).returncode == 0
    assert (root / "l2/0.txt").read_text() == "['0', '1', '2', '3']\n"


# What may go wrong with it


class Failure(NamedTuple):
    """A command that does not make a target, and what the line must say."""

    text: str
    said: str
    exit_code: int = 7


FAILURES = {
    "its own exit code": Failure(shell("exit 42"), "ended with exit code 42"),
    "after partial output": Failure(shell("echo half; exit 1"), "ended with exit code 1"),
    "after a partial file": Failure(shell('echo half > "$0"; exit 3', "{output}"), "ended with exit code 3"),
    "after half of its input": Failure(shell("head -c 1; exit 1"), "ended with exit code 1"),
    "not found": Failure(
        "no-such-program {inputs}", "cannot be started: No such file or directory; install it"
    ),
    "killed for memory": Failure(shell("kill -KILL $$"), "killed by SIGKILL; most often memory ran out"),
    "a child killed for memory": Failure(shell("exit 137"), "exit code 137 (SIGKILL); most often memory"),
    "not a program": Failure(
        "/etc/passwd", "cannot be started: Permission denied: /etc/passwd is not executable"
    ),
    "a folder": Failure("/etc", "cannot be started: Permission denied: /etc is a folder"),
    "killed": Failure(shell("kill -SEGV $$"), "was killed by SIGSEGV"),
    "killed without a name": Failure(shell("kill -40 $$"), "was killed by"),
    "no output": Failure(shell(":", "{output}"), "did not write {output}"),
    "nothing printed": Failure("true", "wrote nothing; --allow-empty"),
    "an empty file": Failure(shell(': > "$0"', "{output}"), "wrote nothing; --allow-empty"),
    "a folder as output": Failure(shell('mkdir "$0"; echo x > "$0/y"', "{output}"), "not a regular file"),
    "a link as output": Failure(shell('ln -s "$1" "$0"', "{output}", "{inputs}"), "not a regular file"),
    "a pipe as output": Failure(shell('mkfifo "$0"', "{output}"), "not a regular file"),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_command_that_fails(failure: Failure, run: Script, root: Path) -> None:
    """Exit code 7 and one line with the reason; the target is as it was, and nothing else is there."""
    paths = write_level(root, 1, [b"a", b"b"]) + write_level(root, 2, [OLD])
    outcome = run("process.py", 0, 1, "--command", failure.text)
    assert outcome.returncode == failure.exit_code, outcome.stderr
    assert failure.said in outcome.stderr
    assert "running " in outcome.stderr
    assert "l1/0.txt + l1/1.txt" in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert outcome.stdout == ""
    assert [path.read_bytes() for path in paths] == [b"a", b"b", OLD]
    assert sorted(path for path in root.rglob("*") if not path.is_dir()) == paths


def test_its_messages_stand_above_the_line(run: Script, root: Path) -> None:
    """What the command says about its failure is there, and the worker's line follows it, in JSON too."""
    write_level(root, 1, [b"a", b"b"])
    grumpy = shell("echo I give up >&2; exit 9")
    outcome = run("process.py", 0, 1, "--command", grumpy, "--log-format", "json")
    first, second = outcome.stderr.splitlines()
    assert first == "I give up"
    assert json.loads(second)["exit_code"] == 7
    assert "exit code 9; its own messages are above" in json.loads(second)["message"]


def test_a_missing_input_is_no_failure_of_the_command(run: Script, root: Path, tmp_path: Path) -> None:
    """Exit code 3, and the command is not even started."""
    write_level(root, 1, [b"a"])
    outcome = run("process.py", 0, 1, "--command", f"touch {tmp_path}/started")
    assert outcome.returncode == 3
    assert "l1/1.txt" in outcome.stderr
    assert not (tmp_path / "started").exists()


def test_an_input_that_vanishes_on_the_way(run: Script, root: Path) -> None:
    """What could be read of the inputs is no target, even if the command is happy with it."""
    paths = write_level(root, 1, [b"a" * MIB, b"b"])
    outcome = run("process.py", 0, 1, "--command", shell('rm "$0"; exec cat', str(paths[1])))
    assert outcome.returncode == 3, outcome.stderr
    assert "l1/1.txt" in outcome.stderr
    assert not (root / "l2/0.txt").exists()
    assert leftovers(root) == []


@pytest.mark.parametrize("text", ["true", shell(': > "$0"', "{output}")])
def test_allow_empty(text: str, run: Script, root: Path) -> None:
    """--allow-empty lets a command that wrote nothing make an empty target."""
    write_level(root, 1, [b"a", b"b"])
    assert run("process.py", 0, 1, "--allow-empty", "--command", text).returncode == 0
    assert (root / "l2/0.txt").read_bytes() == b""
    assert run("process.py", 0, 1, "--command", text).returncode == 7
    variables = {"AGGREGATION_ALLOW_EMPTY": "true", "AGGREGATION_COMMAND": text}
    assert run("process.py", 0, 1, **variables).returncode == 0


def test_allow_empty_still_wants_the_file(run: Script, root: Path) -> None:
    """A command that was given {output} and made no such file has failed."""
    write_level(root, 1, [b"a", b"b"])
    assert run("process.py", 0, 1, "--allow-empty", "--command", "true {output}").returncode == 7


@pytest.mark.parametrize(
    ("text", "exit_code", "said"),
    [
        ("cat", 6, "No space left on device; free some space"),
        ("cat {inputs}", 6, "No space left on device; free some space"),
        (shell('cat > "$0"', "{output}"), 7, "ended with exit code 1"),
        ("cp {inputs} {output}", 7, "ended with exit code 1"),
    ],
)
def test_output_larger_than_the_disk(text: str, exit_code: int, said: str, run: Script, root: Path) -> None:
    """The worker's own write is the volume's refusal, the command's is its failure; nothing is left."""
    with mounted(root, "-t", "tmpfs", "-o", "size=1m", "none"):
        write_level(root, 2, [OLD])
        count = 1 if "cp" in text else 2
        write_level(root, 1, [b"a" * (800_000 // count)] * count)
        outcome = run("merge.py", count, "--level", 1, "--output", "l.txt", "--command", text)
        assert outcome.returncode == exit_code, outcome.stderr
        assert said in outcome.stderr.splitlines()[-1]
        assert leftovers(root) == []
        assert {path.name for path in root.iterdir()} == {"l1", "l2"}


# Where its files are kept


def test_beside_the_target_it_is_renamed(run: Script, root: Path) -> None:
    """On a volume the output is written beside the target, and no byte is copied."""
    write_level(root, 1, [b"a", b"b"])
    path = program("import sys; open(sys.argv[1], 'w').write(sys.argv[1])", "{output}")
    outcome = run("process.py", 0, 1, "--command", path)
    assert outcome.returncode == 0
    assert ", renamed, " in outcome.stdout
    assert (root / "l2/0.txt").read_text().startswith(f"{root}/l2/.0.txt.")


@pytest.mark.parametrize("kind", ["same", "other file system", "same file system, mounted twice"])
@pytest.mark.parametrize("fresh", [True, False], ids=["new level", "old level"])
def test_scratch(kind: str, fresh: bool, run: Script, root: Path, scratch: Path) -> None:
    """With --scratch the output is made there and moved, whatever file system that is."""
    write_level(root, 1, [b"b\n", b"a\n"])
    if not fresh:
        write_level(root, 2, [OLD])
    options = {
        "same": ["--bind", str(scratch)],
        "other file system": ["-t", "tmpfs", "none"],
        "same file system, mounted twice": ["--bind", str(root.parent / "other")],
    }[kind]
    (root.parent / "other").mkdir()
    where = shell('case "$0" in "$1"/*) sort "$2" "$3" -o "$0";; esac', "{output}", str(scratch), "{inputs}")
    if kind == "same":
        outcome = run("process.py", 0, 1, "--command", where, "--scratch", scratch)
    else:
        with mounted(scratch, *options):
            outcome = run("process.py", 0, 1, "--command", where, "--scratch", scratch)
            assert os.listdir(scratch) == []
    assert outcome.returncode == 0, outcome.stderr
    assert (root / "l2/0.txt").read_bytes() == b"a\nb\n"
    assert leftovers(root) == []
    assert os.listdir(scratch) == []


def test_scratch_that_is_not_there(run: Script, root: Path, tmp_path: Path) -> None:
    """A scratch folder is never made up: wrong usage."""
    write_level(root, 1, [b"a", b"b"])
    for wrong in (tmp_path / "missing", root / "l1/0.txt"):
        outcome = run("process.py", 0, 1, "--command", "cat", "--scratch", wrong)
        assert outcome.returncode == 2
        assert str(wrong) in outcome.stderr
    assert not (tmp_path / "missing").exists()


def test_scratch_that_is_read_only(run: Script, root: Path, scratch: Path) -> None:
    """The volume refuses: exit code 6, and the folder is named."""
    write_level(root, 1, [b"a", b"b"])
    with mounted(scratch, "-t", "tmpfs", "-o", "ro", "none"):
        outcome = run("process.py", 0, 1, "--command", "cat", "--scratch", scratch)
    assert outcome.returncode == 6
    assert f"making a scratch folder: {scratch}: Read-only file system" in outcome.stderr


def test_scratch_that_is_too_small(run: Script, root: Path, scratch: Path) -> None:
    """What the worker writes there is the volume's refusal; the target stays, and scratch is empty."""
    write_level(root, 1, [b"a" * 600_000] * 2)
    write_level(root, 2, [OLD])
    with mounted(scratch, "-t", "tmpfs", "-o", "size=1m", "none"):
        outcome = run("process.py", 0, 1, "--command", "cat", "--scratch", scratch)
        assert os.listdir(scratch) == []
    assert outcome.returncode == 6
    assert "No space left on device" in outcome.stderr
    assert (root / "l2/0.txt").read_bytes() == OLD
    assert leftovers(root) == []


def test_a_volume_too_small_for_what_scratch_holds(run: Script, root: Path, scratch: Path) -> None:
    """The copy from another file system fails as any copy does: exit code 6, the old target, nothing left."""
    with mounted(root, "-t", "tmpfs", "-o", "size=1m", "none"):
        write_level(root, 1, [b"a" * 300_000] * 2)
        write_level(root, 2, [OLD])
        outcome = run(
            "process.py",
            0,
            1,
            "--command",
            shell("cat {inputs}".replace("{inputs}", '"$@" "$@"'), "x", "{inputs}"),
            "--scratch",
            scratch,
        )
        assert outcome.returncode == 6, outcome.stderr
        assert (root / "l2/0.txt").read_bytes() == OLD
        assert leftovers(root) == []
    assert os.listdir(scratch) == []


# Signals

WAITING = 'sleep 4242 2> /dev/null & echo $$ $! > "$PIDS.new"; mv "$PIDS.new" "$PIDS"; wait'


class Waiting(NamedTuple):
    """A worker whose command waits, and the processes of the command."""

    worker: "subprocess.Popen[str]"
    pids: list[int]

    def all_gone(self) -> bool:
        """Whether the command and all that it started have ended."""
        return not any(runs(pid) for pid in self.pids)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Waiting]]:
    """Starts a worker, and returns once its command waits with a child of its own."""
    started: list[Waiting] = []
    workers: list[subprocess.Popen[str]] = []

    def start_worker(*arguments: object, **variables: str) -> Waiting:
        pids = tmp_path / f"pids-{len(started)}"
        worker = subprocess.Popen(
            command(*map(str, arguments)),
            env=environment(PIDS=str(pids), **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        workers.append(worker)
        wait_for(lambda: pids.exists() or worker.poll() is not None, "the command's start")
        assert worker.poll() is None, worker.communicate()
        started.append(Waiting(worker, [int(pid) for pid in pids.read_text().split()]))
        return started[-1]

    yield start_worker
    for worker in workers:
        worker.terminate()  # a worker that still runs ends its command itself
    for pid in filter(runs, [pid for waiting in started for pid in waiting.pids]):
        os.kill(pid, signal.SIGKILL)
    for worker in workers:
        worker.communicate(timeout=60)


STOPPED = {
    "files": shell(WAITING, "{output}", "{inputs}"),
    "streams": shell(WAITING),
    "half-written": shell(f'echo half > "$0"; {WAITING}', "{output}"),
    "half-printed": shell(f"echo half; {WAITING}"),
    "with scratch": shell(f'echo half > "$0"; {WAITING}', "{output}"),
}


@pytest.mark.parametrize(
    ("mode", "signum"), [*((mode, signal.SIGTERM) for mode in STOPPED), ("half-written", signal.SIGINT)]
)
def test_a_signal_reaches_the_command(
    mode: str, signum: signal.Signals, start: Callable[..., Waiting], root: Path, scratch: Path
) -> None:
    """The command and its child end with the worker; the target is as it was, and no scratch is left."""
    write_level(root, 1, [b"a" * MIB, b"b"])
    write_level(root, 2, [OLD])
    options = ["--scratch", scratch] if mode == "with scratch" else []
    waiting = start("process.py", 0, 1, "--root", root, "--command", STOPPED[mode], *options)
    waiting.worker.send_signal(signum)
    _, complaint = waiting.worker.communicate(timeout=30)
    assert waiting.worker.returncode == 128 + signum
    assert complaint.count("\n") == 1
    assert signum.name in complaint
    wait_for(waiting.all_gone, "the end of the command and its child")
    assert (root / "l2/0.txt").read_bytes() == OLD
    assert leftovers(root) == []
    assert os.listdir(scratch) == []


def test_a_command_that_ignores_sigterm(start: Callable[..., Waiting], root: Path) -> None:
    """After the grace period it is killed, be it the command itself or only a child of it."""
    write_level(root, 1, [b"a", b"b", b"c", b"d"])
    started = 'sleep 0.1; mv "$PIDS.new" "$PIDS"; wait'  # after the traps are set
    stubborn = [
        shell(f'trap "" TERM; {WAITING}; wait'),
        shell(f'(trap "" TERM; exec sleep 4242 2> /dev/null) & echo $$ $! > "$PIDS.new"; {started}'),
    ]
    both = [start("process.py", n, 1, "--root", root, "--command", text) for n, text in enumerate(stubborn)]
    for waiting in both:
        waiting.worker.send_signal(signal.SIGTERM)
    for waiting in both:
        waiting.worker.communicate(timeout=60)
        assert waiting.worker.returncode == 143
    assert leftovers(root) == []
    assert sorted(os.listdir(root / "l2")) == []
    wait_for(both[0].all_gone, "the end of the command")
    time.sleep(0.1)  # a killed process needs a moment
    assert both[1].all_gone(), "a child that ignores SIGTERM outlives its command, which did not ignore it"


def test_a_failed_command_leaves_no_child(start: Callable[..., Waiting], root: Path) -> None:
    """What a command has started does not work on after it has failed: its folder is gone."""
    write_level(root, 1, [b"a", b"b"])
    failing = shell(
        'sleep 4242 > /dev/null 2>&1 & echo $$ $! > "$PIDS.new"; mv "$PIDS.new" "$PIDS"; sleep 0.2; exit 3',
        "{output}",
    )
    waiting = start("process.py", 0, 1, "--root", root, "--command", failing)
    _, complaint = waiting.worker.communicate(timeout=30)
    assert waiting.worker.returncode == 7
    assert "exit code 3" in complaint
    time.sleep(0.1)
    assert waiting.all_gone()


def test_a_signal_while_the_command_is_started(root: Path) -> None:
    """Wherever around the start it lands, no process, no folder and no half target is left."""
    write_level(root, 1, [b"a", b"b"])
    chance = random.Random(20250301)
    survivors = []
    for trial in range(16):
        mark = f"4242.{os.getpid()}{trial:02}"
        worker = subprocess.Popen(
            command("process.py", 0, 1, "--root", root, "--command", f"sleep {mark}"),
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: leftovers(root), "the folder beside the target")  # made just before the start
        time.sleep(chance.choice([0, chance.uniform(0, 0.002), chance.uniform(0, 0.01)]))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 143
        time.sleep(0.02)  # a process that has its signal needs a moment
        for pid in marked(mark):
            survivors.append(f"{mark} of trial {trial}")
            os.kill(pid, signal.SIGKILL)
        assert leftovers(root) == []
        assert not (root / "l2/0.txt").exists()
    assert survivors == []


def test_the_next_run_cleans_up_after_a_kill(start: Callable[..., Waiting], run: Script, root: Path) -> None:
    """SIGKILL leaves a hidden folder, no target; the next run removes the one and makes the other."""
    write_level(root, 1, [b"a", b"b"])
    waiting = start("process.py", 0, 1, "--root", root, "--command", STOPPED["half-written"])
    waiting.worker.kill()
    waiting.worker.wait()  # its command lives on, and holds its stderr
    assert len({name.split("/")[1] for name in leftovers(root)}) == 1
    assert not (root / "l2/0.txt").exists()
    assert run("process.py", 0, 1, "--command", "cat").returncode == 0
    assert (root / "l2/0.txt").read_bytes() == b"ab"
    assert leftovers(root) == []


# The whole tree


def test_pipeline_with_a_command(run: Script, root: Path) -> None:
    """Levels by --command, the result by --final-command; without the latter by --command too."""
    lines = [f"{number:02}\n".encode() for number in range(9)]
    write_level(root, 1, lines[::-1])
    plain = run("pipeline.py", "--levels", 2, "--command", SORT)
    assert plain.returncode == 0, plain.stderr
    assert (root / "result.txt").read_bytes() == b"".join(lines)
    other = run("pipeline.py", "--command", SORT, "--final-command", "wc -l", "--output", "count.txt")
    assert other.returncode == 0, other.stderr
    assert (root / "count.txt").read_bytes().strip() == b"9"
    only = run("pipeline.py", "--final-command", "wc -c", "--output", "size.txt")
    assert only.returncode == 0, only.stderr
    assert (root / "size.txt").read_bytes().strip() == b"27"
    assert leftovers(root) == []


def test_resume_keeps_what_commands_have_made(run: Script, root: Path, tmp_path: Path) -> None:
    """A run whose last command failed goes on there; with another command it does not go on at all."""
    write_level(root, 1, [b"a\n", b"b\n", b"c\n", b"d\n"])
    final = shell('test -e "$0" && exec cat', str(tmp_path / "allowed"))
    arguments = ("pipeline.py", "--levels", 1, "--command", SORT, "--final-command", final)
    kept = ("--run", "films", "--keep")
    assert run(*arguments, *kept).returncode == 7
    made = [(root / f"runs/films/l2/{number}.txt").stat().st_ino for number in range(2)]
    (tmp_path / "allowed").touch()
    other = run(*arguments[:4], "cat", *arguments[5:], *kept, "--resume")
    assert other.returncode == 2
    assert "--resume" in other.stderr
    again = run(*arguments, *kept, "--resume")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("kept\n") == 2
    assert [(root / f"runs/films/l2/{number}.txt").stat().st_ino for number in range(2)] == made
    assert (root / "result.txt").read_bytes() == b"a\nb\nc\nd\n"
    assert leftovers(root) == []


def test_one_failure_stops_the_others(run: Script, root: Path, tmp_path: Path) -> None:
    """Where one of four merges fails, the other three and their children end, and the rest is not begun."""
    write_level(root, 1, [b"x"] * 16)
    folder = tmp_path / "pids"
    folder.mkdir()
    script = (
        f'exec 2> /dev/null; cd {shlex.quote(str(folder))}; sleep 4242 & echo $$ $! > "$0"; '
        "until [ $(cat * | wc -l) = 4 ]; do sleep 0.01; done; [ $0 = 2 ] && kill $! && exit 9; wait"
    )
    outcome = run(
        "pipeline.py", "--workers", 4, "--levels", 1, "--command", shell(script, "{number}", "{output}")
    )
    assert outcome.returncode == 7, outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert "exit code 9" in outcome.stderr
    assert len(os.listdir(folder)) < 8
    pids = [int(pid) for path in folder.iterdir() for pid in path.read_text().split()]
    assert len(pids) >= 8
    wait_for(lambda: not any(runs(pid) for pid in pids), "the end of the others")
    assert not [name for name in leftovers(root) if name.endswith(".tmp")]
    assert not list(root.glob("runs/*/l2/*.txt"))


# Over every store


@pytest.fixture(params=sorted(PLACES))
def place(request: pytest.FixtureRequest, tmp_path: Path, scratch: Path) -> Iterator[Place]:
    """An empty root in each store; at the end scratch must be empty."""
    with PLACES[request.param](tmp_path) as opened:
        yield opened
    assert os.listdir(scratch) == []


def put_level(place: Place, contents: list[bytes]) -> bytes:
    """Write level 1 past the store, in the place of all levels that were there; returns all of it."""
    for folder in {name.partition("/")[0] for name in place.names() if re.match(r"l\d+/", name)}:
        place.storage.remove_tree(folder)
    for number, content in enumerate(contents):
        place.put(LAYOUT.file(1, number), content)
    return b"".join(contents)


def join(place: Place, text: str, fan_in: int = 2, **options: Any) -> steps.Done:
    """Join the first group of level 1 by a command."""
    merge = Command(parse(text), **options)
    return steps.process(place.storage, LAYOUT, 0, 1, fan_in=fan_in, command=merge)


@pytest.mark.parametrize("text", ["cat", "cat {inputs}", shell('cat "$@" > "$0"', "{output}", "{inputs}")])
def test_every_store_gets_the_bytes(place: Place, text: str) -> None:
    """Files or streams, empty, small and larger than a PUT: the target is what the command made."""
    contents = [b"", b"\0\xff\r\n", os.urandom(5 * MIB + 1), os.urandom(4 * MIB)]
    whole = put_level(place, contents)
    place.put("l2/0.txt", OLD)
    before = place.names()
    done = join(place, text, len(contents))
    assert place.get("l2/0.txt") == whole
    assert (done.files, done.written.size) == (4, len(whole))
    assert place.names() == before


def test_every_store_keeps_its_target(place: Place) -> None:
    """A command that fails, writes nothing, or lacks an input leaves the old target and nothing else."""
    put_level(place, [b"a", b"b"])
    place.put("l2/0.txt", OLD)
    before = place.names()
    for text in (shell("echo half; exit 3"), "true", "no-such-program", shell('mkdir "$0"', "{output}")):
        with pytest.raises(CommandFailedError):
            join(place, text)
    with pytest.raises(MissingInputError):
        join(place, "cat", 3)
    assert place.names() == before
    assert place.get("l2/0.txt") == OLD
    done = join(place, "true", allow_empty=True)
    assert (place.get("l2/0.txt"), done.written.size) == (b"", 0)


def test_every_store_takes_scratch(place: Place, tmp_path: Path) -> None:
    """--scratch is where the command's files are, and it is empty afterwards."""
    put_level(place, [b"b\n", b"a\n"])
    place.put("l2/0.txt", OLD)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    where = shell('case "$0" in "$1"/*) sort "$2" "$3" -o "$0";; esac', "{output}", str(folder), "{inputs}")
    join(place, where, scratch=str(folder))
    assert place.get("l2/0.txt") == b"a\nb\n"
    assert os.listdir(folder) == []


def test_the_result_may_have_the_name_of_an_input(place: Place) -> None:
    """Whatever --output is called, it is never taken for a copy of an input."""
    put_level(place, [b"a", b"b"])
    merge = Command(parse("cat"))
    for name in ("input-0.txt", "0.txt"):
        steps.merge(place.storage, LAYOUT, 2, level=1, output=name, command=merge)
        assert place.get(name) == b"ab"
    merge = Command(parse("true {inputs} {output}"))
    with pytest.raises(CommandFailedError):
        steps.merge(place.storage, LAYOUT, 2, level=1, output="input-0.txt", command=merge)


# A tree is the flat merge, where the command is associative

LINES = st.lists(
    st.lists(st.binary(max_size=5).map(lambda line: line.replace(b"\n", b"")), max_size=6),
    min_size=1,
    max_size=9,
)


def reduce(place: Place, text: str, files: int, fan_in: int, levels: int, output: str) -> bytes:
    """The result of a tree whose every merge is the command; empty targets are fine."""
    merge = Command(parse(text), allow_empty=True)
    widths = tree.widths(files, fan_in, levels)
    for level, width in enumerate(widths[:-1], start=1):
        for number in range(tree.group_count(width, fan_in)):
            steps.process(place.storage, LAYOUT, number, level, fan_in=fan_in, files=width, command=merge)
    steps.merge(place.storage, LAYOUT, widths[-1], level=len(widths), output=output, command=merge)
    return place.get(output) or b""


@pytest.mark.parametrize("place", ["local", "oss"], indirect=True)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=LINES, fan_in=st.integers(2, 4), levels=st.integers(1, 3))
def test_sorted_merges_are_associative(
    place: Place, contents: list[list[bytes]], fan_in: int, levels: int
) -> None:
    """`sort -m` over any shape gives the flat merge, which is all lines sorted."""
    put_level(place, [b"".join(line + b"\n" for line in sorted(lines)) for lines in contents])
    wanted = b"".join(line + b"\n" for line in sorted(line for lines in contents for line in lines))
    assert reduce(place, SORT, len(contents), fan_in, levels, "tree.txt") == wanted
    assert reduce(place, SORT, len(contents), fan_in, 0, "flat.txt") == wanted


# OSS


class Oss(NamedTuple):
    """A place on a server of its own."""

    place: Place
    server: OssServer


@pytest.fixture
def oss(tmp_path: Path, scratch: Path) -> Iterator[Oss]:
    """A server, an empty bucket, and a store that tries for a second; scratch must stay empty."""
    with oss_place(tmp_path, Settings(timeout=1.0, parallel=8)) as (place, server):
        yield Oss(place, server)
    assert os.listdir(scratch) == []


@pytest.mark.parametrize("options", [["--checksum"], ["--verify"], ["--checksum", "--verify"]], ids=" ".join)
@pytest.mark.parametrize("scratch_too", [False, True], ids=["beside the target", "with scratch"])
def test_the_checksum_of_an_output(
    run: Script, root: Path, tmp_path: Path, options: list[str], *, scratch_too: bool
) -> None:
    """--checksum gives the output's CRC64; --verify compares what was copied from scratch."""
    write_level(root, 1, [b"12345", b"6789"])
    if scratch_too:
        (tmp_path / "scratch").mkdir()
        options = [*options, "--scratch", str(tmp_path / "scratch")]
    outcome = run("process.py", 0, 1, "--command", "cat {inputs}", "--log-format", "json", *options)
    assert outcome.returncode == 0, outcome.stderr
    found = json.loads(outcome.stdout)
    known = "--checksum" in options or scratch_too
    assert found["crc64"] == (str(0x995DC9BBDF1939FA) if known else None)
    assert found["verified"] == (True if scratch_too and "--verify" in options else None)


def test_large_outputs_go_up_in_parts(oss: Oss) -> None:
    """Above a PUT's size the output is uploaded in parts, and its CRC64 compared."""
    whole = put_level(oss.place, [os.urandom(7 * MIB), os.urandom(7 * MIB + 3)])
    oss.server.counters.reset()
    done = join(oss.place, "cat")
    operations = oss.server.counters.operations
    assert oss.place.get("l2/0.txt") == whole
    assert (done.written.verified, done.written.moved) == (True, "streamed")
    assert operations["UploadPart"].requests == 4
    assert operations["CompleteMultipartUpload"].requests == 1
    assert operations["PutObject"].requests == 0


OPERATIONS = {
    "HeadObject": 10,
    "GetObject": 3 * MIB,
    "PutObject": 10,
    "InitiateMultipartUpload": 5 * MIB,
    "UploadPart": 5 * MIB,
    "CompleteMultipartUpload": 5 * MIB,
}
"""The size of each of two inputs with which the operation is used."""
FAULTS: dict[str, tuple[Callable[[], Fault], int]] = {
    "503 twice": (lambda: Fault("", Answer(503, "ServiceUnavailable"), times=2), 0),
    "500 always": (lambda: Fault("", Answer(500, "InternalError")), 75),
    "403 always": (lambda: Fault("", Answer(403, "AccessDenied")), 5),
    "reset once": (lambda: Fault("", Reset(), times=1), 0),
    "lost answer once": (lambda: Fault("", LoseAnswer(), times=1), 0),
    "wrong CRC": (lambda: Fault("", WrongCrc()), 0),
    "truncated once": (lambda: Fault("", Truncate(), times=1), 0),
    "truncated in the second block": (lambda: Fault("", Truncate(100), skip=1, times=1), 0),
}
MATRIX = [
    (operation, fault)
    for operation in OPERATIONS
    for fault in FAULTS
    if operation == "GetObject" or not fault.startswith("truncated")
]


@pytest.mark.parametrize(("operation", "fault"), MATRIX)
def test_faults_on_the_way_down_and_up(oss: Oss, operation: str, fault: str) -> None:
    """The right target or the right exit code; no upload, no object and no scratch left behind."""
    size = OPERATIONS[operation]
    whole = put_level(oss.place, [os.urandom(size), os.urandom(size)])
    oss.place.put("l2/0.txt", OLD)
    before = oss.place.names()
    make, expected = FAULTS[fault]
    if fault == "wrong CRC" and operation in ("HeadObject", "UploadPart"):
        expected = 4  # what was read, or sent, is compared with it; else a HEAD tells whose number is wrong
    rule = make()
    rule.operation = operation
    oss.server.faults.add(rule)
    code = 0
    try:
        join(oss.place, "cat")
    except AggregationError as error:
        code = error.exit_code
    oss.server.faults.clear()
    assert rule.hits > 0, "the operation is not used"
    assert code == expected
    published = {OLD, whole} if operation in ("PutObject", "CompleteMultipartUpload") else {OLD}
    assert oss.place.get("l2/0.txt") in ({whole} if code == 0 else published)
    assert oss.place.names() == before


@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
def test_an_input_replaced_while_it_is_fetched(oss: Oss, times: int | None) -> None:
    """A file of two halves is never handed to the command: fetched anew, or in the end integrity."""
    put_level(oss.place, [os.urandom(3 * MIB), b"x"])
    new = [os.urandom(3 * MIB)]

    def replace(_: str, __: str) -> None:
        new.append(os.urandom(3 * MIB))
        oss.place.put("l1/0.txt", new[-1])

    oss.server.faults.add(Fault("HeadObject", Call(replace, after=True), key="l1/0", times=times))
    code = 0
    try:
        join(oss.place, "cat")
    except AggregationError as error:
        code = error.exit_code
    assert code == (4 if times is None else 0)
    assert oss.place.get("l2/0.txt") == (None if code else new[-1] + b"x")


def test_room_is_looked_for_before_anything_is_fetched(oss: Oss, scratch: Path) -> None:
    """Inputs that do not fit into scratch: exit code 6, both sizes in the line, no object read."""
    for number in range(2):
        oss.server.put_pattern("demo", f"a/root/l1/{number}.txt", 20 << 40)
    oss.server.counters.reset()
    outcome = finished(
        command("process.py", 0, 1, "--root", "oss://demo/a/root", "--command", "cat"),
        env=environment(**oss.server.environment()),
    )
    assert outcome.returncode == 6, outcome.stderr
    assert f"they have {40 << 40} bytes, and {scratch}/aggregation-" in outcome.stderr
    assert "--scratch" in outcome.stderr
    operations = oss.server.counters.operations
    assert operations["HeadObject"].requests == 2
    assert operations["GetObject"].requests == operations["PutObject"].requests == 0


@pytest.mark.parametrize("options", ["size=1m", "nr_inodes=3"])
def test_scratch_that_fills_up_on_the_way(options: str, oss: Oss, tmp_path: Path) -> None:
    """Room that others take meanwhile, or that is no room for names: exit code 6, and nothing is left."""
    size = 500_000 if options.startswith("size") else 10
    put_level(oss.place, [os.urandom(size)] * 2)
    folder = tmp_path / "small"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", options, "none"):
        with pytest.raises(RefusedError, match="No space left on device"):
            join(oss.place, "cat", scratch=str(folder))
        assert os.listdir(folder) == []
    assert oss.place.names() == {"l1/0.txt", "l1/1.txt"}


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("operation", ["GetObject", "UploadPart", "CompleteMultipartUpload"])
def test_a_signal_on_the_way_down_or_up(oss: Oss, operation: str, signum: signal.Signals) -> None:
    """A request that hangs keeps nobody: the upload is aborted, scratch removed, the target as it was."""
    put_level(oss.place, [os.urandom(5 * MIB)] * 2)
    oss.place.put("l2/0.txt", OLD)
    before = oss.place.names()
    hold = oss.server.faults.add(Fault(operation, Hold()))
    worker = subprocess.Popen(
        command("process.py", 0, 1, "--root", "oss://demo/a/root", "--command", "cat"),
        env=environment(**oss.server.environment()),
        stderr=subprocess.PIPE,
        text=True,
    )
    hold.wait_until_hit(30)
    time.sleep(0.1)  # until the worker waits: between Python's last look and the call a signal is not heard
    worker.send_signal(signum)
    _, complaint = worker.communicate(timeout=30)
    oss.server.faults.clear()
    assert worker.returncode == 128 + signum
    assert complaint.count("\n") == 1
    wait_for(lambda: oss.place.names() == before, "the end of the upload")
    assert oss.place.get("l2/0.txt") == OLD


def test_a_signal_reaches_the_command_on_oss(oss: Oss, start: Callable[..., Waiting], scratch: Path) -> None:
    """As on a volume; what had been fetched is removed."""
    put_level(oss.place, [b"a" * MIB, b"b"])
    before = oss.place.names()
    waiting = start(
        *("process.py", 0, 1, "--root", "oss://demo/a/root"),
        *("--command", STOPPED["half-written"]),
        **oss.server.environment(),
    )
    assert len(os.listdir(scratch)) == 1
    waiting.worker.send_signal(signal.SIGTERM)
    waiting.worker.communicate(timeout=30)
    assert waiting.worker.returncode == 143
    wait_for(waiting.all_gone, "the end of the command and its child")
    assert os.listdir(scratch) == []
    assert oss.place.names() == before


def test_a_pipeline_on_oss(oss: Oss, scratch: Path) -> None:
    """The whole tree by a command, several merges at a time."""
    lines = [f"{number:02}\n".encode() for number in range(9)]
    put_level(oss.place, lines[::-1])
    outcome = finished(
        command("pipeline.py", "--root", "oss://demo/a/root", "--workers", 3, "--command", SORT),
        env=environment(**oss.server.environment()),
    )
    assert outcome.returncode == 0, outcome.stderr
    assert oss.place.get("result.txt") == b"".join(lines)
    assert os.listdir(scratch) == []


# Any other store


class Failing(MemoryFileSystem):  # type: ignore[misc]
    """Fsspec's memory store, whose reads fail as a network's do."""

    protocol = "failing"
    error: Exception = OSError()

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Fail."""
        del path, start, end
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError("not yours"), ConfigurationError),
        (TimeoutError("no answer"), UnavailableError),
        (FileNotFoundError("/root/l1/0.txt"), MissingInputError),
    ],
    ids=["denied", "no answer", "gone"],
)
def test_a_store_that_fails_on_the_way_down(
    error: Exception, kind: type[AggregationError], scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What any other store says while an input is fetched has its exit code as in a plain join."""
    fsspec.register_implementation("failing", Failing, clobber=True)
    root = f"test-{os.urandom(4).hex()}"
    fsspec.filesystem("memory").pipe_file(f"/{root}/l1/0.txt", b"a")
    monkeypatch.setattr(Failing, "error", error)
    storage = open_storage(location.parse(f"failing://{root}"), Settings(timeout=0.2))
    for merge in (None, Command(("cat",))):
        with pytest.raises(kind):
            steps.merge(storage, LAYOUT, 1, level=1, output="result.txt", command=merge)
    assert os.listdir(scratch) == []
