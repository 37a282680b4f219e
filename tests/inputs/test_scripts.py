"""inputs.py, and the other scripts by a list: as people and pods call them."""

import json
import os
import signal
import stat
import subprocess
import time
from pathlib import Path
from random import Random

import pytest

from aggregation.inputs import input_list
from oss_server import OssServer
from scripts import MEASURE, Outcome, Script, command, environment, leftovers, write_level

FRAMES = [f"shot7_{n}.exr" for n in (1, 2, 3, 9, 10, 11, 100)]


def write(root: Path, names: list[str]) -> bytes:
    """Write files with bytes of their own; returns them joined in the order of the names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(f"<{name}>".encode())
    return b"".join(f"<{name}>".encode() for name in names)


def check_by(folder: Path, text: str) -> str:
    """A check by a shell script, which has the file as its first argument."""
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return f"{path} {{input}}"


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file under the root."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_frames_step_by_step(run: Script, root: Path) -> None:
    """The count is all of stdout; process.py takes its lines, merge.py all, and names no `--files`."""
    whole = write(root, FRAMES)
    outcome = run("inputs.py", "--glob", "shot7_*.exr", "--run", "r")
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "7\n", "")
    lines = (root / "runs/r/inputs.txt").read_text().splitlines()
    assert lines == ["# 7 inputs, made by inputs.py --glob 'shot7_*.exr'", *FRAMES]
    settings = {"AGGREGATION_RUN": "r", "AGGREGATION_INPUTS": "inputs.txt", "AGGREGATION_SUFFIX": ".exr"}
    for number in range(3):
        assert run("process.py", number, 1, "--fan-in", 3, **settings).returncode == 0
    assert (root / "runs/r/l2/2.exr").read_bytes() == b"<shot7_100.exr>"
    assert run("process.py", 3, 1, "--fan-in", 3, **settings).returncode == 2
    assert run("process.py", 0, 2, "--fan-in", 2, **settings).returncode == 0
    assert run("process.py", 1, 2, "--fan-in", 2, "--files", 3, **settings).returncode == 0
    assert run("merge.py", 2, "--level", 3, **settings).returncode == 0
    assert (root / "result.exr").read_bytes() == whole
    merged = run("merge.py", 7, "--clean", **settings)
    assert merged.returncode == 0, merged.stderr
    assert (root / "result.exr").read_bytes() == whole
    assert sorted(snapshot(root)) == sorted([*FRAMES, "result.exr"])


def test_a_list_read_in_half_is_noticed(run: Script, root: Path) -> None:
    """A count that is not the list's length, and a list that was cut, end with 3 and write nothing."""
    write(root, FRAMES)
    assert run("inputs.py", "--glob", "*.exr").returncode == 0
    before = snapshot(root)
    for arguments in (["merge.py", 6, "--level", 1], ["merge.py", 8, "--level", 1, "--partial"]):
        outcome = run(*arguments, "--inputs", "inputs.txt")
        assert outcome.returncode == 3
        assert "the list of inputs holds 7" in outcome.stderr
    assert run("process.py", 0, 1, "--files", 6, "--inputs", "inputs.txt").returncode == 3
    assert run("merge.py", 6, "--inputs", "inputs.txt").returncode == 3
    assert snapshot(root) == before
    (root / "inputs.txt").write_bytes(before["inputs.txt"][:-3])
    outcome = run("process.py", 0, 1, "--inputs", "inputs.txt")
    assert outcome.returncode == 3
    assert "cut short" in outcome.stderr
    (root / "inputs.txt").unlink()
    outcome = run("process.py", 0, 1, "--inputs", "inputs.txt")
    assert outcome.returncode == 3
    assert "make it by inputs.py" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_the_last_level_is_found_beside_a_list(run: Script, root: Path) -> None:
    """Level 1 is the list then, whatever l1 holds."""
    write(root, FRAMES[:4])
    write_level(root, 1, [b"x"] * 2)
    assert run("inputs.py", "--glob", "*.exr").returncode == 0
    assert run("process.py", 0, 1, "--inputs", "inputs.txt").returncode == 0
    assert run("process.py", 1, 1, "--inputs", "inputs.txt").returncode == 0
    assert run("merge.py", 2, "--inputs", "inputs.txt").returncode == 0
    assert (root / "result.txt").read_bytes() == write(root, FRAMES[:4])
    assert run("merge.py", 4, "--inputs", "inputs.txt", "--output", "flat").returncode == 0
    assert (root / "flat").read_bytes() == write(root, FRAMES[:4])
    outcome = run("merge.py", 3, "--inputs", "inputs.txt")
    assert outcome.returncode == 3
    assert "the list of inputs holds 4" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing says what they are"),
        (["--glob", "*", "--frames", "1-2"], "say it twice"),
        (["--glob", "a//b"], "empty"),
        (["--glob", "../*"], "'..'"),
        (["--frames", "-5-3"], "no range"),
        (["--frames", "1-2", "--name", "a_%d"], "{number:04}"),
        (["--name", "{number}"], "nothing says"),
        (["--glob", "*", "--name", "{number}"], "--frames"),
        (["--glob", "*", "--at-most-missing", "3"], "--missing"),
        (["--glob", "*", "--missing", "skip", "--at-most-missing", "101%"], "neither a count"),
        (["--glob", "*", "--missing", "/etc/passwd"], "under the root"),
        (["--glob", "*", "--check", "true"], "{input}"),
        (["--glob", "*", "--check", "'true {input}"], "quoting"),
        (["--glob", "*", "--from", "../x"], "'..'"),
        (["--glob", "*", "--from", "oss://other/x"], "root's own store"),
        (["--glob", "*", "--inputs", "a/"], "not a name under the root"),
    ],
)
def test_wrong_usage_reads_nothing(run: Script, root: Path, arguments: list[str], said: str) -> None:
    """What cannot be meant is 2, in one line that says which option, whatever there is."""
    write(root, ["a"])
    outcome = run("inputs.py", *arguments)
    assert outcome.returncode == 2, outcome
    assert said in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert outcome.stdout == ""
    assert list(snapshot(root)) == ["a"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--prepare", "--glob", "*"],
        ["--prepare", "--inputs", "inputs.txt"],
        ["--inputs", "inputs.txt", "--glob", "*"],
        ["--missing", "skip"],
        ["--check", "true {input}"],
        ["--inputs", "inputs.txt", "--from", "x"],
    ],
)
def test_pipeline_s_wrong_usage(run: Script, root: Path, arguments: list[str]) -> None:
    """Options that do not go together are 2 before anything is written."""
    write(root, ["a"])
    assert run("pipeline.py", *arguments).returncode == 2
    assert list(snapshot(root)) == ["a"]


