"""generate.py as the tests call it: in this process, or as a program."""

import subprocess
import sys

import click
import pytest
import yaml
from click.testing import CliRunner

import scripts
from aggregation import errors
from manifests.generate import generate
from workflows.children import Running, follow
from workflows.parameters import Manifest

BUCKET = ("--store", "oss", "--bucket", "my-bucket")
STORES = [(), BUCKET]


def written(*arguments: object) -> str:
    """What generate.py prints for some arguments, in this process."""
    result = CliRunner().invoke(
        generate, [str(each) for each in arguments], standalone_mode=False, catch_exceptions=False
    )
    return result.stdout


def documents(*arguments: object) -> list[Manifest]:
    """The documents that generate.py prints."""
    return list(yaml.safe_load_all(written(*arguments)))


def running(*arguments: object, **parameters: str) -> Running:
    """The generated workflow with its children, as Argo would run them."""
    *templates, workflow = documents(*arguments)
    return follow(workflow, templates, parameters)


def refused(*arguments: object) -> Exception:
    """The error with which generate.py refuses some arguments."""
    with pytest.raises((click.UsageError, errors.AggregationError)) as caught:
        written(*arguments)
    return caught.value


def program(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """generate.py as a process of its own."""
    return scripts.finished(
        [sys.executable, scripts.REPOSITORY / "manifests" / "generate.py", *map(str, arguments)],
        env=scripts.environment(**variables),
    )
