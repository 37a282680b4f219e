#!/usr/bin/env python3
"""Joins the files of the last level into the result."""

from contextlib import nullcontext

from aggregation import steps
from aggregation.command_line import entry, options, parameters
from aggregation.command_line.job import Job
from aggregation.errors import MissingInputError, WrongUsageError


@options.command(
    """Join files 0 to N-1 of the last level, in that order, into the result.

    The script finds the last level by itself: the one level that holds exactly files 0 to N-1 and no file N.
    The result appears whole or not at all, and running the same command again gives the same bytes.
    """
)
@options.argument("n", type=parameters.COUNT)
@options.option(
    "--level",
    type=parameters.NUMBER,
    metavar="L",
    help="Take files 0 to N-1 of this level instead of looking for the last one; level 1 may hold no more.",
)
@options.inputs_option
@options.partial_option
@options.option("--clean", is_flag=True, help="Remove the folder of --run once the result is there.")
@options.output_option
@options.command_option
@options.command_settings
@options.job
def merge(
    job: Job,
    n: int,
    level: int | None,
    inputs: str | None,
    output: str | None,
    command: tuple[str, ...] | None,
    scratch: str | None,
    *,
    allow_empty: bool,
    partial: bool,
    clean: bool,
) -> None:
    """Parse, call, report; then clean up."""
    if clean and not job.layout.run:
        raise WrongUsageError(
            "--clean", "it removes the folder of a run, and none is named", "add --run NAME"
        )
    output = output or job.layout.result()
    try:
        given = job.inputs(inputs)
        with given.accounted(job.storage, output) if given else nullcontext():
            done = steps.merge(
                job.storage,
                job.layout,
                n,
                level=level,
                output=output,
                partial=partial,
                checksum=job.checksum,
                command=job.command(command, allow_empty=allow_empty, scratch=scratch),
            )
        if given:
            done = done._replace(missing=given.inputs.missing)
    except MissingInputError:
        if not clean or (earlier := job.merged_before(output, has_list=inputs is not None)) is None:
            raise
        done = earlier
    job.report(done)
    if clean:
        job.clean(job.layout)


if __name__ == "__main__":
    entry.main(merge)