def test_pipeline_in_one_step(run: Script, root: Path) -> None:
    """It plans and runs; the list goes with the run's folder, and stays in it with --keep."""
    whole = write(root, FRAMES)
    outcome = run("pipeline.py", "--glob", "*.exr", "--suffix", ".exr")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (root / "result.exr").read_bytes() == whole
    assert sorted(snapshot(root)) == sorted([*FRAMES, "result.exr"])
    again = run("pipeline.py", "--glob", "*.exr", "--suffix", ".exr", "--keep", "--run", "r")
    assert again.returncode == 0, again.stderr
    assert (root / "result.exr").read_bytes() == whole
    assert sorted(path for path in snapshot(root) if path.startswith("runs")) == [
        "runs/r/inputs.txt",
        *(f"runs/r/l2/{n}.exr" for n in range(4)),
        *(f"runs/r/l3/{n}.exr" for n in range(2)),
    ]
    by_list = run("pipeline.py", "--inputs", "inputs.txt", "--run", "r", "--levels", 0, "--output", "flat")
    assert by_list.returncode == 0, by_list.stderr
    assert (root / "flat").read_bytes() == whole
    planned = run("pipeline.py", "--glob", "*.exr", "--dry-run", "--suffix", ".exr")
    assert f"{4 * len(whole)} bytes" in planned.stdout or "7" in planned.stdout
    assert not (root / "runs").exists()


def test_resume_notices_another_list(run: Script, root: Path) -> None:
    """The same list goes on and keeps what is done; a file more, or one less, is an error that says so."""
    whole = write(root, FRAMES)
    folder = root / "runs/mine"
    (folder / "l3/1.txt").mkdir(parents=True)  # so that this merge fails
    arguments = ("pipeline.py", "--glob", "*.exr", "--workers", 1)
    assert run(*arguments, "--run", "mine").returncode == 6
    (folder / "l3/1.txt").rmdir()
    write(root, ["shot7_200.exr"])
    outcome = run(*arguments, "--resume")
    assert outcome.returncode == 2
    (root / "shot7_200.exr").unlink()
    (root / FRAMES[0]).rename(root / "shot7_0.exr")
    outcome = run(*arguments, "--resume")
    assert outcome.returncode == 2
    assert "the list of inputs is another one than mine was started with" in outcome.stderr
    (root / "shot7_0.exr").rename(root / FRAMES[0])
    outcome = run(*arguments, "--resume")
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.count("kept") >= 3
    assert (root / "result.txt").read_bytes() == whole
    assert sorted(snapshot(root)) == sorted([*FRAMES, "result.txt"])


