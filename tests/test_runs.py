"""A run of its own (--run): its levels are where no other run comes, and go when its result is there."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import machine
from oss_server import OssServer
from scripts import Outcome, Script, command, environment, leftovers, mounted, write_level

LETTERS = b"01234567"


def as_run(run: Script, name: str, fan_in: int, numbers: list[int]) -> None:
    """The steps of one level 1 of 8 files, as a pod each."""
    for number in numbers:
        outcome = run("process.py", number, 1, "--files", 8, "--fan-in", fan_in, AGGREGATION_RUN=name)
        assert outcome.returncode == 0, outcome.stderr


@pytest.fixture(params=["directory", "oss"])
def letters(
    request: pytest.FixtureRequest, root: Path, run: Script
) -> Iterator[tuple[Script, Callable[[], set[str]], Callable[[str], bytes]]]:
    """A level 1 of 8 letters: how to run a script on it, what is there, and what a file holds."""
    if request.param == "directory":
        write_level(root, 1, [bytes([letter]) for letter in LETTERS])

        def there() -> set[str]:
            return {str(path.relative_to(root)) for path in root.rglob("*")}

        yield run, there, lambda name: (root / name).read_bytes()
        return
    with OssServer(["demo"], access_key_id="id", access_key_secret="secret") as server:
        for number, letter in enumerate(LETTERS):
            server.put("demo", f"a/l1/{number}.txt", bytes([letter]))

        def on_oss(script: str, *arguments: object, **variables: str) -> Outcome:
            return run(script, "--root", "oss://demo/a", *arguments, **variables, **server.environment())

        def keys() -> set[str]:
            return {key.removeprefix("a/") for key in server.keys("demo", "a/")}

        yield on_oss, keys, lambda name: server.get("demo", f"a/{name}")


Letters = tuple[Script, Callable[[], set[str]], Callable[[str], bytes]]


def test_runs_of_two_shapes_and_a_late_pod(letters: Letters) -> None:
    """Two runs of different fan-in and a dead run's late pods in one place: each result is whole."""
    run, there, read = letters
    as_run(run, "a", 2, list(range(4)))
    as_run(run, "dead", 3, [0])
    as_run(run, "b.2", 4, list(range(2)))
    as_run(run, "dead", 3, [1])
    for name, width in (("a", 4), ("b.2", 2)):
        outcome = run("merge.py", width, "--run", name)
        assert outcome.returncode == 0, outcome.stderr
        assert read("result.txt") == LETTERS
    assert {name for name in there() if name.endswith(".txt")} == {
        *(f"l1/{n}.txt" for n in range(8)),
        *(f"runs/a/l2/{n}.txt" for n in range(4)),
        *(f"runs/b.2/l2/{n}.txt" for n in range(2)),
        *(f"runs/dead/l2/{n}.txt" for n in range(2)),
        "result.txt",
    }


def test_without_a_run_shapes_mix(letters: Letters) -> None:
    """The same without --run: the second shape's files replace the first's, and the result is longer."""
    run, _, read = letters
    as_run(run, "", 2, list(range(4)))
    as_run(run, "", 4, list(range(2)))
    assert run("merge.py", 4, "--level", 2).returncode == 0
    assert read("result.txt") != LETTERS


def test_clean_removes_the_run(letters: Letters) -> None:
    """With --clean level 1, the result and other runs stay, and nothing else."""
    run, there, read = letters
    as_run(run, "other", 4, [0])
    as_run(run, "mine", 2, list(range(4)))
    outcome = run("merge.py", 4, "--run", "mine", AGGREGATION_CLEAN="true")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert read("result.txt") == LETTERS
    inputs = {f"l1/{n}.txt" for n in range(8)}
    assert {name for name in there() if name.endswith(".txt")} == inputs | {
        "runs/other/l2/0.txt",
        "result.txt",
    }
    as_run(run, "other", 4, [1])
    assert run("merge.py", 2, "--run", "other", "--clean").returncode == 0
    assert {name for name in there() if name not in ("l1", "runs")} == inputs | {"result.txt"}


def test_a_failed_merge_keeps_the_run(letters: Letters) -> None:
    """What --clean would remove is whole as long as there is no result."""
    run, there, _ = letters
    as_run(run, "mine", 2, list(range(3)))
    before = there()
    assert run("merge.py", 4, "--run", "mine", "--clean").returncode == 3
    assert there() == before


def test_only_its_own_levels_are_a_run_s(letters: Letters) -> None:
    """The last level is looked for in the run, and level 1 beside it; what other runs left is not seen."""
    run, _, read = letters
    as_run(run, "", 4, list(range(2)))
    outcome = run("merge.py", 2, "--run", "mine")
    assert outcome.returncode == 3
    assert "l1 holds 8 files" in outcome.stderr
    assert "l2" not in outcome.stderr
    assert run("merge.py", 8, "--run", "mine", "--clean").returncode == 0
    assert read("result.txt") == LETTERS


