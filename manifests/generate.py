#!/usr/bin/env python3
"""Writes the workflow for a shape that the other manifests cannot hold, with Hera, Argo's SDK for Python.

One workflow where that is small enough, else a workflow of workflows. Templates, retries, security and limits
come from process-data.yaml and process-data-oss.yaml: here is only what depends on the shape.
"""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click  # noqa: TID251 - a script, as those of the worker are

sys.path.append(str(Path(__file__).resolve().parent.parent))
sys.path.append(str(Path(__file__).resolve().parent.parent / "worker"))

from aggregation.command_line import entry
from aggregation.command_line.console import console
from aggregation.command_line.outlook import outlook_options
from aggregation.command_line.parameters import COUNT, FAN_IN, NUMBER
from manifests.shapes.documents import build
from manifests.shapes.dry_run import show
from manifests.shapes.inputs import input_options
from manifests.shapes.manifest import comment, stream
from manifests.shapes.options import BASES, PARALLELISM, Options
from manifests.shapes.plan import FINAL_WIDTH, PODS_PER_WORKFLOW
from manifests.shapes.submission import submit

CHILDREN_AT_A_TIME = 4
START_OF_A_NAME_MAX = 30
"""A workflow's name may have 63 characters, and the children's starts with the parent's, each made unique."""

_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?", re.ASCII)
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
_UNSAFE = re.compile(r"""['"\\{}\x00-\x1f]""")


# Types of options: click shows each function's name as the value's, unless the option has a metavar.


def resource(value: str) -> tuple[str, str]:
    """LEVEL=VALUE: a level's number or `merge`, and a quantity as Kubernetes writes it.

    Whether there is such a level is known later.
    """
    level, _, quantity = value.partition("=")
    if not (level == "merge" or (level.isascii() and level.isdigit())):
        raise click.BadParameter(f"{value!r} is not LEVEL=VALUE, with a level's number or 'merge'.")
    if not _QUANTITY.fullmatch(quantity):
        raise click.BadParameter(f"{quantity!r} is no quantity, such as 512Mi, 2Gi, 500m or 2.")
    return level, quantity


def text(value: str) -> str:
    """Text that is safe in a manifest within a manifest: it ends no quotes and starts no tag of Argo's."""
    if not value or _UNSAFE.search(value):
        raise click.BadParameter(f"{value!r} is empty or has a quote, a brace, a backslash or a line's end.")
    return value


def name(value: str, longest: int = 63) -> str:
    """A name that the API server of Kubernetes takes."""
    if len(value) > longest or not _NAME.fullmatch(value):
        raise click.BadParameter(
            f"{value!r} is not 1 to {longest} small letters and digits, with hyphens between."
        )
    return value


def start_of_a_name(value: str) -> str:
    """What a generated name begins with."""
    return name(value, START_OF_A_NAME_MAX)


option = click.option