def tiles(count: int) -> list[str]:
    """Names of tiles, z/x/y."""
    return [f"9/{n // 40}/{n % 40}.png" for n in range(count)]


def test_a_thousand_tiles(run: Script, root: Path, tmp_path: Path) -> None:
    """3 absent and 2 that the check refuses: a placeholder, an account, a bound; rendered, there are none."""
    names = tiles(1000)
    contents = {name: f"<{name}>".encode() for name in names}
    write(root, names)
    absent, broken = [names[n] for n in (17, 230, 999)], [names[n] for n in (231, 700)]
    for name in absent:
        (root / name).unlink()
    for name in broken:
        (root / name).write_bytes(b"")
    (root / "expected.txt").write_text("".join(f"{name}\n" for name in names))
    (root / "empty.png").write_bytes(b"<empty>")
    arguments = (
        *("inputs.py", "--expected", "expected.txt", "--missing", "empty.png"),
        *("--check", check_by(tmp_path, 'echo looking; test -s "$1"')),
    )
    outcome = run(*arguments, "--at-most-missing", 4)
    assert outcome.returncode == 3
    assert "5 of 1000 are missing" in outcome.stderr
    assert "2 of them refused by --check" in outcome.stderr
    assert all(name in outcome.stderr for name in absent + broken)
    assert not (root / "inputs.txt").exists()
    outcome = run(*arguments, "--at-most-missing", "0.5%", "--summary-file", tmp_path / "summary")
    assert (outcome.returncode, outcome.stdout) == (0, "1000\n")
    assert "5 of 1000 inputs missing, replaced by empty.png" in outcome.stderr
    assert json.loads((tmp_path / "summary").read_text())["missing"] == 5
    account = json.loads((root / "missing.json").read_text())
    gaps = sorted(absent + broken, key=names.index)
    assert (account["missing"], account["expected"], account["names"]) == (5, 1000, gaps)
    assert account["refused"] == broken
    merging = ("merge.py", 1000, "--level", 1, "--inputs", "inputs.txt", "--log-format", "json")
    merged = run(*merging)
    assert merged.returncode == 0, merged.stderr
    assert json.loads(merged.stdout)["missing"] == 5
    whole = b"".join(b"<empty>" if name in gaps else contents[name] for name in names)
    assert (root / "result.txt").read_bytes() == whole
    beside = json.loads((root / "result.txt.missing.json").read_text())
    assert beside == account
    write(root, gaps)
    outcome = run(*arguments, "--at-most-missing", 0)
    assert (outcome.returncode, outcome.stdout) == (0, "1000\n")
    assert "missing" not in outcome.stderr  # though a slow machine may see lines on how far it is
    merged = run(*merging)
    assert json.loads(merged.stdout)["missing"] == 0
    assert (root / "result.txt").read_bytes() == b"".join(contents.values())
    assert not list(root.glob("*missing.json"))
    assert leftovers(root) == []


