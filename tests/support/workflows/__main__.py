"""Show the worker's commands that a manifest's pods would run, stage by stage, without a cluster.

python tests/support/workflows manifests/process-data.yaml -p numbers=50
"""

import argparse
import sys
from pathlib import Path

if not __package__:  # started by its path
    TESTS = Path(__file__).resolve().parent.parent.parent
    sys.path[:1] = [str(TESTS.parent / "worker"), str(TESTS), str(TESTS / "support")]

from workflows.catalogue import LIBRARY
from workflows.documents import load
from workflows.expansion import expand
from workflows.parameters import ManifestError
from workflows.pods import Stage

_SHOWN = 2
"""Commands of a stage that are shown at its beginning and at its end; --all shows each."""


def main() -> int:
    """Print the commands; returns the exit code."""
    parser = argparse.ArgumentParser(prog="workflows", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("manifest", type=Path, help="a workflow or a template of manifests/")
    parser.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--all", action="store_true", help="every command of a wide stage")
    given = parser.parse_args()
    try:
        parameters = dict(each.split("=", 1) for each in given.parameter)
        document = load(given.manifest)[0]
        stages = list(expand(document, LIBRARY, parameters, name="a-workflow"))
    except (ManifestError, OSError, ValueError) as error:
        print(f"workflows: error: expanding {given.manifest}: {error}", file=sys.stderr)
        return 2
    for number, stage in enumerate((stage for stage in stages if stage.pods), start=1):
        print(f"stage {number}: {len(stage.pods)} pod{'s' if len(stage.pods) > 1 else ''}")
        print("\n".join(f"  {line}" for line in _lines(stage, every=given.all)))
    return 0


def _lines(stage: Stage, *, every: bool) -> list[str]:
    commands = [" ".join(pod.command) for pod in stage.pods]
    if every or len(commands) <= 2 * _SHOWN + 1:
        return commands
    left_out = len(commands) - 2 * _SHOWN
    return [*commands[:_SHOWN], f"... {left_out} more", *commands[-_SHOWN:]]


if __name__ == "__main__":
    sys.exit(main())
