"""What the image says when it is run without a command: what it can do."""

import os
import sys

from aggregation import VERSION
from aggregation.command_line.console import console, open_streams
from aggregation.command_line.entry import leave

from .errors import AggregationError, WrongUsageError

_OVERVIEW = """\
Joins numbered files, level by level, into one result, on a volume or an object store.

  prepare.py [N]               make N (32) files of level 1, each one random capital letter
  process.py FILE_NUMBER LEVEL join a group of files of a level into a file of the next
  merge.py N                   join files 0 to N-1 of the last level into the result
  inputs.py                    list the inputs of a run under the names that they have
  plan.py LEVEL                print the numbers of a level's groups, for a workflow
  pipeline.py                  do all of it on this machine, and show the tree

The files are below a root: --root, else $AGGREGATION_ROOT, else /mnt/vol/aggregation-demo.

  docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/mnt/vol" IMAGE pipeline.py --prepare

Each has --help, with its options, their environment variables and the exit codes; python3 -m aggregation
--version says what is installed.
"""


def _installed() -> list[str]:
    """What runs here, for a report: the worker and its commit, Python, and each package."""
    from importlib.metadata import distributions  # noqa: PLC0415 - 20 ms that nothing else needs

    packages = {f"{found.metadata['Name']} {found.version}" for found in distributions()}
    commit = os.environ.get("AGGREGATION_REVISION") or "unknown"
    python = ".".join(map(str, sys.version_info[:3]))
    return [
        f"aggregation worker {VERSION}",
        f"commit {commit}",
        f"Python {python}",
        *sorted(packages, key=str.lower),
    ]


def main() -> None:
    """Print the overview; with `--version` what is installed."""
    open_streams()
    given = sys.argv[1:]
    try:
        if given == ["--version"]:
            console.print(_installed())
        elif given in ([], ["--help"]):
            console.print([_OVERVIEW.rstrip()])
        else:
            doing = f"python3 -m aggregation {' '.join(given)}"
            raise WrongUsageError(doing, "it knows --version and --help only", "name a script")
    except AggregationError as error:
        console.complain(str(error), error.exit_code)
        leave(error.exit_code)


if __name__ == "__main__":
    main()