def test_numbers_go_back_to_the_render_manager(run: Script, root: Path) -> None:
    """What is missing is written as it is taken: rendered, there are no gaps."""
    frames = [n for n in range(1, 241) if n not in {17, *range(230, 234)}]
    write(root, [f"shot7_{n:04}.exr" for n in frames])
    arguments = ("--frames", "1-240", "--name", "shot7_{number:04}.exr")
    outcome = run("inputs.py", *arguments)
    assert outcome.returncode == 3
    assert "5 of 240 are missing: 17,230-233" in outcome.stderr
    assert run("inputs.py", *arguments, "--missing", "skip").returncode == 0
    numbers = json.loads((root / "missing.json").read_text())["numbers"]
    assert numbers == "17,230-233"
    missing = run("inputs.py", "--frames", numbers, "--name", "shot7_{number:04}.exr", "--missing", "skip")
    assert missing.returncode == 3
    assert "none of the 5 files" in missing.stderr
    done = run("pipeline.py", *arguments, "--missing", "skip", "--log-format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["missing"] == 5
    assert json.loads((root / "result.txt.missing.json").read_text())["numbers"] == "17,230-233"


def test_numbered_names_may_have_gaps_too(run: Script, root: Path) -> None:
    """Without --name a frame is a file of level 1, as ever."""
    write_level(root, 1, [b"a", b"b", b"c"], ".png")
    (root / "l1/1.png").unlink()
    outcome = run("inputs.py", "--frames", "0-2", "--missing", "skip", "--suffix", ".png")
    assert outcome.stdout == "2\n"
    assert (root / "inputs.txt").read_text().splitlines()[1:] == ["l1/0.png", "l1/2.png"]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("exit 127", 7, "exit code 127"),
        ("kill -9 $$", 7, "SIGKILL"),
        ("kill -11 $$", 3, "1 of 1 is missing"),
        ("exit 3", 3, "1 of 1 is missing"),
    ],
)
def test_a_check_that_says_nothing_of_the_file(
    run: Script, root: Path, tmp_path: Path, text: str, code: int, said: str
) -> None:
    """A shell that finds no program, and memory that runs out, are no gaps; a crash over a file is one."""
    write(root, ["a.png"])
    outcome = run("inputs.py", "--glob", "*.png", "--check", check_by(tmp_path, text))
    assert outcome.returncode == code
    assert said in outcome.stderr


def test_a_listed_input_that_is_gone(run: Script, root: Path) -> None:
    """The pipeline says so before it writes anything."""
    write(root, ["a.png", "b.png"])
    assert run("inputs.py", "--glob", "*.png").returncode == 0
    (root / "b.png").unlink()
    outcome = run("pipeline.py", "--inputs", "inputs.txt")
    assert outcome.returncode == 3
    assert "b.png is in the list of inputs, and is not there" in outcome.stderr
    assert sorted(snapshot(root)) == ["a.png", "inputs.txt"]


def test_a_check_that_refuses_every_input(run: Script, root: Path) -> None:
    """However many gaps are allowed: nothing is left to make a result of."""
    write(root, ["a.png"])
    allowed = ("--missing", "skip", "--at-most-missing", "100%")
    outcome = run("inputs.py", "--glob", "*.png", "--check", "false {input}", *allowed)
    assert outcome.returncode == 3
    assert "a result of nothing but gaps is none" in outcome.stderr


