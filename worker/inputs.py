#!/usr/bin/env python3
"""Makes the list of a run's inputs, where they have other names than level 1's numbers."""

from aggregation.command_line import entry, options, parameters
from aggregation.command_line.console import console
from aggregation.command_line.job import Job
from aggregation.command_line.planning import Wanted, said
from aggregation.command_line.planning_options import planning_options, workers_option
from aggregation.inputs import input_list, planning
from aggregation.inputs.frames import describe_frames
from aggregation.layout import INPUTS


@options.command(
    """Make the list of a run's inputs, by one listing, and print how many there are.

    The list goes into the run's folder, or without --run into the root. process.py, merge.py and pipeline.py
    take it by --inputs: level 1 is what it says, in its order. Inputs that are not there are an error that
    says all of them; with --missing the list is made all the same, and missing.json beside it says what it
    lacks.
    """
)
@planning_options
@options.option(
    "--inputs",
    "target",
    type=parameters.Converted("name", parameters.file_name),
    default=INPUTS,
    metavar="NAME",
    help="What the list is called: in the run's folder, or with a '/' a path under the root.",
)
@options.output_option
@workers_option("How many files are checked side by side.")
@options.scratch_option
@options.job
def inputs(
    job: Job, wanted: Wanted, target: str, output: str | None, workers: int, scratch: str | None
) -> None:
    """Plan, write, print."""
    path = input_list.path_of(job.layout, target)
    found = wanted.plan(job, output=output or job.layout.result(), workers=workers, scratch=scratch)
    planning.write(job.storage, path, found)
    for line in said(found):
        console.notice(line)
    count = len(found.inputs.names)
    console.print([str(count)], "printing the count (the list is complete)", needed=True)
    numbers = found.gaps.numbers if found.gaps else ()
    job.summarise(
        {
            "step": "inputs",
            "target": path,
            "files": count,
            "missing": found.inputs.missing,
            "numbers": describe_frames(numbers),
        }
    )


if __name__ == "__main__":
    entry.main(inputs)
