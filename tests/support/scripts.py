"""The worker's scripts as real processes, and the files that they work on."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import machine

SUPPORT = Path(__file__).resolve().parent
REPOSITORY = SUPPORT.parent.parent
WORKER = REPOSITORY / "worker"

Outcome = subprocess.CompletedProcess[str]
Script = Callable[..., Outcome]

MEASURE = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""
"""A program that runs another and prints its exit code and its peak memory in KiB."""


def command(script: str, *arguments: object) -> list[str]:
    """The command line of one of the worker's scripts."""
    return [sys.executable, str(WORKER / script), *map(str, arguments)]


def finished(arguments: Sequence[str | Path], **options: Any) -> Outcome:
    """What came of a program, run to its end with `options` of subprocess.run; two minutes are the most."""
    settings = {"capture_output": True, "text": True, "timeout": 120, **options}
    return subprocess.run(arguments, check=False, **settings)


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without any setting of the worker or of its streams, plus `variables`."""
    ours = ("AGGREGATION_", "OSS_", "ALIBABA_", "ARGO_", "AWS_", "PYTHONUNBUFFERED")
    terminal = ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES")
    return {
        name: value for name, value in os.environ.items() if not name.startswith(ours + terminal)
    } | variables


def runs(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def write_level(root: Path, level: int, contents: Iterable[bytes], suffix: str = ".txt") -> list[Path]:
    """Write a level's files, in the order of `contents`, and return their paths."""
    folder = root / f"l{level}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, content in enumerate(contents):
        path = folder / f"{number}{suffix}"
        path.write_bytes(content)
        paths.append(path)
    return paths


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[None]:
    """Something mounted on a folder for a while; skips where this machine mounts nothing."""
    machine.administration()
    done = finished(["mount", *options, str(place)])
    if done.returncode:
        machine.lacking(f"{shlex.join(['mount', *options])} is refused: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def leftovers(root: Path) -> list[str]:
    """Every hidden or temporary file under the root: what a tidy run leaves none of."""
    return [str(path.relative_to(root)) for path in root.rglob(".*")]
