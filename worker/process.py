#!/usr/bin/env python3
"""Joins a group of files of one level into a file of the next."""

from aggregation import steps
from aggregation.command_line import entry, options, parameters
from aggregation.command_line.job import Job


@options.command(
    """Join a group of files of LEVEL into one file of the next level.

    With a fan-in of 2, files 2n and 2n+1 of level L, joined in that order, become file n of level L+1:
    `process.py 3 1` joins l1/6.txt and l1/7.txt into l2/3.txt. The file appears whole or not at all, and
    running the same command again gives the same bytes.
    """
)
@options.argument("file_number", type=parameters.NUMBER)
@options.argument("level", type=parameters.NUMBER)
@options.fan_in_option
@options.option(
    "--files",
    type=parameters.COUNT,
    metavar="N",
    help="How many files LEVEL holds, so that its last group may be short; with --inputs the list says it. "
    "Without both every group is full.",
)
@options.inputs_option
@options.partial_option
@options.command_option
@options.command_settings
@options.job
def process(
    job: Job,
    file_number: int,
    level: int,
    fan_in: int,
    files: int | None,
    inputs: str | None,
    command: tuple[str, ...] | None,
    scratch: str | None,
    *,
    allow_empty: bool,
    partial: bool,
) -> None:
    """Parse, call, report."""
    if level == 1 or files is None:
        job.inputs(inputs)
    job.report(
        steps.process(
            job.storage,
            job.layout,
            file_number,
            level,
            fan_in=fan_in,
            files=files,
            partial=partial,
            checksum=job.checksum,
            command=job.command(command, allow_empty=allow_empty, scratch=scratch),
        )
    )


if __name__ == "__main__":
    entry.main(process)
