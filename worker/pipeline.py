#!/usr/bin/env python3
"""Runs the whole tree on this machine: prepare, reduce level by level, merge; then shows what was done."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from aggregation import dry_run as plans
from aggregation import report
from aggregation.command_line import entry, options, parameters
from aggregation.command_line.console import console, draws
from aggregation.command_line.depth import Depth, depth_options
from aggregation.command_line.job import Job
from aggregation.command_line.outlook import Foreseen, outlook_options
from aggregation.command_line.planning import Wanted, given_inputs
from aggregation.command_line.planning_options import planning_options, workers_option
from aggregation.errors import WrongUsageError
from aggregation.levels import count_files, see_that_the_list_is_whole
from aggregation.progress import ArgoProgress
from aggregation.runner import Run
from aggregation.shape import Shape
from aggregation.steps import Done

if TYPE_CHECKING:
    from aggregation.inputs.given import GivenInputs

_FIRST_BYTES = 64

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
    metavar="N",
    show_default="what level 1 holds; 32 with --prepare",
    help="How many files level 1 holds.",
)
@depth_options
@options.fan_in_option
@workers_option("How many merges run side by side.")
@planning_options
@options.inputs_option
@click.option("--prepare", is_flag=True, help="Make the files of level 1 first, as prepare.py does.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show the merges, the bytes moved, what a flat merge costs, and on OSS the requests and the time.",
)
@outlook_options
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the latest interrupted run of the same shape, or with --run; keep what is current.",
)
@options.option(
    "--clean/--keep",
    default=True,
    help="Remove the run's folder once the result is there, or keep the levels in it.",
)
@click.option(
    "--all",
    "unfold",
    is_flag=True,
    help="Show each step of the tree, where levels of more than 20 are folded otherwise.",
)
@options.partial_option
@options.output_option
@options.command_option
@options.option(
    "--final-command",
    type=parameters.COMMAND,
    metavar="COMMAND",
    show_default="--command",
    help="Make the result by this program, if another one makes the levels.",
)
@options.command_settings
@options.job
def pipeline(  # noqa: PLR0917 - click passes an option by its name
    job: Job,
    wanted: Wanted,
    foreseen: Foreseen,
    inputs: str | None,
    files: int | None,
    depth: Depth,
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
    unfold: bool,
) -> None:
    """Parse, run, show."""
    started = time.perf_counter()
    output = output or job.layout.result()
    by_command = job.command(command, allow_empty=allow_empty, scratch=scratch)
    by_final = job.command(final_command, allow_empty=allow_empty, scratch=scratch) or by_command
    given = _given(job, wanted, inputs, prepare=prepare, output=output, workers=workers, scratch=scratch)
    shape = _shape(job, files, fan_in, depth, prepare=prepare)
    if dry_run or foreseen.is_auto:
        size = float(prepare) or (None if files else _size(job, given) / shape.files)
        shape = _foresee(job, foreseen, shape, size, workers, by_command=bool(by_final), show=dry_run)
        if dry_run:
            return
    with _watching() as watch:
        run = Run(
            job.storage,
            job.layout,
            shape,
            workers=workers,
            parallel=job.parallel,
            output=output,
            command=by_command,
            final_command=by_final,
            checksum=job.checksum,
            watch=watch,
            inputs=given,
        )
        done = run.execute(prepare=prepare, resume=resume, partial=partial)
    _end(job, run, done, time.perf_counter() - started, unfold=unfold, clean=clean)


def _given(
    job: Job, wanted: Wanted, inputs: str | None, *, prepare: bool, **settings: Any
) -> "GivenInputs | None":
    if prepare:
        wanted.see_that_none_is_given(inputs)
    return given_inputs(job, wanted, inputs, **settings)


def _foresee(
    job: Job,
    foreseen: Foreseen,
    shape: Shape,
    size: float | None,
    workers: int,
    *,
    by_command: bool,
    show: bool,
) -> Shape:
    """The shape, chosen if it is to be; print what is foreseen of it, if that is to be shown."""
    outlook = foreseen.outlook(size, on_oss=job.root.protocol == "oss", at_a_time=workers)
    if foreseen.is_auto:
        shape, why = foreseen.choose(
            shape.files, outlook, "fan_in", "levels", "final_width", by_command=by_command
        )
        console.remark(f"shape: {why}")
    if show:
        if outlook.service:  # a process, which starts once; what a command asks for is not foreseen
            service = None if by_command else outlook.service._replace(start=0.0)
            outlook = outlook._replace(service=service, parallel=job.share)
        console.print(plans.lines(shape, outlook))
    return shape


def _shape(job: Job, files: int | None, fan_in: int, depth: Depth, *, prepare: bool) -> Shape:
    count = _count(job, files, prepare=prepare)
    return Shape(count, fan_in, depth.of(count, fan_in))


def _count(job: Job, files: int | None, *, prepare: bool) -> int:
    """How many files level 1 holds, or is to hold."""
    if files is None:
        return 32 if prepare else count_files(job.storage, job.layout, 1)
    see_that_the_list_is_whole(job.layout, files)
    if prepare and files > LETTERS_MAX:
        raise WrongUsageError(f"preparing {files} letters", f"{LETTERS_MAX} are the most", "lower --files")
    return files


def _size(job: Job, given: "GivenInputs | None") -> int:
    """Bytes of level 1."""
    found = given.entries(job.storage) if given else job.storage.entries(job.layout.folder(1))
    return sum(entry.size for entry in found)


@contextlib.contextmanager
def _watching() -> Iterator[Callable[[Run], None]]:
    """What shows how far a run is: a bar on a terminal, lines elsewhere, and Argo's own way in its pods."""
    argo = ArgoProgress.for_this_pod()
    with _drawing() if draws(sys.stderr) else contextlib.nullcontext(_saying()) as show:

        def watch(run: Run) -> None:
            if argo:
                argo.show(run.done, run.total)
            show(run)

        yield watch


def _drawing() -> contextlib.AbstractContextManager[Callable[[Run], None]]:
    from aggregation import terminal  # noqa: PLC0415 - 30 ms of start-up that only drawing needs

    return terminal.bar()


def _saying() -> Callable[[Run], None]:
    lines = report.StageLines()

    def say(run: Run) -> None:
        for line in lines.due(run):
            console.remark(line)

    return say


def _end(job: Job, run: Run, done: Done, seconds: float, *, unfold: bool, clean: bool) -> None:
    """Show the tree, the summary, and how the result begins; remove what is needed no more."""
    if not console.as_json:
        from aggregation import terminal  # noqa: PLC0415 - as above

        job.show(terminal.tree_lines("pipeline", run.stages, seconds, unfold=unfold))
    job.report(done)
    size = done.written.size
    start = report.first_bytes(job.storage.read(done.target, _FIRST_BYTES), size)
    job.show([f"{job.storage.path(done.target)}: {size} bytes: {start}"])
    if clean:
        job.clean(run.layout, run.mark.note())
    else:
        job.tidy(run.layout, run.forget)


if __name__ == "__main__":
    entry.main(pipeline)
