#!/usr/bin/env python3
"""Joins the files of the last level into the result."""

import click

from aggregation import cli, entry, steps


@cli.command(
    """Join files 0 to N-1 of the last level, in that order, into the result.

    The last level is found by itself: the one level that holds exactly files 0 to N-1 and no file N. The
    result appears whole or not at all, and running the same command again gives the same bytes.
    """
)
@click.argument("n", type=cli.COUNT)
@cli.option(
    "--level",
    type=cli.NUMBER,
    envvar="AGGREGATION_LEVEL",
    metavar="L",
    help="Take files 0 to N-1 of this level, whatever else it holds, instead of looking for the last one.",
)
@cli.output_option
@cli.command_option
@cli.command_settings
@cli.job
def merge(
    job: cli.Job,
    n: int,
    level: int | None,
    output: str | None,
    command: tuple[str, ...] | None,
    scratch: str | None,
    *,
    allow_empty: bool,
) -> None:
    """Parse, call, report."""
    job.report(
        steps.merge(
            job.storage,
            job.layout,
            n,
            level=level,
            output=output or job.layout.result(),
            checksum=job.checksum,
            command=job.command(command, allow_empty=allow_empty, scratch=scratch),
        )
    )


if __name__ == "__main__":
    entry.main(merge)
