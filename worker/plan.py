#!/usr/bin/env python3
"""Prints the groups of a level, for a workflow that fans out over them."""

import json

from aggregation import levels, tree
from aggregation.command_line import entry, options, parameters
from aggregation.command_line.console import console
from aggregation.command_line.job import Job
from aggregation.command_line.outlook import Foreseen, outlook_options
from aggregation.dry_run import line
from aggregation.errors import WrongUsageError
from aggregation.shape import Shape

RESULT_MAX = 256_000
"""Bytes of a step's output (outputs.result) that Argo keeps: the last 256 kB, so a longer list loses its
start."""


@options.command(
    """Print the numbers of LEVEL's groups as a JSON list, [0,1,2]: a file number of process.py each.

    The files are counted, unless --files says how many there are. Argo's withParam takes the list from
    stdout, which holds nothing else. A list that Argo would cut short, over 256 kB, is refused: raise
    --fan-in, or use the template aggregation.yaml, which needs no list. On OSS stderr says what the groups
    will ask for. With --shape auto the list is empty where one merge takes the whole level, and the summary
    says the fan-in.
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
@outlook_options
@options.option(
    "--parallelism",
    type=parameters.COUNT,
    default=16,
    metavar="P",
    help="How many pods run at a time, for what is foreseen.",
)
@options.job
def plan(
    job: Job,
    level: int,
    files: int | None,
    inputs: str | None,
    fan_in: int,
    foreseen: Foreseen,
    parallelism: int,
) -> None:
    """Count, choose, print."""
    given = job.inputs(inputs) if level == 1 and files is None else None
    on_oss = job.root.protocol == "oss"
    size = None
    if files is None:
        files = levels.count_files(job.storage, job.layout, level)
        if on_oss and foreseen.size is None:
            held = given.entries(job.storage) if given else job.storage.entries(job.layout.folder(level))
            size = sum(entry.size for entry in held) / files
    outlook = foreseen.outlook(size, on_oss=on_oss, at_a_time=parallelism)
    shape = Shape(files, fan_in, 1)
    if foreseen.is_auto:
        shape, why = foreseen.choose(files, outlook, "fan_in", by_command=False)
        console.aside(f"shape: {why}")
    for what in line(shape._replace(levels=min(shape.levels, 1)), outlook):
        console.aside(what)
    groups = tree.group_count(files, shape.fan_in) if shape.levels else 0
    text = json.dumps(list(range(min(groups, RESULT_MAX))), separators=(",", ":"))
    if len(text) > RESULT_MAX:
        raise WrongUsageError(
            f"planning {groups} groups of l{level}",
            f"their list has more than the {RESULT_MAX} bytes that Argo keeps of an output",
            "raise --fan-in, or use aggregation.yaml",
        )
    console.print([text], needed=True)
    job.summarise({"step": "plan", "level": level, "files": files, "fan_in": shape.fan_in, "groups": groups})


if __name__ == "__main__":
    entry.main(plan)
