"""What the scripts take, as their own commands say it: arguments, options, variables, help."""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click

from scripts import REPOSITORY, WORKER

GENERATE = REPOSITORY / "manifests" / "generate.py"
_HELP = ("-h", "--help")


class Option(NamedTuple):
    """An option, as a row of a table says it."""

    names: tuple[str, ...]
    variable: str
    default: str
    metavar: str
    help: str


@cache
def command(path: Path) -> click.Command:
    """The command of a script, loaded as a module of its own name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = before
    (found,) = [
        value for value in vars(module).values() if isinstance(value, click.Command) and value.callback
    ]
    return found


def workers() -> dict[str, click.Command]:
    """The worker's scripts, by their names."""
    return {path.stem: command(path) for path in sorted(WORKER.glob("*.py"))}


def options_of(script: click.Command) -> list[Option]:
    """The options of a script, in the order of its help."""
    context = click.Context(script, info_name=script.name, **script.context_settings)
    return [
        Option(
            names=(*parameter.opts, *parameter.secondary_opts),
            variable=str(parameter.envvar or ""),
            default=_default(parameter, context),
            metavar="" if parameter.is_flag else parameter.make_metavar(context),
            help=" ".join((parameter.help or "").split()),
        )
        for parameter in script.params
        if isinstance(parameter, click.Option) and not set(parameter.opts) & set(_HELP)
    ]


def _default(option: click.Option, context: click.Context) -> str:
    """The default as `--help` shows it; empty where it shows none."""
    extra = option.get_help_extra(context)
    return str(extra.get("default", "")).strip("()")


def usage(script: click.Command, name: str) -> str:
    """How a script is called: its name and its arguments."""
    context = click.Context(script, info_name=name)
    return " ".join([name, *script.collect_usage_pieces(context)])


def summary(script: click.Command) -> list[str]:
    """The paragraphs of a script's help, a line each."""
    return [" ".join(paragraph.split()) for paragraph in (script.help or "").strip().split("\n\n")]
