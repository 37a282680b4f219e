"""What pipeline.py draws: the tree and the bar on a real terminal, the same tree as plain text elsewhere."""

import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts import Script, command, environment, write_level
from terminals import Shown, on_terminal

if TYPE_CHECKING:
    import subprocess

COLOURED = """\
<1>STEP                       COMMAND         DURATION  MESSAGE<0>
 <32>✔<0> pipeline                                    TIME
 <2>├─<0><2>┬─<0><32>✔<0> process-data-l1(0)  process.py 0 1      TIME
 <2>│ <0><2>├─<0><32>✔<0> process-data-l1(1)  process.py 1 1      TIME
 <2>│ <0><2>└─<0><32>✔<0> process-data-l1(2)  process.py 2 1      TIME
 <2>├─<0><2>┬─<0><32>✔<0> process-data-l2(0)  process.py 0 2      TIME
 <2>│ <0><2>└─<0><32>✔<0> process-data-l2(1)  process.py 1 2      TIME
 <2>└─<0><2>──<0><32>✔<0> merge-data          merge.py 2          TIME
"""
"""Five files, two levels. `<32>`: the escape sequence that makes green; 1 is bold, 2 dim, 0 ends them."""
PLAIN = re.sub(r"<\d+>", "", COLOURED)
ASCII = PLAIN.translate(str.maketrans("✔├│└─┬", "*||`-+"))


def tree(printed: str) -> str:
    """The drawn tree, its durations as TIME; escape sequences for colours as `<32>`."""
    text = re.sub(r"\x1b\[([\d;]+)m", r"<\1>", printed.replace("\x1b[?25h", ""))
    lines = text.splitlines(keepends=True)
    first = next(index for index, line in enumerate(lines) if "STEP" in line)
    drawn = "".join([lines[first], *(line for line in lines[first:] if line.startswith(" "))])
    drawn = re.sub(r"(?<=more, )[\d.]+ m?s", "TIME", drawn)
    return re.sub(r" +[\d.]+m?s(?=\n|  )", lambda found: f"{'TIME':>{len(found[0])}}", drawn)


def draw(root: Path, *arguments: object, **variables: str) -> Shown:
    """pipeline.py on a terminal that has colours, unless `variables` say otherwise."""
    return on_terminal(
        command("pipeline.py", "--root", root, *arguments), environment(TERM="xterm-256color") | variables
    )


@pytest.fixture
def five(root: Path) -> Path:
    """A root with five files of level 1."""
    write_level(root, 1, [b"a", b"b", b"c", b"d", b"e"])
    return root


def test_the_tree_on_a_terminal(five: Path) -> None:
    """In the shape of `argo get`, with its green ticks; only the marks, lines and headings are styled."""
    shown = draw(five)
    assert shown.returncode == 0
    assert tree(shown.text) == COLOURED


def test_the_tree_on_a_narrow_terminal(five: Path) -> None:
    """The terminal breaks long lines: nothing of the tree is cut."""
    shown = on_terminal(
        command("pipeline.py", "--root", five), environment(TERM="xterm-256color"), columns=30
    )
    assert tree(shown.text) == COLOURED


def test_no_color(five: Path) -> None:
    """NO_COLOR takes the colours away, of the tree and of the bar, and leaves bold and dim."""
    shown = draw(five, NO_COLOR="1")
    assert set(re.findall(r"\x1b\[([\d;]+)m", shown.text)) == {"0", "1", "2"}
    assert tree(shown.text) == COLOURED.replace("<32>✔<0>", "✔")


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_can_nothing(five: Path, term: str) -> None:
    """TERM=dumb: no escape sequence and no carriage return; lines instead of the bar."""
    shown = draw(five, TERM=term)
    assert not {"\x1b", "\r"} & set(shown.text)
    assert tree(shown.text) == PLAIN
    assert shown.text.startswith("pipeline.py: process-data-l1: 3 steps, ")


@pytest.mark.usefixtures("five")
def test_the_tree_elsewhere(run: Script) -> None:
    """In a log or a pipe the same tree is plain text; ASCII where stdout's encoding is not UTF-8."""
    for encoding, wanted in (("utf-8", PLAIN), ("ascii", ASCII), ("latin-1", ASCII)):
        outcome = run("pipeline.py", PYTHONIOENCODING=encoding, TERM="xterm-256color")
        assert (outcome.returncode, outcome.stderr) == (0, "")
        assert tree(outcome.stdout) == wanted
        assert outcome.stdout.startswith("pipeline.py: process-data-l1: 3 steps, ")


