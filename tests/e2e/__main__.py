"""The manifests on a real cluster: each is submitted, and its phase, progress and result are looked at.

    python tests/e2e [--image ...] [--storage-class ...] [--keep]

It needs kubectl with a context whose cluster runs Argo Workflows, and the image where the nodes find it. What
it makes is in a namespace of its own, or carries a label in one that exists; all of it is removed at the end,
also after Ctrl-C.
"""

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

if not __package__:  # started by its path: Python has put this folder first instead of its parent
    tests = Path(__file__).resolve().parent.parent
    sys.path[:1] = [str(tests), str(tests / "support")]

from e2e.buckets import OSS
from e2e.cases import CASES, FIRST, Case, to_the_workers
from e2e.cluster import Cluster, E2EError, SkippedError
from e2e.faults import FAULTS

ALL = [*CASES, *FAULTS, OSS]
NOT_TRIED = {"volume.yaml": "its driver needs a bucket: the claim here is this script's own"}
WIDTH = max(len(case.name) for case in ALL)


def say(line: str) -> None:
    """A line, at once."""
    print(line, flush=True)


def row(outcome: str, name: str, seen: str, seconds: float | None = None) -> None:
    """A row of the table."""
    time_taken = "" if seconds is None else f"{seconds:.0f} s"
    say(f"{outcome:<7} {name:<{WIDTH}} {time_taken:>6}  {seen}")


def run(cluster: Cluster, wanted: list[str]) -> int:
    """Try the cases one after the other, a row each; how many failed."""
    counts = dict.fromkeys(("ok", "FAIL", "skip"), 0)
    row("OUTCOME", "CASE", "SAW", None)
    for case in ALL:
        if wanted and case.name not in wanted and case is not FIRST:
            continue
        if case is FIRST:
            to_the_workers(cluster)
        outcome = _try(cluster, case)
        counts[outcome] += 1
        if case is FIRST and outcome == "FAIL":
            say("        without its files nothing else can run")
            break
    for name, reason in NOT_TRIED.items():
        row("skip", name, reason)
        counts["skip"] += 1
    say(f"{counts['ok']} right, {counts['FAIL']} failed, {counts['skip']} not tried")
    return counts["FAIL"]


def _try(cluster: Cluster, case: Case) -> str:
    started = time.monotonic()
    try:
        outcome, seen = "ok", case.check(cluster)
    except SkippedError as error:
        outcome, seen = "skip", str(error)
    except E2EError as error:
        outcome, seen = "FAIL", str(error)
    row(outcome, case.name, seen, None if outcome == "skip" else time.monotonic() - started)
    return outcome


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="tests/e2e",
        description="Run the manifests, and faults, on a real cluster and look at what comes of them.",
        epilog="Exit codes: 0 all right, 1 a check failed, 2 it could not run or not all could be removed.",
    )
    parser.add_argument("--context", help="the kube context (default: the current one)")
    parser.add_argument(
        "--namespace",
        help="default: a new one, removed at the end. If the controller watches one only, name that",
    )
    parser.add_argument("--image", help="the worker's image (default: what the manifests name)")
    parser.add_argument(
        "--storage-class",
        help="a class that makes ReadWriteMany volumes (default: a folder of the node; one node only)",
    )
    parser.add_argument("--oss-bucket", help="also run without a volume, in this bucket")
    parser.add_argument(
        "--oss-endpoint",
        help="its endpoint, as pods see it; keys: OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET",
    )
    parser.add_argument("--oss-region", default="", help="its region: requests are then signed by V4")
    parser.add_argument("--timeout", type=float, default=600, help="seconds that a workflow may take (600)")
    parser.add_argument("--interval", type=float, default=2, help="seconds between two looks (2)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="CASE",
        choices=[case.name for case in ALL],
        help="run this one, after prepare-data.yaml; a name as the table shows it; may be repeated",
    )
    parser.add_argument("--keep", action="store_true", help="remove nothing, to look at it")
    return parser.parse_args(arguments)


def _interrupt(signum: int, _: FrameType | None) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # nothing disturbs the clean-up
    say(f"{signal.Signals(signum).name}: removing what was made")
    raise SystemExit(128 + signum)


def main(arguments: list[str]) -> int:
    """Prepare, check, remove."""
    options = parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        cluster = Cluster(options)
    except E2EError as error:
        say(f"error: {error}")
        return 2
    left: list[str] = []
    try:
        say(f"context {cluster.context()}, namespace {cluster.namespace}")
        cluster.prepare()
        exit_code = 1 if run(cluster, options.only) else 0
    except E2EError as error:
        say(f"error: {error}")
        exit_code = 2
    finally:
        if options.keep:
            say(f"kept: namespace {cluster.namespace}; remove it, and the volume of that name, yourself")
        else:
            left = cluster.remove()
            for line in left:
                say(f"error: could not remove {line}")
    return 2 if left else exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
