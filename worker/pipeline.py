#!/usr/bin/env python3
"""Runs the whole tree on this machine: prepare, reduce level by level, merge; then shows what was done."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from aggregation import processors, report
from aggregation.command_line import entry, options, parameters
from aggregation.command_line.console import console, speaks_unicode
from aggregation.command_line.job import Job
from aggregation.errors import WrongUsageError
from aggregation.levels import count_files
from aggregation.progress import ArgoProgress
from aggregation.runner import Run
from aggregation.shape import Shape

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

_FIRST_BYTES = 64

LEVELS_MAX = 1000
"""More than any tree needs: 100 digits of files with a fan-in of 2 take 333."""

LETTERS_MAX = 9_999_999
"""As prepare.py has it."""


@options.command(
    """Run the whole tree on this machine: what the workflow does with pods, in one process.

    The files of level 1 are reduced level by level, with a progress bar on a terminal and lines elsewhere,
    and merged into the result; then the tree of steps and the start of the result are shown. Each run has a
    folder of its own, which goes when the result is there. A run that was killed is taken up again with
    --resume, which redoes only what is missing or was made of other inputs.
    """
)
@options.option(
    "--files",
    type=parameters.COUNT,
    envvar="AGGREGATION_FILES",
    metavar="N",
    show_default="what level 1 holds; 32 with --prepare",
    help="How many files level 1 holds.",
)
@options.option(
    "--levels",
    type=parameters.Number(most=LEVELS_MAX),
    default=2,
    envvar="AGGREGATION_LEVELS",
    metavar="L",
    help="How many times to reduce before the final merge; 0 merges level 1 at once.",
)
@options.fan_in_option
@options.option(
    "--workers",
    type=parameters.COUNT,
    default=processors.available,
    envvar="AGGREGATION_WORKERS",
    metavar="W",
    show_default="the processors that it may use",
    help="How many merges run side by side.",
)
@click.option("--prepare", is_flag=True, help="Make the files of level 1 first, as prepare.py does.")
@click.option("--dry-run", is_flag=True, help="Show the merges, the bytes moved and what a flat merge costs.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the latest interrupted run of the same shape, or with --run; keep what is current.",
)
@options.option(
    "--clean/--keep",
    default=True,
    envvar="AGGREGATION_CLEAN",
    help="Remove the run's folder once the result is there, or keep the levels in it.",
)
@options.partial_option
@options.output_option
@options.command_option
@options.option(
    "--final-command",
    type=parameters.MergeCommand(),
    envvar="AGGREGATION_FINAL_COMMAND",
    metavar="COMMAND",
    show_default="--command",
    help="Make the result by this program, if another one makes the levels.",
)
@options.command_settings
@options.job
def pipeline(
    job: Job,
    files: int | None,
    levels: int,
    fan_in: int,
    workers: int,
    output: str | None,
    command: tuple[str, ...] | None,
    final_command: tuple[str, ...] | None,
    scratch: str | None,
    *,
    allow_empty: bool,
    prepare: bool,
    dry_run: bool,
    resume: bool,
    clean: bool,
    partial: bool,
) -> None:
    """Parse, run, show."""
    started = time.perf_counter()
    output = output or job.layout.result()
    by_command = job.command(command, allow_empty=allow_empty, scratch=scratch)
    by_final = job.command(final_command, allow_empty=allow_empty, scratch=scratch) or by_command
    size = None
    if files is None:
        files = 32 if prepare else count_files(job.storage, job.layout, 1)
        if dry_run and not prepare:
            size = sum(entry.size for entry in job.storage.entries(job.layout.folder(1)))
    shape = Shape(files, fan_in, levels)
    if prepare and files > LETTERS_MAX:
        raise WrongUsageError(f"preparing {files} letters", f"{LETTERS_MAX} are the most", "lower --files")
    if dry_run:
        console.print(report.plan_lines(shape, size))
        return
    with click.progressbar(
        length=1, label="pipeline", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        run = Run(
            job.storage,
            job.layout,
            shape,
            workers=workers,
            output=output,
            command=by_command,
            final_command=by_final,
            checksum=job.checksum,
            watch=_watch(bar),
        )
        done = run.execute(prepare=prepare, resume=resume, partial=partial)
    job.show(
        report.tree_lines("pipeline", run.stages, time.perf_counter() - started, unicode=speaks_unicode())
    )
    job.report(done)
    start = job.storage.read(output, _FIRST_BYTES)
    size = done.written.size
    job.show([f"{job.storage.path(output)}: {size} bytes: {report.first_bytes(start, size)}"])
    if clean:
        job.clean(run.layout, run.mark.note())
    else:
        job.tidy(run.layout, run.forget)


def _watch(bar: "ProgressBar[int]") -> Callable[[Run], None]:
    """What shows how far a run is: a bar on a terminal, lines elsewhere, and Argo's own way in its pods."""
    argo = ArgoProgress.for_this_pod()
    lines = report.StageLines()

    def watch(run: Run) -> None:
        bar.length = max(run.total, 1)
        bar.update(run.done - bar.pos)
        if argo:
            argo.show(run.done, run.total)
        if bar.hidden:
            for line in lines.due(run):
                console.remark(line)

    return watch


if __name__ == "__main__":
    entry.main(pipeline)