def test_checks_run_side_by_side(run: Script, root: Path, tmp_path: Path) -> None:
    """Three at once: each waits until the others are there."""
    write(root, ["1", "2", "3"])
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    text = f'touch {meeting}/$(basename "$1"); until [ "$(ls {meeting} | wc -l)" = 3 ]; do sleep 0.02; done'
    arguments = ("--glob", "*", "--workers", 3, "--check", check_by(tmp_path, text))
    assert run("inputs.py", *arguments).stdout == "3\n"


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_planning_step_leaves_no_half_list(root: Path, signum: signal.Signals) -> None:
    """Whenever it is struck: no list, or a whole one; another run is right."""
    for number in range(1000):
        (root / f"{number}.exr").touch()
    arguments = command("inputs.py", "--glob", "*.exr", "--root", root)
    started = time.perf_counter()
    subprocess.run(arguments, env=environment(), check=True, capture_output=True)
    lasting = time.perf_counter() - started
    random = Random(1)
    found = set()
    for _ in range(8):
        (root / "inputs.txt").unlink(missing_ok=True)
        process = subprocess.Popen(
            arguments, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(lasting * random.uniform(0.4, 1.1))
        process.send_signal(signum)
        process.wait()
        there = (root / "inputs.txt").exists()
        found.add(there)
        if there:
            assert len(input_list.parse((root / "inputs.txt").read_bytes()).names) == 1000
        if signum == signal.SIGTERM:
            assert leftovers(root) == []
    assert False in found
    assert subprocess.run(arguments, env=environment(), check=True, capture_output=True).stdout == b"1000\n"


def test_a_hundred_thousand_names(root: Path) -> None:
    """A step of a list of them takes what it needs: under 32 MiB more than without one."""
    names = [f"night/shot7_{n:06}.exr" for n in range(100_000)]
    (root / "inputs.txt").write_bytes(input_list.InputList(names).to_bytes())
    write(root, names[-2:])
    write_level(root, 1, [b"a", b"b"])
    peaks = []
    for arguments in ([0, 1], [49_999, 1, "--inputs", "inputs.txt"]):
        measured = subprocess.run(
            [*command("process.py")[:1], "-c", MEASURE, *command("process.py", *arguments, "--root", root)],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        code, peak = map(int, measured.stdout.split()[-2:])
        assert code == 0, measured.stderr
        peaks.append(peak)
    assert (root / "l2/49999.txt").read_bytes() == write(root, names[-2:])
    assert peaks[1] - peaks[0] < 32 * 1024


def on_oss(server: OssServer, *arguments: object, **variables: str) -> Outcome:
    """A script on oss://demo/data."""
    return subprocess.run(
        command(str(arguments[0]), *arguments[1:], "--log-format", "json"),
        env=environment(AGGREGATION_ROOT="oss://demo/data", **server.environment(), **variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_any_objects_of_a_bucket_in_one_line() -> None:
    """pipeline.py --levels 0 joins objects of any names by the service; CRC64s of all ways agree."""
    names = [f"parts/{n}.bin" for n in (1, 2, 10, 30)]
    contents = [os.urandom(1_000_000) for _ in names]
    with OssServer(["demo"], access_key_id="id", access_key_secret="secret") as server:
        for number, (name, content) in enumerate(zip(names, contents, strict=True)):
            server.put("demo", f"data/{name}", content)
            server.put("demo", f"data/l1/{number}.txt", content)
        line = on_oss(
            server, *("pipeline.py", "--glob", "parts/*.bin", "--levels", 0, "--output", "whole.bin")
        )
        assert line.returncode == 0, line.stderr
        assert server.get("demo", "data/whole.bin") == b"".join(contents)
        summary = json.loads(line.stdout.splitlines()[-1])
        assert summary["moved"] == "server-side"
        assert on_oss(server, "inputs.py", "--glob", "*.bin", "--from", "/data/parts").stdout == "4\n"
        by_list = on_oss(server, "merge.py", 4, "--level", 1, "--inputs", "inputs.txt")
        numbered = on_oss(server, "merge.py", 4, "--level", 1, "--output", "numbered.bin")
        crcs = {json.loads(outcome.stdout)["crc64"] for outcome in (by_list, numbered)}
        assert crcs == {summary["crc64"]}
        assert {str(key) for key in server.keys("demo", "data/runs")} == set()
        server.counters.reset()
        assert on_oss(server, "process.py", 0, 1, "--inputs", "inputs.txt").returncode == 0
        by_list_requests = server.counters.total.requests
        server.counters.reset()
        assert on_oss(server, "process.py", 0, 1).returncode == 0
        assert by_list_requests == server.counters.total.requests + 1


def test_a_check_on_oss(tmp_path: Path) -> None:
    """Objects are fetched for it, several at once, and nothing of them stays."""
    with OssServer(["demo"], access_key_id="id", access_key_secret="secret") as server:
        for name, content in (("1/0.png", b"good"), ("1/1.png", b"bad"), ("2/0.png", b"good")):
            server.put("demo", f"data/{name}", content)
        check = check_by(tmp_path, 'grep -q good "$1"')
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        arguments = ("--glob", "*/*.png", "--check", check, "--scratch", scratch, "--missing", "skip")
        outcome = on_oss(server, "inputs.py", *arguments)
        assert outcome.stdout == "2\n", outcome.stderr
        assert json.loads(server.get("demo", "data/missing.json"))["names"] == ["1/1.png"]
        assert list(scratch.iterdir()) == []


def test_the_tutorial_s_names_cost_what_they_cost(tmp_path: Path) -> None:
    """No list, no request more: a step by numbers sends what it always sent."""
    with OssServer(["demo"], access_key_id="id", access_key_secret="secret") as server:
        for number in range(4):
            server.put("demo", f"data/l1/{number}.txt", b"x")
        for arguments, expected in (
            (("process.py", 0, 1), {"HeadObject": 2, "GetObject": 2, "PutObject": 1}),
            (
                ("merge.py", 4, "--level", 1),
                {
                    "HeadObject": 5,
                    "GetObject": 4,
                    "PutObject": 1,
                    "ListObjects": 2,
                    "ListMultipartUploads": 2,
                },
            ),
        ):
            server.counters.reset()
            outcome = on_oss(server, *arguments)
            assert outcome.returncode == 0, outcome.stderr
            assert {n: tally.requests for n, tally in server.counters.operations.items()} == expected
            assert "missing" not in json.loads(outcome.stdout)
        assert {str(key) for key in server.keys("demo", "data/")} == {
            *(f"data/l1/{number}.txt" for number in range(4)),
            *("data/l2/0.txt", "data/result.txt"),
        }
    assert list(tmp_path.iterdir()) == []