@click.command(
    context_settings={
        "show_default": True,
        "max_content_width": 100,
        "help_option_names": ["-h", "--help"],
    },
    epilog="\b\nExamples:\n"
    "  generate.py --files 512 --levels 5 > run.yaml && argo submit -n argo run.yaml --watch\n"
    "  generate.py --files 100000 --fan-in 16 --dry-run --size 1000000\n"
    "  generate.py --frames 1-240 --frame-name 'shot7_{number:04}.exr' --missing skip > run.yaml\n"
    "  generate.py --files 1000 --fan-in 4 --memory 3=512Mi --memory merge=2Gi --cpu merge=2 > run.yaml\n"
    "  ARGO_SERVER=https://argo:2746 ARGO_TOKEN=… generate.py --files 512 --store oss --bucket B --submit",
)
@option("--files", type=COUNT, metavar="N", help="How many files level 1 holds.")
@input_options
@option(
    "--fan-in",
    type=FAN_IN,
    default=2,
    metavar="K",
    help="How many files a pod joins into one file.",
)
@option(
    "--levels",
    type=NUMBER,
    metavar="L",
    help="How many times to reduce before the final merge; 0 merges level 1 at once.",
)
@option(
    "--final-width",
    type=COUNT,
    metavar="W",
    show_default=str(FINAL_WIDTH),
    help="Instead of --levels: reduce until at most W files are left, which one pod merges.",
)
@option(
    "--store",
    type=click.Choice(list(BASES)),
    default="volume",
    help="Where the files are: on the volume of the claim pvc-oss, or in a bucket, without a volume.",
)
@option(
    "--dir",
    "directory",
    type=text,
    show_default="aggregation-demo",
    help="The directory on the volume, or the prefix in the bucket.",
)
@option("--bucket", type=text, help="With --store oss: the bucket. Without it the settings say it, or -p.")
@option("--endpoint", type=text, help="With --store oss: the endpoint, such as https://oss-….aliyuncs.com.")
@option("--region", type=text, help="With --store oss: the bucket's region.")
@option("--secret", type=text, help="With --store oss: the Secret with the keys akId and akSecret.")
@option("--image", type=text, show_default="the tutorial's", help="The worker's image.")
@option(
    "--namespace",
    default="argo",
    type=name,
    envvar="ARGO_NAMESPACE",
    show_envvar=True,
    help="Where to run.",
)
@option(
    "--name",
    default="aggregate",
    type=start_of_a_name,
    metavar="NAME",
    help="The start of the workflow's generated name.",
)
@option("--service-account", type=name, show_default="aggregation", help="The account of the workers' pods.")
@option(
    "--memory",
    type=resource,
    multiple=True,
    metavar="LEVEL=VALUE",
    help="What a pod of a level (a number, or `merge`) gets and may use: 3=512Mi. May be repeated.",
)
@option(
    "--cpu",
    type=resource,
    multiple=True,
    metavar="LEVEL=VALUE",
    help="The same for processors: merge=2.",
)
@option(
    "--parallelism",
    type=COUNT,
    metavar="P",
    show_default=str(PARALLELISM),
    help="How many pods of a workflow run at a time.",
)
@option(
    "--pods-per-workflow",
    type=COUNT,
    default=PODS_PER_WORKFLOW,
    metavar="P",
    help="A run of more pods becomes a parent and child workflows of at most so many pods each.",
)
@option(
    "--children",
    type=COUNT,
    default=CHILDREN_AT_A_TIME,
    metavar="C",
    help="How many child workflows run at a time, if there are any.",
)
@option(
    "--dry-run",
    is_flag=True,
    help="Print pods, bytes moved, nodes, and on OSS requests and time; warn past Argo's limits. No YAML.",
)
@outlook_options
@option("--submit", is_flag=True, help="Send it to an Argo server instead of printing YAML.")
@option(
    "--server",
    envvar="ARGO_SERVER",
    show_envvar=True,
    help="With --submit: the server, https:// if nothing else is said. Its token comes from ARGO_TOKEN.",
)
def generate(**given: Any) -> None:
    """Write an Argo workflow that reduces any number of files: YAML on stdout.

    The files 0.txt … N-1.txt of level 1 are joined K at a time, level by level, each group by a pod, and what
    is left is merged into result.txt. A run of more pods than one workflow should hold becomes a parent that
    runs child workflows, level after level.
    """
    inputs = given.pop("inputs")
    inputs.check()
    files = given.pop("files") or inputs.known()
    if files is None:
        raise click.UsageError("Missing option '--files'.")
    options = Options(files=files, inputs=inputs, **given)
    _check(options)
    if options.foreseen.is_auto:
        (_, fan_in, levels), why = options.foreseen.choose(
            files, options.outlook(), "fan_in", "levels", "final_width", by_command=False
        )
        click.echo(f"generate.py: shape: {why}", err=True)
        options = replace(options, fan_in=fan_in, levels=levels)
    plan = options.plan()
    documents = build(plan, options)
    if options.dry_run:
        console.print(show(plan, options.outlook(options.at_a_time(plan))))
        return
    for warning in plan.warnings():
        click.echo(f"generate.py: warning: {warning}", err=True)
    if options.server is not None and options.submit:
        made = submit(documents, options.server)
        console.print([f"{made} is submitted; watch it with: argo watch -n {options.namespace} {made}"])
    else:
        console.print([stream(documents, comment(plan, options, sys.argv[1:]))])


def _check(options: Options) -> None:
    """Raise click.UsageError for options that do not go together."""
    if options.levels is not None and options.final_width is not None:
        raise click.UsageError("--levels and --final-width say the same thing: give one of them.")
    if options.foreseen.size is not None and not (options.dry_run or options.foreseen.is_auto):
        raise click.UsageError("--size is for --dry-run and --shape auto.")
    if options.submit and options.dry_run:
        raise click.UsageError("--dry-run submits nothing: give one of --dry-run and --submit.")
    if options.submit and options.server is None:
        raise click.UsageError("--submit needs the server's address: set ARGO_SERVER or give --server.")


if __name__ == "__main__":
    entry.main(generate)
