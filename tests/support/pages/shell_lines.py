"""The commands of a page's shell blocks, and what is wrong with each: no command is on a page unchecked.

A command of ours (a script, a make target, an image that is run) is parsed by its own parser; one of argo or
kubectl is checked by workflows.command_lines; a program of the system has to be named here.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click

from pages import options
from scripts import REPOSITORY, WORKER, environment
from workflows import command_lines

PLAIN = frozenset(
    [
        # words of the shell
        *(".", "[", "cd", "do", "done", "echo", "export", "for", "set", "source", "trap", "true", "while"),
        # programs of every machine
        *("cat", "chmod", "cp", "env", "find", "head", "ls", "mkdir", "mv", "rm", "sed", "seq", "sleep"),
        *("tail", "timeout", "wc"),
        # programs that a page says to have
        *(
            "actionlint",
            "curl",
            "git",
            "jq",
            "k3d",
            "k3s",
            "kind",
            "minikube",
            "pre-commit",
            "pytest",
            "zizmor",
        ),
    ]
)
"""Programs of the system, and words of the shell: what they take is not ours to say."""

_KEYWORDS = ("for", "while", "done", "in")
_OPERATORS = frozenset({"|", "||", "&", "&&", ";", ";;", "(", ")"})
_REDIRECTION = re.compile(r"[<>&]+")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_DOCKER = {"--user", "-v", "--env", "--publish", "--tmpfs", "--cap-drop", "--network", "--tag", "--platform"}
"""Options of docker that take a value; others of docker's take none here."""


def mistakes(text: str, folder: Path = REPOSITORY) -> list[str]:
    """What is wrong with the commands of a shell block, a line each."""
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    found = [f"bash: {done.stderr.strip()}"] if done.returncode else []
    found += command_lines.mistakes(text, folder)
    for words in commands(text):
        found += [f"{shlex.join(words)}: {mistake}" for mistake in _of(words)]
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The simple commands of a shell's text, without their redirections and assignments."""
    text = re.sub(r"\\\n\s*", " ", text)
    for line in re.sub(r"(?<!\S)\d(?=[<>])", "", text).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        words: list[str] = []
        target_follows = False
        for word in lexer:
            if word in _OPERATORS:
                yield from _stripped(words)
                words = []
            elif _REDIRECTION.fullmatch(word):
                target_follows = True
            elif target_follows:
                target_follows = False
            else:
                words.append(word)
        yield from _stripped(words)


def _stripped(words: list[str]) -> Iterator[list[str]]:
    while words and (_ASSIGNMENT.fullmatch(words[0]) or words[0] in ("do", "then", "else", "sudo")):
        words = words[1:]
    if words and words[0] not in _KEYWORDS:
        yield words


def _of(words: list[str]) -> Iterator[str]:
    """What is wrong with one command."""
    program, *arguments = words
    name = Path(program).name
    if name == "make":
        yield from _of_make(arguments)
    elif name in ("python", "python3"):
        yield from _of_python(arguments)
    elif name == "docker":
        yield from _of_docker(arguments)
    elif (WORKER / name).is_file() and name.endswith(".py"):
        yield from _of_script(WORKER / name, arguments)
    elif name not in PLAIN and name not in ("argo", "kubectl"):
        yield "nothing checks this program: see pages.shell_lines"


def _of_make(arguments: list[str]) -> Iterator[str]:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8").replace("$(VENV)", ".venv")
    for word in arguments:
        name, sign, _ = word.partition("=")
        if sign and not re.search(rf"\b{name}\b", makefile):
            yield f"the Makefile reads no {name}"
        if not sign and not re.search(rf"^{re.escape(word)}:", makefile, re.MULTILINE):
            yield f"there is no target {word}"


def _of_python(arguments: list[str]) -> Iterator[str]:
    if arguments[:1] == ["-m"]:
        if arguments[1] not in ("aggregation", "pytest", "venv"):
            yield f"there is no module {arguments[1]}"
        return
    path = REPOSITORY / arguments[0]
    if not path.exists():
        path = WORKER / arguments[0]  # as in the image, whose working directory holds the scripts
    if path.is_dir():
        yield from _of_program(path, arguments[1:])
    elif path.is_file():
        yield from _of_script(path, arguments[1:])
    else:
        yield f"there is no file {arguments[0]}"


def _of_script(path: Path, arguments: list[str]) -> Iterator[str]:
    """Let a script's own parser read the arguments; nothing is run."""
    if {"-h", "--help", "--version"} & set(arguments):
        return
    try:
        options.command(path).make_context(path.name, list(arguments), resilient_parsing=False)
    except click.UsageError as error:
        yield error.format_message()


@cache
def _help(path: Path) -> str:
    return subprocess.run(
        [sys.executable, path, "--help"], env=environment(), capture_output=True, text=True, check=True
    ).stdout


def _of_program(path: Path, arguments: list[str]) -> Iterator[str]:
    """A program that is a folder: its options are those of its --help."""
    for word in arguments:
        if word.startswith("--") and not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", _help(path)):
            yield f"{path.name} has no option {word}"


def _of_docker(arguments: list[str]) -> Iterator[str]:
    verb, *rest = arguments
    while rest and rest[0].startswith("-"):
        option, *rest = rest
        if option in _DOCKER:
            rest = rest[1:]
        elif option not in ("--rm", "--read-only", "--interactive", "-"):
            yield f"nothing checks docker's {option}"
    if verb == "run" and not rest:
        yield "it runs no image"
    elif verb == "run" and len(rest) > 1:
        yield from _of(rest[1:])
    elif verb == "build" and rest and not (REPOSITORY / rest[0] / "Dockerfile").is_file():
        yield f"there is no Dockerfile in {rest[0]}"
    elif verb not in ("run", "build", "save", "history", "push", "image"):
        yield f"nothing checks docker {verb}"
