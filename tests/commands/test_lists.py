"""{inputs-file} in a command: a file that lists the inputs, for programs that read the names themselves."""

import os
import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from aggregation import steps
from aggregation.commands.command import Command, parse
from aggregation.layout import Layout
from places import PLACES, Place
from scripts import Script, leftovers, write_level

WORDS = ["{inputs-file}", "{inputs-file:nul}", "{inputs-file:ffmpeg}"]
NASTY = ["a b", "it's", 'say "so"', "back\\slash", "%s#?*$(id)`id`;|", "-rf", "~", "\u00e9\u2603", "\udcff"]
KEEP = f"{shlex.quote(sys.executable)} -c 'import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])'"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with two inputs, which the scripts take by the environment."""
    path = tmp_path / "root"
    write_level(path, 1, [b"b\n", b"a\n"])
    monkeypatch.setenv("AGGREGATION_ROOT", str(path))
    return path


@pytest.mark.parametrize("name", NASTY, ids=ascii)
@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("{inputs-file}", b"%s\n"),
        ("{inputs-file:nul}", b"%s\0"),
        ("{inputs-file:ffmpeg}", b"file 'file:%s'\n"),
    ],
    ids=WORDS,
)
def test_a_line_for_each_input(name: str, word: str, line: bytes, run: Script, tmp_path: Path) -> None:
    """Absolute paths in order, as they are; for ffmpeg in apostrophes, a path's own outside of them."""
    root = tmp_path / name
    inputs = [os.fsencode(path) for path in write_level(root, 1, [b"a", b"b", b"c"])]
    outcome = run("merge.py", 3, "--root", root, "--command", f"{KEEP} {word} {{output}}")
    assert outcome.returncode == 0, outcome.stderr
    escaped = [path.replace(b"'", b"'\\''") if "ffmpeg" in word else path for path in inputs]
    assert (root / "result.txt").read_bytes() == b"".join(line % path for path in escaped)
    assert leftovers(tmp_path) == []


def test_tools_read_it(run: Script, root: Path) -> None:
    """Programs' own readers of lists take it: `sort --files0-from`, `xargs`, a shell; stdin stays closed."""
    for text in (
        "sort --files0-from={inputs-file:nul} -o {output}",
        'sh -c \'xargs -d "\\n" sort < "$0"; cat\' {inputs-file}',
        'sh -c \'while read -r name; do cat "$name"; done < "$0" | sort > "$1"\' {inputs-file} {output}',
    ):
        outcome = run("process.py", 0, 1, "--command", text)
        assert (outcome.returncode, outcome.stderr) == (0, ""), text
        assert (root / "l2/0.txt").read_bytes() == b"a\nb\n"
        assert leftovers(root) == []


def test_ten_thousand_inputs_need_no_command_line(run: Script, tmp_path: Path) -> None:
    """More names than one command line holds."""
    root = tmp_path / ("long" * 60)
    write_level(root, 1, [b"%d\n" % number for number in range(10_000)])
    options = ["--root", root, "--level", 1, "--command"]
    outcome = run("merge.py", 10_000, *options, "cat {inputs}")
    assert outcome.returncode == 7
    assert "Argument list too long: 10000 inputs" in outcome.stderr
    assert "lower --fan-in, let the program read a list of them ({inputs-file})" in outcome.stderr
    outcome = run("merge.py", 10_000, *options, "sort -n --files0-from={inputs-file:nul}")
    assert outcome.returncode == 0, outcome.stderr
    assert (root / "result.txt").read_bytes() == b"".join(b"%d\n" % number for number in range(10_000))


@pytest.mark.parametrize("word", WORDS)
def test_a_line_end_in_a_name(word: str, run: Script, tmp_path: Path) -> None:
    """Where a name cannot stand on a line the command is not run: exit code 2, and what to take instead."""
    root = tmp_path / "two\nlines"
    write_level(root, 1, [b"a", b"b"])
    outcome = run("process.py", 0, 1, "--root", root, "--command", f"{KEEP} {word} {{output}}")
    if "nul" in word:
        names = (root / "l2/0.txt").read_bytes().split(b"\0")
        assert names == [*(os.fsencode(root / f"l1/{number}.txt") for number in range(2)), b""]
    else:
        assert outcome.returncode == 2
        assert "has a line end in its name" in outcome.stderr
        assert "{inputs-file:nul}" in outcome.stderr
        assert not (root / "l2/0.txt").exists()
    assert leftovers(root) == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{{inputs-file}}", "{inputs-file}"),
        ("--list={{inputs-file:nul}}", "--list={inputs-file:nul}"),
        ("{inputs-file:}", "{inputs-file:}"),
        ("{inputs-files}", "{inputs-files}"),
    ],
)
def test_what_is_none(text: str, wanted: str) -> None:
    """Doubled braces are the program's own; so is what only looks like it. Then no list is made."""
    merge = Command(parse(shlex.join(["prog", text])))
    assert merge.expanded(["in"], "out", 1, 2) == ["prog", wanted]
    assert merge.reads_stdin


def test_an_unknown_style(run: Script, root: Path) -> None:
    """Said before anything is read: exit code 2, and the styles that there are."""
    outcome = run("process.py", 0, 1, "--command", "cat {inputs-file:csv}")
    assert outcome.returncode == 2
    told = " ".join(outcome.stderr.split())
    assert "{inputs-file:csv} is no list of inputs: write {inputs-file} or {inputs-file:nul}" in told
    assert leftovers(root) == []


def test_no_list_is_a_side_file(run: Script, root: Path) -> None:
    """Only what the command itself leaves beside its output is named."""
    both = 'sh -c \'cat "$0" "$1" > "$2"; touch "${2%%/*}/beside"\' {inputs-file} {inputs-file:nul} {output}'
    outcome = run("process.py", 0, 1, "--command", both.replace("%%", "%"))
    assert outcome.returncode == 0, outcome.stderr
    assert "the command wrote beside;" in outcome.stderr
    assert leftovers(root) == []


@pytest.mark.parametrize("script", ["fails", "is killed"])
def test_it_goes_whatever_happens(script: str, run: Script, root: Path) -> None:
    """A command that fails leaves no list."""
    text = "sh -c 'test -s \"$0\" && exit 3'" if script == "fails" else "sh -c 'kill -9 $$'"
    assert run("process.py", 0, 1, "--command", f"{text} {{inputs-file}} {{output}}").returncode == 7
    assert leftovers(root) == []
    assert sorted(os.listdir(root)) == ["l1", "l2"]


@pytest.mark.parametrize("make", PLACES.values(), ids=PLACES)
def test_every_store(make: Callable[[Path], AbstractContextManager[Place]], tmp_path: Path) -> None:
    """The list names files of this machine, on object stores too, and nothing of it reaches the store."""
    with make(tmp_path) as place:
        for number, content in enumerate([b"c\n", b"a\n", b"b\n"]):
            place.put(f"l1/{number}.txt", content)
        before = place.names()
        merge = Command(parse("sort --files0-from={inputs-file:nul} -o {output}"))
        steps.merge(place.storage, Layout(), 3, level=1, output="result.txt", command=merge)
        assert place.get("result.txt") == b"a\nb\nc\n"
        assert place.names() - before == {"result.txt"}
