#!/usr/bin/env python3
"""Prints the groups of a level, for a workflow that fans out over them."""

import json

from aggregation import levels, tree
from aggregation.command_line import entry, options, parameters
from aggregation.command_line.console import console
from aggregation.command_line.job import Job
from aggregation.errors import WrongUsageError

RESULT_MAX = 256_000
"""Bytes of a step's output (outputs.result) that Argo keeps: the last 256 kB, so a longer list loses its
start."""


@options.command(
    """Print the numbers of LEVEL's groups as a JSON list, [0,1,2]: a file number of process.py each.

    The files are counted, unless --files says how many there are. Argo's withParam takes the list from
    stdout, which holds nothing else. A list that Argo would cut short, over 256 kB, is refused: raise
    --fan-in, or use the template aggregation.yaml, which needs no list.
    """
)
@options.argument("level", type=parameters.NUMBER)
@options.option(
    "--files",
    type=parameters.COUNT,
    metavar="N",
    show_default="what LEVEL holds",
    help="How many files LEVEL holds.",
)
@options.inputs_option
@options.fan_in_option
@options.job
def plan(job: Job, level: int, files: int | None, inputs: str | None, fan_in: int) -> None:
    """Count, print."""
    if level == 1 and files is None:
        job.inputs(inputs)
    if files is None:
        files = levels.count_files(job.storage, job.layout, level)
    groups = tree.group_count(files, fan_in)
    text = json.dumps(list(range(min(groups, RESULT_MAX))), separators=(",", ":"))
    if len(text) > RESULT_MAX:
        raise WrongUsageError(
            f"planning {groups} groups of l{level}",
            f"their list has more than the {RESULT_MAX} bytes that Argo keeps of an output",
            "raise --fan-in, or use aggregation.yaml",
        )
    console.print([text], needed=True)
    job.summarise({"step": "plan", "level": level, "files": files, "fan_in": fan_in, "groups": groups})


if __name__ == "__main__":
    entry.main(plan)
