"""The scripts as people and pods call them: output, exit codes, options, environment."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

import machine
from aggregation.errors import EXIT_CODES
from scripts import WORKER, Script, command, environment, finished, write_level

SCRIPTS = sorted(path.name for path in WORKER.glob("*.py"))


def test_bytes_are_bytes(run: Script, root: Path) -> None:
    """Nothing is decoded, stripped or added."""
    contents = [b"\r\n \xff\xfe\0", b"", b"\n\n", bytes(range(256))]
    write_level(root, 1, contents)
    assert run("process.py", 0, 1).returncode == run("process.py", 1, 1).returncode == 0
    assert run("merge.py", 2).returncode == 0
    assert (root / "result.txt").read_bytes() == b"".join(contents)


def test_fan_in_and_files(run: Script, root: Path) -> None:
    """A short last group is computed from --files."""
    contents = [str(n).encode() for n in range(10)]
    write_level(root, 1, contents)
    for number, expected in [(0, b"0123"), (1, b"4567"), (2, b"89")]:
        assert run("process.py", number, 1, "--fan-in", 4, "--files", 10).returncode == 0
        assert (root / f"l2/{number}.txt").read_bytes() == expected
    assert run("process.py", 3, 1, "--fan-in", 4, "--files", 10).returncode == 2


def test_a_short_group_is_never_guessed(run: Script, root: Path) -> None:
    """Without --files a missing file of a group is an error, and no target appears."""
    write_level(root, 1, [b"a", b"b", b"c"])
    outcome = run("process.py", 1, 1)
    assert outcome.returncode == 3
    assert "l1/3.txt" in outcome.stderr
    assert not (root / "l2").exists()


def test_environment_variables(run: Script, root: Path) -> None:
    """Options come from the environment, and an option given wins."""
    write_level(root, 1, [b"a", b"b", b"c"])
    assert run("process.py", 0, 1, AGGREGATION_FAN_IN="3").returncode == 0
    assert (root / "l2/0.txt").read_bytes() == b"abc"
    assert run("process.py", 0, 1, "--fan-in", 2, AGGREGATION_FAN_IN="3").returncode == 0
    assert (root / "l2/0.txt").read_bytes() == b"ab"
    assert run("process.py", 1, 1, AGGREGATION_FILES="3").returncode == 0
    assert (root / "l2/1.txt").read_bytes() == b"c"
    assert run("process.py", 0, 1, AGGREGATION_FILES="").returncode == 0


@pytest.mark.parametrize(
    ("widths", "count", "found"),
    [
        ({1: 32, 2: 16, 3: 8}, 8, 3),
        ({1: 32, 2: 16, 3: 8}, 32, 1),
        ({1: 512, 2: 256, 3: 128, 4: 64, 5: 32, 6: 16}, 16, 6),
        ({0: 4, 10: 3}, 3, 10),
    ],
)
def test_the_last_level_is_found(
    run: Script, root: Path, widths: dict[int, int], count: int, found: int
) -> None:
    """merge.py takes the one level that holds exactly files 0 to n-1."""
    for level, width in widths.items():
        write_level(root, level, [f"{level}.{n};".encode() for n in range(width)])
    outcome = run("merge.py", count, "--log-format", "json")
    assert outcome.returncode == 0, outcome.stderr
    assert (root / "result.txt").read_text() == "".join(f"{found}.{n};" for n in range(count))


@pytest.mark.parametrize(
    ("levels", "count", "said"),
    [
        ({1: range(32), 2: range(16)}, 8, ["no level", "l1 holds 32 files (0 to 31)", "l2 holds 16 files"]),
        ({1: range(4), 2: range(4)}, 4, ["several levels", "l1 holds 4 files (0 to 3)", "l2 holds 4 files"]),
        ({1: [0, 1, 3]}, 4, ["no level", "l1 holds 3 files (0 to 3 without 2)"]),
        ({1: [0, 1, 3]}, 2, ["no level", "l1 holds 3 files (0 to 3 without 2)"]),
        ({1: []}, 1, ["no level", "l1 holds no files"]),
        ({}, 1, ["no level", "there is no level at all"]),
    ],
)
def test_no_level_fits(
    run: Script, root: Path, levels: dict[int, list[int]], count: int, said: list[str]
) -> None:
    """None or several candidates are a loud error that says what each level holds and names --level."""
    for level, numbers in levels.items():
        (root / f"l{level}").mkdir()
        for number in numbers:
            (root / f"l{level}/{number}.txt").write_bytes(b"x")
    outcome = run("merge.py", count)
    assert outcome.returncode == 3
    assert outcome.stderr.count("\n") == 1
    for words in [*said, "--level"]:
        assert words in outcome.stderr
    assert not (root / "result.txt").exists()


def test_a_level_of_an_earlier_run_is_not_taken(run: Script, root: Path) -> None:
    """A level older than those below it by more than an hour is an error with both times and --level."""
    hour = 3600
    for level, width, age in ((1, 8, 0), (2, 4, 0), (3, 2, 2 * hour)):
        for path in write_level(root, level, [b"%d" % level] * width):
            os.utime(path, (time.time() - age, 1_700_000_000 - age))
    outcome = run("merge.py", 2)
    assert outcome.returncode == 3
    assert not (root / "result.txt").exists()
    for said in ("l3/0.txt", "2023-11-14 20:13:20 UTC", "l2/0.txt", "2023-11-14 22:13:20 UTC", "--level 3"):
        assert said in outcome.stderr
    assert run("merge.py", 2, "--level", 3).returncode == 0
    for path in (root / "l3").iterdir():
        os.utime(path, (1, 1_700_000_000 - hour // 2))  # two nodes' clocks
    assert run("merge.py", 2).returncode == 0


def test_a_level_older_than_its_inputs_is_not_taken(run: Script, root: Path) -> None:
    """The same where only level 1 was made anew, two levels below."""
    for level, width in ((1, 8), (2, 4), (3, 2)):
        for path in write_level(root, level, [b"%d" % level] * width):
            os.utime(path, (1, 1_700_000_000 + (7200 if level == 1 else 0)))
    outcome = run("merge.py", 2)
    assert outcome.returncode == 3
    assert "l1/0.txt" in outcome.stderr


def test_merge_level_and_output(run: Script, root: Path) -> None:
    """--level takes files 0 to n-1 of that level, --output another name under the root."""
    write_level(root, 1, [b"a", b"b", b"c"])
    assert run("merge.py", 2, "--level", 1, "--partial", "--output", "out/part.bin").returncode == 0
    assert (root / "out/part.bin").read_bytes() == b"ab"
    assert not (root / "result.txt").exists()


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("process.py", ["x", "1"], "'x' is not a whole number"),
        ("process.py", ["-1", "1"], "-1 is not a whole number"),
        ("process.py", ["1.5", "1"], "'1.5' is not a whole number"),
        ("process.py", ["1e3", "1"], "'1e3' is not a whole number"),
        ("process.py", ["+1", "1"], "'+1' is not a whole number"),
        ("process.py", ["1_0", "1"], "'1_0' is not a whole number"),
        ("process.py", [" 1", "1"], "' 1' is not a whole number"),
        ("process.py", ["", "1"], "'' is not a whole number"),
        ("process.py", ["\u0663", "1"], "is not a whole number"),
        ("process.py", ["9" * 101, "1"], "101 digits, and 100 are the most"),
        ("process.py", ["1"], "Missing argument 'LEVEL'"),
        ("process.py", ["1", "1", "1"], "unexpected extra argument"),
        ("process.py", ["0", "1", "--fan-in", "1"], "1 is less than 2"),
        ("process.py", ["0", "1", "--files", "0"], "0 is less than 1"),
        ("process.py", ["0", "1", "--no-such"], "--no-such"),
        ("process.py", ["0", "1", "--root", ""], "a root is a directory"),
        ("merge.py", [], "Missing argument 'N'"),
        ("merge.py", ["0"], "0 is less than 1"),
        ("merge.py", ["1", "--output", "../x"], "not a name under the root"),
        ("merge.py", ["1", "--output", "/x"], "not a name under the root"),
        ("merge.py", ["1", "--output", "l1/0.txt"], "where inputs are"),
        ("merge.py", ["1", "--output", "l1"], "the worker itself uses"),
        ("merge.py", ["1", "--output", "runs"], "the worker itself uses"),
        ("merge.py", ["1", "--output", "runs/x/result.txt"], "the worker itself uses"),
        ("merge.py", ["1", "--output", ".pipeline.json"], "the worker itself uses"),
        ("pipeline.py", ["--output", "out/.pipeline.json"], "the worker itself uses"),
        ("pipeline.py", ["--output", "out/.0.txt.host.1.ab.tmp"], "the worker itself uses"),
        ("pipeline.py", ["--output", ".x.tmp/result.txt"], "the worker itself uses"),
        ("prepare.py", ["many"], "'many' is not a whole number"),
        ("pipeline.py", ["--fan-in", "0"], "0 is less than 2"),
    ],
)
def test_wrong_usage(run: Script, root: Path, script: str, arguments: list[str], said: str) -> None:
    """Wrong usage is exit code 2, one line that says what is wrong, and nothing written."""
    outcome = run(script, *arguments)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.count("\n") == 1
    assert said in outcome.stderr
    assert f"{script} --help" in outcome.stderr
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("number", ["0", "007", "9" * 100])
def test_numbers_of_any_size(run: Script, root: Path, number: str) -> None:
    """A number is as large as a file name allows, and leading zeros mean nothing."""
    (root / "l1").mkdir()
    for n in (2 * int(number), 2 * int(number) + 1):
        (root / f"l1/{n}.txt").write_bytes(b"x")
    assert run("process.py", number, 1).returncode == 0
    assert (root / f"l2/{int(number)}.txt").read_bytes() == b"xx"


def test_the_summary_line(run: Script, root: Path) -> None:
    """A line on stdout says what was joined into what: files, size, CRC64 if computed, the way, seconds."""
    write_level(root, 1, [b"1234", b"56789"])
    outcome = run("process.py", 0, 1, "--checksum")
    assert outcome.stderr == ""
    start, _, seconds = outcome.stdout.rpartition(", ")
    assert start == (
        "process.py: l1/0.txt + l1/1.txt -> l2/0.txt: 2 files, 9 bytes, CRC64 11051210869376104954, streamed"
    )
    assert float(seconds.removesuffix(" s\n")) >= 0
    assert ": 2 files, 9 bytes, streamed, " in run("process.py", 0, 1).stdout
    assert "CRC64 11051210869376104954 verified, streamed, " in run("process.py", 0, 1, "--verify").stdout
    write_level(root, 1, [bytes(1 << 20), bytes(1 << 19)])
    assert re.search(r": 2 files, 1\.5 MiB, [\d.]+ [KMG]iB/s, ", run("process.py", 0, 1).stdout)


def test_the_summary_as_json(run: Script, root: Path, tmp_path: Path) -> None:
    """--log-format json gives one JSON line, --summary-file the same fields in a file."""
    write_level(root, 1, [b"1234", b"56789"])
    path = tmp_path / "summary.json"
    outcome = run("process.py", 0, 1, "--checksum", "--log-format", "json", "--summary-file", path)
    line = json.loads(outcome.stdout)
    summary = json.loads(path.read_text())
    assert summary == {key: line[key] for key in summary}
    assert line["severity"] == "INFO"
    assert {
        key: summary[key] for key in ("step", "target", "files", "bytes", "crc64", "moved", "requests")
    } == {
        "step": "process",
        "target": "l2/0.txt",
        "files": 2,
        "bytes": 9,
        "crc64": "11051210869376104954",  # 0x995dc9bbdf1939fa: CRC-64/XZ's check value
        "moved": "streamed",
        "requests": 0,
    }


def test_an_error_as_json(run: Script) -> None:
    """--log-format json holds for errors too, of usage as well."""
    for arguments, code in [(["0", "1"], 3), (["x", "1"], 2)]:
        outcome = run("process.py", *arguments, "--log-format", "json")
        assert outcome.returncode == code
        record = json.loads(outcome.stderr)
        assert (record["severity"], record["exit_code"]) == ("ERROR", code)


def test_debug_shows_the_traceback(run: Script) -> None:
    """An error is one line; with --debug the traceback follows."""
    assert run("process.py", 0, 1).stderr.count("\n") == 1
    assert "Traceback" in run("process.py", 0, 1, "--debug").stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(run: Script, script: str) -> None:
    """Each script explains itself, with every option's variable or default and all exit codes."""
    outcome = run(script, "--help")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert "AGGREGATION_ROOT" in outcome.stdout
    for row in EXIT_CODES:
        assert f"{row.code:>3}  {row.meaning}" in outcome.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_programs(script: str) -> None:
    """Each script runs by its name, as in `docker run IMAGE process.py ...`."""
    assert os.access(WORKER / script, os.X_OK)
    assert (WORKER / script).read_text().startswith("#!/usr/bin/env python3\n")


