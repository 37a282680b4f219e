#!/usr/bin/env python3
"""Makes the files of level 1 that the tutorial starts from."""

from aggregation import steps
from aggregation.command_line import entry, options, parameters
from aggregation.command_line.job import Job


@options.command(
    """Make N files of level 1, each one random capital letter: something to try the pipeline on.

    Letters that are there already are kept, so that running the command again changes nothing; a file that
    holds anything else is never overwritten.
    """
)
@options.argument("n", type=parameters.Number(least=1, digits=7), default=32)
@options.job
def prepare(job: Job, n: int) -> None:
    """Parse, call, report."""
    job.report(steps.prepare(job.storage, job.layout, n, parallel=job.parallel))


if __name__ == "__main__":
    entry.main(prepare)
