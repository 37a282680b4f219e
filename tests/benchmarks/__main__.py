"""`python tests/benchmarks [CASE...]`: measure, print, and keep the figures."""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if not __package__:  # started by its path: Python has put this folder first instead of its parent
    tests = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(tests), str(tests / "support"), str(tests.parent / "worker")]

from benchmarks import plots, report, runner
from benchmarks.case import HERE, Family, Options, SkippedError
from benchmarks.growth import growth
from benchmarks.limits import limits
from benchmarks.mounts import mount, reflink, s3fs
from benchmarks.shapes import shapes
from benchmarks.startup import startup
from benchmarks.stores import oss
from benchmarks.volumes import concat, merge, trees

FAMILIES: dict[str, Family] = {
    "startup": startup,
    "concat": concat,
    "merge": merge,
    "trees": trees,
    "shapes": shapes,
    "reflink": reflink,
    "oss": oss,
    "mount": mount,
    "s3fs": s3fs,
    "growth": growth,
    "limits": limits,
}
IMAGE = "serverlessargo-registry.cn-hangzhou.cr.aliyuncs.com/argo-workflow-examples/python:3.11-amd"


def main() -> None:
    """Run the families that were asked for; a missed target is a figure, no failure."""
    parser = argparse.ArgumentParser(
        prog="benchmarks", description="What the worker costs beside its rivals."
    )
    parser.add_argument("family", nargs="*", metavar="CASE", help=f"{', '.join(FAMILIES)} (all)")
    parser.add_argument("--quick", action="store_true", help="smaller data, fewer rounds: some two minutes")
    parser.add_argument("--rounds", type=int, help="rounds of each case, instead of its own number")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help="where figures (JSON) and pictures (SVG) go: tests/benchmarks/results; if --quick nowhere",
    )
    parser.add_argument("--worker", type=Path, default=HERE.parent.parent / "worker", help="other scripts")
    parser.add_argument("--image", default=os.environ.get("IMAGE", IMAGE), help="for start-up in the image")
    parser.add_argument("--folder", type=Path, help="where temporary data goes: the disk to measure")
    arguments = parser.parse_args()
    if unknown := set(arguments.family) - set(FAMILIES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which cleans up, as Ctrl-C does
    results = arguments.results or (None if arguments.quick else HERE / "results")
    verdicts: list[runner.Verdict] = []
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=arguments.folder) as name:
        folder = Path(name)
        machine = report.machine(folder)
        print(", ".join(f"{key} {value}" for key, value in machine.items()), end="\n\n", flush=True)
        options = Options(
            arguments.quick, arguments.rounds, arguments.worker.resolve(), arguments.image, folder
        )
        for family in arguments.family or FAMILIES:
            began = time.monotonic()
            outcomes = _measure(family, options)
            print(f"{family}: {time.monotonic() - began:.0f} s in all\n", flush=True)
            found = [verdict for outcome in outcomes for verdict in runner.judge(outcome)]
            if results and outcomes:
                _keep(results, family, outcomes, found, machine)
            verdicts += found
    for verdict in verdicts:
        print(report.verdict_line(verdict))


def _measure(family: str, options: Options) -> list[runner.Outcome]:
    """Run a family's cases, and print what came of each."""
    outcomes = []
    cases = FAMILIES[family](options)
    try:
        for case in cases:
            outcomes.append(runner.run(case, options.rounds or case.rounds, _tell))
            _tell("")
            print("\n".join(report.table(outcomes[-1])), flush=True)
    except SkippedError as reason:
        print(f"{family}: skipped: {reason}\n", flush=True)
    finally:
        cases.close()  # cleans up, on Ctrl-C too
    return outcomes


def _keep(
    results: Path,
    family: str,
    outcomes: list[runner.Outcome],
    verdicts: list[runner.Verdict],
    machine: dict[str, Any],
) -> None:
    """Write `family`.json and draw `family`.svg."""
    results.mkdir(parents=True, exist_ok=True)
    figures = report.as_json(outcomes, verdicts, machine)
    (results / f"{family}.json").write_text(report.as_text(figures))
    (results / f"{family}.svg").write_text(plots.drawing(figures))


def _tell(what: str) -> None:
    """What is going on, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