def test_the_overview_names_every_script() -> None:
    """`docker run IMAGE` alone says what there is."""
    outcome = subprocess.run(
        [*command("", "")[:1], "-m", "aggregation"], cwd=WORKER, capture_output=True, text=True, check=True
    )
    for script in SCRIPTS:
        assert script in outcome.stdout


@pytest.mark.parametrize("content", [b"map tile", b"", b"x", b"\xc3"])
def test_prepare_never_replaces_data(run: Script, root: Path, content: bytes) -> None:
    """A file that prepare.py did not write is not overwritten, and nothing is lost."""
    (path,) = write_level(root, 1, [content])
    outcome = run("prepare.py", 1)
    assert outcome.returncode == 5
    assert "would be lost" in outcome.stderr
    assert path.read_bytes() == content


def test_prepare_never_replaces_a_link(run: Script, root: Path) -> None:
    """A link to a place that is not mounted now, and one that leads to itself, are not absent files."""
    (root / "l1").mkdir()
    for target in ("/not/mounted/now", "0.txt"):
        link = root / "l1/0.txt"
        link.symlink_to(target)
        outcome = run("prepare.py", 2)
        assert outcome.returncode == 5
        assert "would be lost" in outcome.stderr
        assert os.readlink(link) == target
        link.unlink()


