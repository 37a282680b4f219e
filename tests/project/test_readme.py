"""README.md: short enough to be read, and its two leading commands do what it says."""

import re
import shlex
import subprocess
from pathlib import Path

from oss_server import OssServer
from pages.markdown import page
from pages.shell_lines import commands
from scripts import REPOSITORY, Outcome, command, environment, finished, write_level

README = page("README.md")
LINES = 150


def shown(script: str, option: str = "--root") -> list[str]:
    """The words of the first command of a script with an option that the page shows."""
    every = (words for block in README.blocks("sh") for words in commands(block.text))
    return next(words for words in every if words[0] == script and option in words)


def run(words: list[str], folder: Path, **variables: str) -> Outcome:
    """Run one of the page's commands in a folder."""
    return finished(command(words[0], *words[1:]), cwd=folder, env=environment(**variables))


def test_it_is_short() -> None:
    """A person reads it in two minutes; tables of options are elsewhere."""
    assert len(README.text.splitlines()) <= LINES
    assert all(len(line) <= 128 for line in README.text.splitlines() if not line.startswith("|"))
    assert not [row for row in README.rows() if row[0].startswith("`--")]


def test_its_order() -> None:
    """The picture, what it is for, when not to use it, the demo, three ways, figures, pages."""
    words = [
        "pipeline-dark.svg",
        "Compose objects",
        "Reduce with your own",
        "tutorial's pipeline",
        "When not to",
    ]
    words += [
        "make demo",
        "make test",
        "As an image",
        "On a cluster",
        "On a laptop",
        "figures-dark.svg",
        "If you want",
    ]
    places = [README.text.index(word) for word in words]
    assert places == sorted(places)


def test_compose_for_oss(tmp_path: Path) -> None:
    """The first command: objects joined by the service, verified, under the name that it says."""
    words = shown("pipeline.py")
    assert "data/whole.bin" in README.text
    root = words[words.index("--root") + 1]
    bucket, prefix = root.removeprefix("oss://").split("/")
    with OssServer([bucket]) as server:
        contents = {number: bytes([number]) * 4_000_000 for number in (1, 2, 10)}
        for number, content in contents.items():
            server.put(bucket, f"{prefix}/parts/{number}.bin", content)
        done = run(words, tmp_path, **server.environment())
        assert done.returncode == 0, done.stderr
        assert re.search(r"CRC64 \d+ verified, server-side", done.stdout)
        assert server.get(bucket, f"{prefix}/whole.bin") == b"".join(contents.values())
        assert server.counters.operations["GetObject"].bytes_out < 2000  # how it begins, to show it


def test_reduce_with_your_own_program(tmp_path: Path) -> None:
    """The second: sorted files, merged by sort."""
    words = shown("pipeline.py", "--command")
    root = tmp_path / words[words.index("--root") + 1]
    lines = [[f"{number:03}\n" for number in range(n, 400, 40)] for n in range(40)]
    write_level(root, 1, ["".join(part).encode() for part in lines])
    done = run(words, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (root / "result.txt").read_text() == "".join(f"{number:03}\n" for number in range(400))


def test_make_lists_its_targets() -> None:
    """`make` alone says what there is."""
    listed = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for target in ("demo", "test", "lint", "docs", "image", "expand", "lock"):
        assert f"make {target}" in listed


def test_the_repository_holds_no_compiled_file() -> None:
    """Only sources are kept."""
    listed = finished(["git", "ls-files"], cwd=REPOSITORY).stdout
    assert not re.search(r"\.(pyc|so|log)$", listed, re.MULTILINE)


def test_expand() -> None:
    """`make expand` shows the commands of a workflow's pods, those of the middle only on demand."""
    shell = shlex.split(
        next(w for w in re.findall(r"^make expand WORKFLOW=(.*)$", README.text, re.MULTILINE))
    )
    done = expand(*shell[0].split())
    assert [line for line in done.stdout.splitlines() if line.startswith("stage")] == [
        "stage 1: 32 pods",
        "stage 2: 2 pods",
        "stage 3: 1 pod",
    ]
    assert "  ... 28 more\n" in done.stdout
    assert len(expand(*shell[0].split(), "--all").stdout.splitlines()) == 3 + 35
    wrong = expand("process-data.yaml", "-p", "nubers=3")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "nubers" in wrong.stderr


def expand(manifest: str, *arguments: str) -> Outcome:
    """What stands behind `make expand`."""
    program = ["tests/support/workflows", f"manifests/{manifest}", *arguments]
    return finished([*command("")[:1], *program], cwd=REPOSITORY, env=environment())
