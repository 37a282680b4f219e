"""What README.md and docs/ name is there: options, variables, files, manifests, messages, rights."""

import ast
import inspect
import json
import re
import subprocess
import sys

import pytest

from aggregation.errors import EXIT_CODES
from oss_server import control, faults
from oss_server.operations import Service
from oss_server.settings import Settings
from oss_server.store import Store
from pages import options, shell_lines
from pages.markdown import Page, page, pages
from scripts import REPOSITORY, WORKER, environment
from workflows.catalogue import DOCUMENTS, FOLDER

SERVED = Service(Store(Settings()), Settings())._handlers
"""The operations of the OSS server."""
EACH = pytest.mark.parametrize("each", pages(), ids=str)


def code_words(each: Page, pattern: str) -> set[str]:
    """What of a pattern stands in a page's code, in blocks or in prose."""
    words = [*each.code(), *(block.text for block in each.blocks() if block.language != "diff")]
    return {word for text in words for word in re.findall(pattern, text)}


def options_of_scripts() -> list[options.Option]:
    """Every option of the worker's scripts and of generate.py."""
    scripts = [*options.workers().values(), options.command(options.GENERATE)]
    return [option for script in scripts for option in options.options_of(script)]


def our_options() -> set[str]:
    """Every option of every program of ours."""
    found = {name for option in options_of_scripts() for name in option.names}
    for program in ("tests/support/oss_server", "tests/e2e", "tests/benchmarks"):
        found |= set(re.findall(r"--[a-z-]+", shell_lines._help(REPOSITORY / program)))
    return found | {"--help", "--version"}


FOREIGN = {
    # argo and kubectl
    *("--watch", "--wait", "--memoized", "--serviceaccount", "--type", "--patch-file", "--local"),
    *("--from-literal", "--from", "--entrypoint", "--value", "--preemption-policy"),
    # docker
    *("--rm", "--user", "--read-only", "--cap-drop", "--network", "--tmpfs", "--tag", "--publish", "--env"),
    *("--target", "--format", "--build-arg"),
    # the scripts of recipes/
    *("--last", "--rate", "--sound"),
    # apt-get, an ossfs option, what a console block gets wrong on purpose
    *(
        "--no-install-recommends",
        "--files0-from",
        "--null",
        "--fuse_attr_timeout",
        "--no-such-option",
        "--all-files",
    ),
}
"""Options of other programs that a page shows."""


@EACH
def test_options_exist(each: Page) -> None:
    """Every option that a page names is one of ours, or one of the other programs' above."""
    found = code_words(each, r"(?<![\w-])--[a-z][a-z_-]*[a-z]")
    assert found - our_options() - FOREIGN == set()


def our_variables() -> set[str]:
    """Every variable that the code reads or sets."""
    found = {option.variable for option in options_of_scripts()}
    for folder in (WORKER, REPOSITORY / "manifests", REPOSITORY / "tests"):
        for path in [*folder.rglob("*.py"), *folder.rglob("*.yaml")]:
            text = path.read_text(encoding="utf-8")
            found |= set(re.findall(r"\b(?:AGGREGATION|OSS|ALIBABA_CLOUD|ARGO)_[A-Z_]*[A-Z]\b", text))
    return found


@EACH
def test_variables_exist(each: Page) -> None:
    """Every variable of the project's that a page names is one that the code knows."""
    found = code_words(each, r"\b(?:AGGREGATION|OSS|ALIBABA_CLOUD|ARGO)_[A-Z_]*[A-Z]\b")
    assert found - our_variables() == set()


@EACH
def test_files_exist(each: Page) -> None:
    """Every path into the repository that a page names is there."""
    pattern = r"(?<![\w/.])(?:manifests|worker|tests|docs|\.github|\.ci)/[\w./*-]+\w"
    for name in code_words(each, pattern):
        if "sqlite" not in name:  # docs/extending.md makes it
            assert list(REPOSITORY.glob(name)), name


def test_every_manifest_is_listed() -> None:
    """argo.md names each manifest, and each account."""
    text = page("docs/argo.md").text
    for path in [*FOLDER.glob("*.yaml"), *(FOLDER / "examples").glob("*.yaml")]:
        assert f"`{path.name}`" in text, path.name
    for _, document in DOCUMENTS:
        if document["kind"] == "ServiceAccount":
            assert f"| `{document['metadata']['name']}` |" in text