def test_prepare_takes_nothing_for_absent_that_it_could_not_look_at(root: Path, tmp_path: Path) -> None:
    """One look-up that fails as an ossfs 2 mount's does on a 503 ends it, and the file stays."""
    compiler = machine.compiler()
    (path,) = write_level(root, 1, [b"precious"])
    source, library = tmp_path / "fail.c", tmp_path / "fail.so"
    looks = "\n".join(
        f"int {name}(int folder, const char *path, void *status, int flags)"
        f' {{ if (strstr(path, "l1/0.txt")) {{ errno = ENXIO; return -1; }}'
        f' return ((int (*)(int, const char *, void *, int))dlsym(RTLD_NEXT, "{name}"))'
        "(folder, path, status, flags); }"
        for name in ("fstatat", "fstatat64")
    )
    looks += "\n".join(
        f"int {name}(const char *path, void *status)"
        f' {{ if (strstr(path, "l1/0.txt")) {{ errno = ENXIO; return -1; }}'
        f' return ((int (*)(const char *, void *))dlsym(RTLD_NEXT, "{name}"))(path, status); }}'
        for name in ("stat", "stat64", "lstat", "lstat64")
    )
    source.write_text(
        f"#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <errno.h>\n#include <string.h>\n{looks}\n"
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    outcome = finished(command("prepare.py", 1, "--root", root), env=environment(LD_PRELOAD=str(library)))
    assert outcome.returncode == 75, outcome.stderr
    assert path.read_bytes() == b"precious"


def test_prepare_makes_the_root_but_not_the_volume(run: Script, tmp_path: Path) -> None:
    """The root is made in a volume that is there; a missing volume is never replaced by a folder."""
    assert run("prepare.py", "--root", tmp_path / "new").returncode == 0
    outcome = run("prepare.py", "--root", tmp_path / "no-volume/new")
    assert outcome.returncode == 5
    assert not (tmp_path / "no-volume").exists()


def test_progress_reaches_argo(root: Path, tmp_path: Path) -> None:
    """A merge of more than a second writes N/M lines, in bytes: it is stopped for that long in the middle."""
    (root / "l1").mkdir()
    for number in range(2):
        with (root / f"l1/{number}.txt").open("wb") as file:
            file.truncate(256 << 20)
    progress = tmp_path / "progress"
    merging = subprocess.Popen(
        command("process.py", 0, 1, "--checksum", "--root", root),
        env=environment(ARGO_PROGRESS_FILE=str(progress)),
        stdout=subprocess.DEVNULL,
    )
    while merging.poll() is None and not list(root.glob("l2/.0.txt.*.tmp")):
        time.sleep(0.001)
    merging.send_signal(signal.SIGSTOP)
    time.sleep(1.1)  # longer than the interval between two lines
    merging.send_signal(signal.SIGCONT)
    assert merging.wait() == 0
    lines = [tuple(map(int, line.split("/"))) for line in progress.read_text().splitlines()]
    assert lines == sorted(lines)
    assert lines
    assert all(0 < done <= total == 512 << 20 for done, total in lines)


def test_short_merges_write_no_progress(run: Script, root: Path, tmp_path: Path) -> None:
    """Argo shows a short pod's end by itself."""
    write_level(root, 1, [b"a", b"b"])
    assert run("process.py", 0, 1, ARGO_PROGRESS_FILE=str(tmp_path / "progress")).returncode == 0
    assert not (tmp_path / "progress").exists()
