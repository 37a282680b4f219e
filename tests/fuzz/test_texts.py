"""Arguments and variables that hold anything: a code of the table, one line, nothing outside the root."""

import importlib
import re
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hostile import TEXTS, Sandbox, tried, words

BASES: dict[str, list[str]] = {
    "prepare.py": ["3"],
    "process.py": ["0", "1"],
    "merge.py": ["4"],
    "plan.py": ["1"],
    "inputs.py": ["--glob=*.bin"],
    "pipeline.py": ["--workers=1"],
}
ASKED_FOR = {"summary_file", "termination_message", "scratch", "root", "debug"}
"""Places that may be anywhere, as the caller says; and what is for a traceback."""
FILES = {
    **{f"l1/{number}.txt": bytes([65 + number]) for number in range(4)},
    **{f"l2/{number}.txt": b"xy" for number in range(2)},
    "a1.bin": b"1",
    "a2.bin": b"2",
    "inputs.txt": b"# 2 inputs, made by inputs.py\na1.bin\na2.bin\n",
    "names.txt": b"a1.bin\na2.bin\na3.bin\n",
}


def parameters(script: str) -> list[Any]:
    """What a script takes."""
    name = script.removesuffix(".py")
    found: click.Command = getattr(importlib.import_module(name), name)
    return found.params


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, list[str], dict[str, str]]:
    """A script with a few arguments, options and variables, each of which may hold anything."""
    script = draw(st.sampled_from(sorted(BASES)))
    arguments, variables = list(BASES[script]), {}
    known = [found for found in parameters(script) if found.name not in ASKED_FOR]
    for found in draw(st.lists(st.sampled_from(known), min_size=1, max_size=3)):
        text = draw(st.one_of(VALUES.get(found.name, TEXTS), VALUES.get(found.name, TEXTS), TEXTS))
        if isinstance(found, click.Argument):
            arguments[0 if script != "process.py" else draw(st.integers(0, 1))] = text
        elif found.is_flag:
            arguments.append(draw(st.sampled_from([*found.opts, *found.secondary_opts])))
        elif found.envvar and draw(st.booleans()):
            variables[str(found.envvar)] = text
        else:
            arguments.append(f"{found.opts[0]}={text}")
    if draw(st.integers(0, 9)) == 0:
        arguments.insert(draw(st.integers(0, len(arguments))), draw(TEXTS))
    return script, arguments, variables


def any_of(text: str, *others: str) -> st.SearchStrategy[str]:
    """One of these."""
    return st.sampled_from(words(text, *others))


NUMBERS = any_of("0 1 2 3 4 7 10001 1000000", "9" * 12, "9" * 40, "9" * 100)
LISTS = any_of("inputs.txt names.txt a1.bin l1 l1/0.txt /inputs.txt x/inputs.txt")
COUNTS = ("n", "file_number", "level", "files", "fan_in", "levels", "workers", "parallel")
VALUES: dict[str | None, st.SearchStrategy[str]] = {
    **dict.fromkeys(COUNTS, NUMBERS),
    **dict.fromkeys(("inputs", "target", "expected"), LISTS),
    "timeout": any_of("nan inf -inf 1e308 -0.0 1e-320 0"),
    "suffix": any_of(".bin . .. .tmp .é", ".txt ", ".\n"),
    "output": any_of("a1.bin l1 l1/x runs x/y/z .x.tmp inputs.txt missing.json -"),
    "run": any_of("a ..a - ... l1"),
    "command": any_of("cat false true no-such-program", "cat {inputs}", "cat {number} {output}"),
    "final_command": any_of("cat false"),
    "check": any_of("{input}", "cat {input}", "false {input}", "x {input}"),
    "frames": any_of("1-2 1-1000001 0-9x0 2-1", "9" * 100, f"0-{'9' * 100}x{'9' * 99}"),
    "name": any_of("a{number}.bin {number:99} ../{number} /{number}"),
    "glob": any_of("* ** **/* l1/* ../* /* [ [!] [z-a] *a*a*a*a*b"),
    "base": any_of("/ .. . l1 /beside oss://x oss://"),
    "bound": any_of("0 1 50% 100.000001% 999999999"),
    "missing": any_of("skip fail a1.bin l1 /a1.bin"),
}


MANY = re.compile("[0-9]{4}")


def makes_files(script: str, arguments: list[str]) -> bool:
    """Whether as many files are made as are asked for: a million take their time, and are no fault."""
    return script == "prepare.py" or "--prepare" in arguments


@tried(300)
@given(call=calls())
def test_any_arguments(call: tuple[str, list[str], dict[str, str]], sandbox: Sandbox) -> None:
    """What a script is called with."""
    sandbox.fill(FILES)
    script, arguments, variables = call
    assume(not (makes_files(script, arguments) and any(map(MANY.search, [*arguments, *variables.values()]))))
    ended = sandbox.call(script, arguments, variables)
    assert ended.code == 0 or not ended.stdout or script == "pipeline.py", (call, ended)
    assert ended.code != 75, (call, ended)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """One for all examples."""
    return Sandbox(Path(tmp_path_factory.mktemp("sandbox")))
