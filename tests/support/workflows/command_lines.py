"""The argo and kubectl commands in a text, and what is wrong with them: no namespace, no such file."""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from workflows.catalogue import DOCUMENTS, FOLDER, LIBRARY, parameters_of
from workflows.documents import effective_spec, load
from workflows.parameters import Manifest

_ARGO = "submit get list logs retry resubmit stop terminate delete watch wait template cron lint"
_KUBECTL = "apply create get delete patch label annotate rollout logs describe edit run wait"
_COMMAND = re.compile(
    rf"(?<![\w./-])(?:argo (?:{_ARGO.replace(' ', '|')})|kubectl (?:{_KUBECTL.replace(' ', '|')}))\b[^`\n]*"
)
_OF_THE_CLUSTER = ("create namespace", "label namespace", "get nodes", "get namespace")
"""What kubectl does to objects that belong to no namespace."""


class CommandLine(NamedTuple):
    """A command as somebody would type it, up to the next operator of the shell."""

    text: str
    words: tuple[str, ...]

    def values(self, *options: str) -> list[str]:
        """What follows some options."""
        pairs = zip(self.words, self.words[1:], strict=False)
        return [value for option, value in pairs if option in options]


def found(text: str) -> Iterator[CommandLine]:
    """Each command of argo or kubectl that a text holds, in prose or not."""
    for match in _COMMAND.finditer(re.sub(r"\\\n[#\s]*", " ", text)):
        line = re.split(r"\s#|[;)]\s|\)$", match[0])[0].strip().rstrip(".,:")
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if set(word) <= set("|&;<>"):
                break
            words.append(word)
        yield CommandLine(line, tuple(words))


def mistakes(
    text: str, folder: Path, *, namespace: str = "argo", made: Mapping[str, list[Manifest]] | None = None
) -> list[str]:
    """What is wrong with the commands of a text, a line each.

    Args:
        text: a page, a manifest's comments, a --help.
        folder: where its reader stands, for the names of files.
        namespace: the one that each command must name.
        made: documents of files that are not there yet, because a command before makes them.
    """
    known: dict[str, list[Manifest]] = {name: [] for name in re.findall(r"> (\S+\.yaml)", text)}
    known.update(made or {})
    return [
        f"{command.text}: {mistake}"
        for command in found(text)
        for mistake in (*_of_namespace(command, namespace), *_of_files(command, folder, known))
    ]


def _of_namespace(command: CommandLine, namespace: str) -> Iterator[str]:
    of_the_cluster = " ".join(command.words[1:3]) in _OF_THE_CLUSTER
    if not of_the_cluster and namespace not in command.values("-n", "--namespace"):
        yield f"it has no -n {namespace}"


def _of_files(command: CommandLine, folder: Path, made: Mapping[str, list[Manifest]]) -> Iterator[str]:
    for name in command.values("-f", "--patch-file"):
        if name not in made and name != "-" and not (folder / name).is_file():
            yield f"there is no file {name}"
    for name in command.values("-k"):
        if not (folder / name / "kustomization.yaml").is_file():
            yield f"there is no kustomization.yaml in {name}"
    if command.words[:2] == ("argo", "submit"):
        yield from _of_submission(command, folder, made)


def _of_submission(command: CommandLine, folder: Path, made: Mapping[str, list[Manifest]]) -> Iterator[str]:
    submitted = [word for word in command.words if word.endswith(".yaml") or word in made]
    named = [name.removeprefix("workflowtemplate/") for name in command.values("--from")]
    if not submitted and not named:
        yield "it submits nothing"
    documents = [each for each in LIBRARY if each["metadata"].get("name") in named]
    if named and not documents:
        yield f"there is no WorkflowTemplate {named[0]}"
    for name in submitted:
        if name in made:
            documents += made[name]
        elif (folder / name).is_file():
            documents += load(folder / name)
        else:
            yield f"there is no file {name}"
    for document in [each for each in documents if each["kind"] in ("Workflow", "WorkflowTemplate")][-1:]:
        given = {value.partition("=")[0] for value in command.values("-p")}
        if unknown := given - parameters_of(document).keys():
            yield f"the workflow has no parameter {sorted(unknown)}"
        templates = {template["name"] for template in effective_spec(document, LIBRARY)["templates"]}
        if unknown := set(command.values("--entrypoint")) - templates:
            yield f"the workflow has no template {sorted(unknown)}"
    accounts = {each["metadata"]["name"] for _, each in DOCUMENTS if each["kind"] == "ServiceAccount"}
    if unknown := set(command.values("--serviceaccount")) - accounts:
        yield f"there is no account {sorted(unknown)}"


def comments(path: Path) -> str:
    """The comments of a manifest, without their signs."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line.lstrip(" #") for line in lines if line.lstrip().startswith("#"))


PAGES = sorted(FOLDER.rglob("*.yaml"))
"""Every manifest, examples and patches among them."""
