"""`python tests/benchmarks [CASE...]`: measure, print, and keep the figures."""

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

if not __package__:  # started by its path: Python has put this folder first instead of its parent
    tests = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(tests), str(tests.parent / "worker")]

from benchmarks import report, runner
from benchmarks.case import HERE, Family, Options, SkippedError
from benchmarks.shapes import shapes
from benchmarks.startup import startup
from benchmarks.stores import oss
from benchmarks.volumes import concat, merge, mount, reflink, trees

FAMILIES: dict[str, Family] = {
    "startup": startup,
    "concat": concat,
    "merge": merge,
    "trees": trees,
    "shapes": shapes,
    "reflink": reflink,
    "oss": oss,
    "mount": mount,
}
IMAGE = "serverlessargo-registry.cn-hangzhou.cr.aliyuncs.com/argo-workflow-examples/python:3.11-amd"


def main() -> None:
    """Run the families that were asked for; a missed target is a figure, no failure."""
    parser = argparse.ArgumentParser(
        prog="benchmarks", description="What the worker costs beside its rivals."
    )
    parser.add_argument("family", nargs="*", metavar="CASE", help=f"{', '.join(FAMILIES)} (all)")
    parser.add_argument("--quick", action="store_true", help="smaller data, fewer rounds: under two minutes")
    parser.add_argument("--rounds", type=int, help="rounds of each case, instead of its own number")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw SVGs; needs matplotlib")
    parser.add_argument("--worker", type=Path, default=HERE.parent.parent / "worker", help="other scripts")
    parser.add_argument("--image", default=os.environ.get("IMAGE", IMAGE), help="for start-up in the image")
    parser.add_argument("--folder", type=Path, help="where temporary data goes: the disk to measure")
    arguments = parser.parse_args()
    if unknown := set(arguments.family) - set(FAMILIES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which cleans up, as Ctrl-C does
    outcomes: list[runner.Outcome] = []
    verdicts: list[runner.Verdict] = []
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=arguments.folder) as name:
        folder = Path(name)
        machine = report.machine(folder)
        print(", ".join(f"{key} {value}" for key, value in machine.items()), end="\n\n", flush=True)
        options = Options(
            arguments.quick, arguments.rounds, arguments.worker.resolve(), arguments.image, folder
        )
        for family in arguments.family or FAMILIES:
            cases = FAMILIES[family](options)
            try:
                for case in cases:
                    outcome = runner.run(case, options.rounds or case.rounds, _tell)
                    outcomes.append(outcome)
                    verdicts += runner.judge(outcome)
                    _tell("")
                    print("\n".join(report.table(outcome)), flush=True)
            except SkippedError as reason:
                skipped[family] = str(reason)
                print(f"{family}: skipped: {reason}\n", flush=True)
            finally:
                cases.close()  # cleans up, on Ctrl-C too
    for verdict in verdicts:
        print(report.verdict_line(verdict))
    if arguments.json:
        found = report.as_json(outcomes, verdicts, skipped, machine)
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.plots:
        from benchmarks import plots  # noqa: PLC0415 - only plots need matplotlib

        for path in plots.draw(outcomes, arguments.plots):
            print(f"drawn: {path}")


def _tell(what: str) -> None:
    """What is going on, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