@pytest.mark.parametrize("half", [1, 4])
def test_a_killed_clean_is_finished(root: Path, run: Script, half: int) -> None:
    """After a kill in the middle of --clean the same command, or another run's, removes the rest."""
    write_level(root, 1, [bytes([letter]) for letter in LETTERS])
    for finisher in ("mine", "other"):
        as_run(run, "mine", 2, list(range(4)))
        as_run(run, "other", 4, list(range(2)))
        stop_while_cleaning(root, half)
        assert (root / "runs/mine~").exists()
        outcome = run("merge.py", 4 if finisher == "mine" else 2, "--run", finisher, "--clean")
        assert outcome.returncode == 0, outcome.stderr
        assert not (root / "runs/mine").exists()
        assert not (root / "runs/mine~").exists()
        assert (root / "result.txt").read_bytes() == LETTERS
        shutil.rmtree(root / "runs", ignore_errors=True)


def stop_while_cleaning(root: Path, removed: int) -> None:
    """Run merge.py --clean, and kill it when it has removed so many files, or all and not its mark."""
    library = slow_unlink(root.parent)
    process = subprocess.Popen(
        command("merge.py", 4, "--run", "mine", "--clean", "--root", root),
        env=environment(LD_PRELOAD=str(library)),
        stdout=subprocess.DEVNULL,
    )
    while (
        not (root / "runs/mine~").exists() or len(list((root / "runs").glob("mine/l2/*.txt"))) > 4 - removed
    ):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def slow_unlink(folder: Path) -> Path:
    """A library that makes each removal of a file take 50 ms."""
    compiler = machine.compiler()
    source, library = folder / "slow.c", folder / "slow.so"
    source.write_text(
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <unistd.h>\n"
        'int unlink(const char *path) { int (*real)(const char *) = dlsym(RTLD_NEXT, "unlink");'
        " usleep(50000); return real(path); }\n"
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def test_a_run_begun_anew_is_not_cleaned(root: Path, run: Script) -> None:
    """What was written after the mark of a removal is another run's of that name."""
    write_level(root, 1, [bytes([letter]) for letter in LETTERS])
    (root / "runs").mkdir()
    (root / "runs/mine~").touch()
    os.utime(root / "runs/mine~", (1, 1))
    as_run(run, "mine", 2, [0])
    (root / "result.txt").write_bytes(b"old")
    outcome = run("merge.py", 4, "--run", "mine", "--clean")
    assert outcome.returncode == 3
    as_run(run, "other", 4, list(range(2)))
    assert run("merge.py", 2, "--run", "other", "--clean").returncode == 0
    assert (root / "runs/mine/l2/0.txt").read_bytes() == b"01"


def test_a_mark_without_a_result(root: Path, run: Script) -> None:
    """A result that somebody took away since the removal began is not said to be there."""
    write_level(root, 1, [b"a"])
    (root / "runs").mkdir()
    (root / "runs/mine~").touch()
    assert run("merge.py", 4, "--run", "mine", "--clean").returncode == 3


def test_what_cannot_be_removed_is_said(root: Path, run: Script) -> None:
    """The result is there, so it is exit code 0; a line says what stays, and the next --clean removes it."""
    write_level(root, 1, [bytes([letter]) for letter in LETTERS])
    as_run(run, "mine", 2, list(range(4)))
    busy = root / "runs/mine/l2/9"
    busy.mkdir()
    with mounted(busy, "-t", "tmpfs", "none"):
        outcome = run("merge.py", 4, "--run", "mine", "--clean")
    assert outcome.returncode == 0
    assert "the result is complete" in outcome.stderr
    assert run("merge.py", 4, "--run", "mine", "--clean").returncode == 0
    assert not (root / "runs/mine").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "é", "a~", "a" * 254, "a\n"])
def test_names_that_no_run_has(run: Script, root: Path, name: str) -> None:
    """A name that leaves its folder, or is none, is wrong usage; an empty variable is no run."""
    write_level(root, 1, [b"a", b"b"])
    outcome = run("process.py", 0, 1, f"--run={name}")
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.count("\n") == 1
    assert [path.name for path in root.iterdir()] == ["l1"]


def test_names_that_a_run_may_have(run: Script, root: Path) -> None:
    """As long as Kubernetes has them; and all scripts take one."""
    write_level(root, 1, [b"a", b"b"])
    name = "x" * 253
    assert run("prepare.py", 2, "--root", root / "new", "--run", name).returncode == 0
    assert run("process.py", 0, 1, "--run", name).returncode == 0
    assert run("plan.py", 2, "--run", name).stdout == "[0]\n"
    assert run("merge.py", 1, "--run", name, "--clean").returncode == 0
    assert run("process.py", 0, 1, AGGREGATION_RUN="").returncode == 0
    assert (root / "l2/0.txt").read_bytes() == b"ab"
    assert leftovers(root) == []


def test_clean_needs_a_run(run: Script, root: Path) -> None:
    """Without a run there is no folder that could be removed."""
    write_level(root, 1, [b"a", b"b"])
    for arguments, variables in ((["--clean"], {}), ([], {"AGGREGATION_CLEAN": "1"})):
        outcome = run("merge.py", 2, *arguments, **variables)
        assert (outcome.returncode, outcome.stdout) == (2, "")
        assert "--run" in outcome.stderr
