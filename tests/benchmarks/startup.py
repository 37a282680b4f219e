"""Start-up: the worker on next to nothing beside the imports that it cannot do without."""

import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from benchmarks.case import HERE, LAUNCHER, Case, Command, Options, SkippedError, Target
from benchmarks.stores import oss_server
from benchmarks.volumes import WORKER, target_of, write

CLICK = "import click"
OSS_IMPORTS = "import oss2, ossfs"


def startup(options: Options) -> Generator[Case]:
    """Two files of a byte, on a directory and on OSS, here and in the image."""
    rounds = 10 if options.quick else 40
    root = options.folder / "startup"
    for number in range(2):
        write(root / "l1" / f"{number}.txt", 1)
    (root / "l2").mkdir()
    script = str(options.worker / "process.py")
    yield _case("here", root, [sys.executable], [script, "0", "1", "--root", str(root)], rounds)
    with oss_server(options.folder) as server:
        for number in range(2):
            server.put(f"startup/l1/{number}.txt", b"A")
        yield Case(
            "start-up: oss://",
            [
                Command(
                    WORKER,
                    options.script("process.py", "0", "1", "--root", server.url("startup")),
                    server.variables,
                ),
                Command(OSS_IMPORTS, [sys.executable, "-c", OSS_IMPORTS]),
            ],
            OSS_IMPORTS,
            rounds,
            lambda: None,
            lambda: None,
            [Target("oss://: at most 0.65 x import oss2, ossfs", WORKER, OSS_IMPORTS, at_most=0.65)],
            server.gauge,
        )
    yield from _in_image(options, root, rounds)
    shutil.rmtree(root)


def _case(
    where: str,
    root: Path,
    python: Sequence[str],
    script: Sequence[str],
    rounds: int,
    launcher: Sequence[str] = LAUNCHER,
    variables: Mapping[str, str] | None = None,
) -> Case:
    reset, _ = target_of(root / "l2" / "0.txt", 2)
    lines = {WORKER: list(script), CLICK: ["-c", CLICK], "pass": ["-c", "pass"]}
    return Case(
        f"start-up: {where}",
        [Command(name, [*python, *line], variables or {}, launcher=launcher) for name, line in lines.items()],
        CLICK,
        rounds,
        reset,
        lambda: None,  # the imports make nothing
        [Target(f"start-up {where}: at most 1.25 x import click", WORKER, CLICK, at_most=1.25)],
    )


def _in_image(options: Options, root: Path, rounds: int) -> Generator[Case]:
    """In one container, so that its start is left out; its root is read-only, so that no .pyc is written."""

    def docker(*arguments: str) -> str:
        try:
            return subprocess.run(
                ["docker", *arguments], check=True, capture_output=True, text=True
            ).stdout.strip()
        except FileNotFoundError as error:
            raise SkippedError("the image: there is no docker") from error
        except subprocess.CalledProcessError as error:
            why = error.stderr.strip().splitlines()[-1]
            raise SkippedError(f"the image {options.image}: {why}") from error

    docker("image", "inspect", options.image)
    for folder in (options.folder, root, root / "l2"):
        os.chmod(folder, 0o777)  # the image's user is another one
    volumes = ["--volume", f"{root}:/mnt/vol/aggregation-demo", "--volume", f"{HERE}:/benchmarks:ro"]
    wait = ["python3", "-c", "import signal; signal.pause()"]
    container = docker(
        "run", "--detach", "--rm", "--read-only", "--network=none", *volumes, options.image, *wait
    )
    try:
        launcher = ["docker", "exec", container, "python3", "-I", "-S", "/benchmarks/launcher.py"]
        yield _case("in the image", root, ["python3"], ["process.py", "0", "1"], rounds, launcher)
    finally:
        docker("rm", "--force", container)