def test_long_levels_are_folded(run: Script, root: Path) -> None:
    """Of more than 20 steps the first ten and the last ten are shown; --all shows each."""
    write_level(root, 1, [b"x"] * 48)
    printed = run("pipeline.py").stdout
    lines = tree(printed).partition("process-data-l2(")[0].splitlines()[2:-1]
    numbers = [int(found[1]) for line in lines if (found := re.search(r"process-data-l1\((\d+)\)", line))]
    assert numbers == [*range(10), *range(14, 24)]
    assert lines[10] == " │ ├─… 4 more, TIME"
    assert {line[:6] for line in lines[1:-1]} == {" │ ├─✔", " │ ├─…"}
    assert (lines[0][:6], lines[-1][:6]) == (" ├─┬─✔", " │ └─✔")
    assert tree(printed).count("process-data-l2(") == 12
    printed = run("pipeline.py", "--all").stdout
    assert [int(n) for n in re.findall(r"process-data-l1\((\d+)\)", printed)] == list(range(24))
    assert "more" not in printed
    assert "|-... 4 more, " in run("pipeline.py", PYTHONIOENCODING="ascii").stdout


def test_twenty_steps_are_not_folded(run: Script, root: Path) -> None:
    """The limit itself."""
    write_level(root, 1, [b"x"] * 40)
    assert "more" not in run("pipeline.py").stdout


def test_what_is_folded_was_kept(run: Script, root: Path) -> None:
    """A fold says how many of its steps an earlier run had done."""
    write_level(root, 1, [b"x"] * 48)
    (root / "result.txt").mkdir()
    assert run("pipeline.py", "--levels", 1).returncode == 6
    (root / "result.txt").rmdir()
    (line,) = [
        line for line in run("pipeline.py", "--levels", 1, "--resume").stdout.splitlines() if "more" in line
    ]
    assert re.fullmatch(r" │ ├─… 4 more, 0 ms +4 kept", line)


MIB = 1 << 20


def test_the_bar(root: Path) -> None:
    """It names the level, and says how much is done and how fast; what it becomes in the end stays."""
    write_level(root, 1, [bytes(MIB)] * 8)
    shown = draw(root, "--command", "sh -c 'sleep 0.3; cat'", "--workers", 2, NO_COLOR="1")
    assert shown.returncode == 0
    states = shown.text.partition("\n")[0].split("\r\x1b[2K")
    assert [state for state in states if re.match(r"process-data-l1 [━╺╸]+ +17% 4\.0 MiB", state)]
    assert [
        state for state in states if re.match(r"process-data-l2 .* \d+ MiB, [\d.]+ MiB/s \d:\d\d:\d\d", state)
    ]
    assert re.fullmatch(r"pipeline ━{40} 100% 24 MiB, [\d.]+ MiB/s 0:00:\d\d", states[-1])


@pytest.mark.parametrize(("columns", "width"), [(300, 40), (80, 40), (60, 21)])
def test_the_bar_is_as_long_as_fits(root: Path, columns: int, width: int) -> None:
    """On a narrow terminal it is shorter, and all that is said beside it stays."""
    write_level(root, 1, [bytes(MIB)] * 8)
    shown = on_terminal(
        command("pipeline.py", "--root", root), environment(TERM="xterm", NO_COLOR="1"), columns=columns
    )
    assert re.fullmatch(r"pipeline ━+ 100% 24 MiB, [\d.]+ [KMG]iB/s 0:00:\d\d *", shown.last[0])
    assert abs(shown.last[0].count("━") - width) <= 2  # the rate may have more digits


def test_the_bar_alone(five: Path, tmp_path: Path) -> None:
    """Where only stderr is a terminal, stdout has the tree as plain text and no line on the way."""
    printed = tmp_path / "printed"
    shown = on_terminal(
        command("pipeline.py", "--root", five), environment(TERM="xterm-256color"), stdout=printed
    )
    assert "100% 15 bytes" in shown.text
    assert tree(printed.read_text()) == PLAIN
    assert printed.read_text().startswith("STEP")


def test_the_bar_in_ascii(five: Path) -> None:
    """Where the terminal's encoding is not UTF-8 the bar is made of what it has."""
    shown = draw(five, PYTHONIOENCODING="ascii")
    assert shown.text.isascii()
    assert "100% 15 bytes" in shown.text


def test_empty_files_fill_the_bar(root: Path) -> None:
    """Nothing to move is all of it."""
    write_level(root, 1, [b"", b""])
    assert re.search(r"pipeline .*100%.* 0 bytes", draw(root, NO_COLOR="1").last[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_the_cursor_back(root: Path, number: signal.Signals) -> None:
    """A bar that is stopped midway stays, the cursor is shown again, the error has a line of its own."""
    write_level(root, 1, [b"a", b"b"])

    def stop(process: "subprocess.Popen[bytes]") -> None:
        while not (root / "go").exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, number)

    shown = on_terminal(
        command("pipeline.py", "--root", root, "--command", f"sh -c 'touch {root}/go; sleep 60'"),
        environment(TERM="xterm-256color"),
        meanwhile=stop,
    )
    assert shown.returncode == 128 + number
    assert "\x1b[?25h" in shown.text.rpartition("\x1b[?25l")[2]
    said = f"pipeline.py: error: {number.name}: stopped; temporaries are removed, the target is whole"
    assert said in shown.last[-2]


def test_json_draws_no_tree(five: Path) -> None:
    """Lines for a machine are JSON on a terminal too."""
    shown = draw(five, "--log-format", "json")
    assert "STEP" not in shown.text
    assert '"bytes": 5' in shown.text
