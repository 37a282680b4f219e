"""Breaks the worker line by line and runs the tests that must notice: `make mutants`.

Each line is broken in a copy of what is committed or changed here, never in the checkout. A mutant whose
tests all pass has survived, and the exit code is 1. `MUTANTS=word` picks those with the word in their name.
"""

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mutants.catalogue import Mutant, mutants

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SECONDS_MAX = 300
"""For the tests of a mutant: one that hangs has been noticed."""

FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


class Verdict(NamedTuple):
    """What became of a mutant."""

    mutant: Mutant
    by: str
    """The first test that failed; empty for a survivor."""
    seconds: float


def copy(folder: Path) -> None:
    """Copy what git knows of this checkout, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (REPOSITORY / name).is_file() and not name.startswith(".venv"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)


def run(tree: Path, tests: list[str], *options: str, seconds: float | None = None) -> tuple[int, str]:
    """Run tests in a copy, to the first that fails; returns pytest's exit code and what it printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly"]
    variables = {
        name: value for name, value in os.environ.items() if name not in ("REQUIRE_PARTS", "PYTEST_ADDOPTS")
    }
    try:
        done = subprocess.run(
            [*command, *options, *(f"tests/{test}" for test in tests)],
            cwd=tree,
            env=variables | {"PYTHONDONTWRITEBYTECODE": "1"},  # a .pyc knows a change by size and second only
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, "FAILED (it hangs)"
    return done.returncode, done.stdout


def judge(tree: Path, mutant: Mutant) -> Verdict:
    """Break the line in a copy, run its tests, and mend it."""
    started = time.monotonic()
    path = mutant.place(tree / "worker")
    before = path.read_text(encoding="utf-8")
    path.write_text(mutant.changed(before), encoding="utf-8")
    try:
        code, printed = run(tree, list(mutant.tests), seconds=SECONDS_MAX)
    finally:
        path.write_text(before, encoding="utf-8")
    if code not in (0, 1):
        raise RuntimeError(f"{mutant.name}: pytest ended with {code}:\n{printed}")
    found = FAILED.search(printed)
    by = (found[1] if found else "?") if code else ""
    return Verdict(mutant, by, time.monotonic() - started)


def main() -> int:
    """Judge all, a line each; the exit code is 1 if one survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants whose name has one of these words in it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="copies at work side by side")
    given = parser.parse_args()
    chosen = [one for one in mutants() if not given.words or any(word in one.name for word in given.words)]
    if not chosen:
        parser.error("no mutant has such a name")
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(given.jobs):
            copy(Path(scratch) / str(number))
            trees.put(Path(scratch) / str(number))
        first = trees.get()
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        side_by_side = ["-n", str(given.jobs), "--dist", "loadgroup"] if given.jobs > 1 else []
        code, printed = run(first, tests, *side_by_side)
        trees.put(first)
        if code:
            print(printed[-3000:], "\nmutants: the tests fail before anything is broken", file=sys.stderr)
            return 1

        def work(mutant: Mutant) -> Verdict:
            tree = trees.get()
            try:
                verdict = judge(tree, mutant)
            finally:
                trees.put(tree)
            said = f"by {verdict.by}" if verdict.by else "SURVIVED"
            print(f"{verdict.seconds:5.1f} s  {mutant.name}: {said}", flush=True)
            return verdict

        with ThreadPoolExecutor(given.jobs) as pool:
            verdicts = list(pool.map(work, chosen))
    survivors = [verdict for verdict in verdicts if not verdict.by]
    print(f"{len(verdicts)} lines broken, {len(survivors)} not noticed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