def test_every_variable_of_oss_is_listed() -> None:
    """oss.md's tables have each variable that the store reads, and no other."""
    read: set[str] = set()
    for path in (WORKER / "aggregation/stores/oss").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                read |= set(re.findall(r"^(?:OSS|ALIBABA_CLOUD)_[A-Z_]*[A-Z]$", node.value))
    listed = {
        name
        for row in page("docs/oss.md").rows()
        for name in re.findall(r"`((?:OSS|ALIBABA_CLOUD)_[A-Z_]+)`", row[0])
    }
    assert listed == read


def test_the_policy_allows_what_the_worker_does() -> None:
    """Each operation that the store calls has its action in oss.md's RAM policy, and no action is idle."""
    calls = {
        match
        for path in (WORKER / "aggregation/stores/oss").glob("*.py")
        for match in re.findall(r'"([A-Z][A-Za-z]+)"', path.read_text(encoding="utf-8"))
        if match in SERVED
    }
    policy = json.loads(page("docs/oss.md").section("What the credentials must allow").split("```")[1][5:])
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert {ACTIONS[call] for call in calls} == allowed


ACTIONS = {
    "HeadObject": "oss:GetObject",
    "GetObject": "oss:GetObject",
    "ListObjects": "oss:ListObjects",
    "PutObject": "oss:PutObject",
    "InitiateMultipartUpload": "oss:PutObject",
    "UploadPart": "oss:PutObject",
    "UploadPartCopy": "oss:PutObject",
    "CompleteMultipartUpload": "oss:PutObject",
    "AbortMultipartUpload": "oss:AbortMultipartUpload",
    "DeleteObject": "oss:DeleteObject",
    "DeleteMultipleObjects": "oss:DeleteObject",
    "ListMultipartUploads": "oss:ListMultipartUploads",
    "ListParts": "oss:ListParts",
}
"""What each operation asks of a policy, as OSS's documents have it; a copy asks for GetObject too."""


def test_mount_options() -> None:
    """volumes.md explains each option that volume.yaml has, commented ones included."""
    manifest = (FOLDER / "volume.yaml").read_text(encoding="utf-8")
    given = set(re.findall(r"-o (\w+(?:=\w+)?)", manifest))
    explained = set(re.findall(r"-o (\w+(?:=\w+)?)", page("docs/volumes.md").text))
    assert given == explained


def test_the_server_s_page() -> None:
    """oss-server.md names each operation, and each kind of fault."""
    each = page("docs/oss-server.md")
    text = each.section("What it implements")
    for name in SERVED:
        assert re.search(rf"\b{name}\b", text), name
    kinds = each.section("Faults and settings over HTTP").partition("The kinds of faults are")[2]
    assert set(re.findall(r"`([a-z-]+)`", kinds.partition(".")[0])) == set(faults.ACTIONS)
    cases = re.findall(r'case "([A-Z]+) (\w+)"', inspect.getsource(control))
    listed = re.findall(r"^\| `([A-Z]+) /-/(\w+)` \|", each.text, re.MULTILINE)
    assert sorted(listed) == sorted(cases)


def test_the_server_s_examples() -> None:
    """The page's Python runs, and its rule is one that the server takes."""
    each = page("docs/oss-server.md")
    (program,) = each.blocks("python")
    lines = "import sys\nsys.path.insert(0, 'tests/support')\n" + program.text
    done = subprocess.run(
        [sys.executable, "-c", lines], cwd=REPOSITORY, env=environment(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (rule,) = each.blocks("json")
    assert faults.fault_from_json(json.loads(rule.text)).operation == "GetObject"


# What a person reads when something goes wrong


def messages() -> list[str]:
    """Every text that the worker's code holds; what a text is filled with is left open."""
    found = []
    for path in WORKER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                texts = [str(part.value) for part in node.values if isinstance(part, ast.Constant)]
                found += ["".join(texts), *texts]
    return found


def test_each_message_is_one_that_the_code_has() -> None:
    """troubleshooting.md quotes the worker's own words."""
    section = page("docs/troubleshooting.md").section("By message")
    quotes = [
        quote
        for line in section.splitlines()
        if line.startswith("| `")
        for quote in re.findall(r"`([^`]+)`", line.split(" | ")[0])
    ]
    known = "\n".join(messages())
    known += "\nNo such file or directory; " + known.replace("\n", "\nNo such file or directory; ")
    assert len(quotes) > 30
    assert [quote for quote in quotes if quote not in known] == []


def test_each_exit_code_has_its_row() -> None:
    """troubleshooting.md says for each code but 0 what to look at."""
    rows = page("docs/troubleshooting.md").section("By exit code")
    listed = {code for row in re.findall(r"^\| ([\d, ]+) \|", rows, re.MULTILINE) for code in row.split(", ")}
    assert {str(row.code) for row in EXIT_CODES} - {"0"} == listed - {"64", "65", "137"}
