"""What a start costs: each script imports what its root needs, and no more."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from oss_server import OssServer
from scripts import WORKER, environment, write_level

LIGHT = {"aggregation", "_locale", "_struct", "fcntl", "gc", "locale", "mmap", "resource", "signal", "struct"}
"""What a script on a directory may import besides click and what click imports: a millisecond in all."""


def imported(*arguments: object, **variables: str) -> set[str]:
    """The top-level modules that a run of Python has imported, as `-X importtime` lists them."""
    outcome = subprocess.run(
        [sys.executable, "-X", "importtime", *map(str, arguments)],
        cwd=WORKER,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in outcome.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize(("script", "arguments"), [("process.py", [0, 1]), ("merge.py", [2])])
def test_the_local_path_is_light(root: Path, script: str, arguments: list[int]) -> None:
    """On a directory a step imports click, the worker's own few modules, and next to nothing else."""
    write_level(root, 1, [b"A", b"B"])
    modules = imported(script, *arguments, "--root", root)
    assert modules - imported("-c", "import click") <= LIGHT
    assert {"click", "aggregation"} <= modules


@pytest.mark.parametrize(
    ("arguments", "draws"),
    [(["--help"], False), (["--dry-run"], False), (["--log-format", "json"], False), ([], True)],
)
def test_only_what_draws_loads_rich(root: Path, arguments: list[str], draws: bool) -> None:
    """Not even pipeline.py loads it before it has a tree to show."""
    write_level(root, 1, [b"A", b"B"])
    modules = imported("pipeline.py", "--root", root, *arguments)
    assert ("rich" in modules) is draws
    assert not {"pygments", "markdown_it", "asyncio"} & modules  # what the image has not


def test_oss_imports_what_it_needs() -> None:
    """On an oss:// root oss2 is there; ossfs and fsspec are not, where something is listed neither."""
    with OssServer(["demo"], access_key_id="id", access_key_secret="secret") as server:
        for number in range(2):
            server.put("demo", f"x/l1/{number}.txt", b"x")
        joined = imported("process.py", 0, 1, "--root", "oss://demo/x", **server.environment())
        listed = imported("merge.py", 2, "--root", "oss://demo/x", **server.environment())
    assert {"oss2", "anycrc"} <= joined
    assert not {"ossfs", "fsspec", "asyncio", "Crypto", "aliyunsdkcore", "cffi"} & (joined | listed)


def test_what_oss2_does_not_need_is_there_for_others() -> None:
    """The modules that stand for oss2's encryption go when it is loaded."""
    program = "import aggregation.stores.oss, aliyunsdkcore.client, Crypto.Cipher.AES as aes; "
    program += "print(aes.block_size, aliyunsdkcore.client.AcsClient.__name__)"
    line = [sys.executable, "-c", program]
    found = subprocess.run(line, cwd=WORKER, env=environment(), capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["16", "AcsClient"]


def page_faults(*arguments: object, **variables: str) -> int:
    """How often a run of Python needed a page of memory that it did not have."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    line = [sys.executable, *map(str, arguments)]
    subprocess.run(line, cwd=WORKER, env=environment(**variables), check=True, stdout=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before


def test_oss_starts_without_mapping_memory_again_and_again() -> None:
    """A step on OSS asks for little more memory than the import of oss2, and not for the same again."""
    with OssServer(["demo"], access_key_id="id", access_key_secret="secret") as server:
        for number in range(2):
            server.put("demo", f"x/l1/{number}.txt", b"x")
        variables = server.environment()
        # The first run of each compiles what has not been compiled before.
        _, oss2 = (page_faults("-c", "import oss2", **variables) for _ in range(2))
        _, ours = (page_faults("process.py", 0, 1, "--root", "oss://demo/x", **variables) for _ in range(2))
    assert ours < 1.4 * oss2


def test_memory_does_not_import_oss() -> None:
    """Another fsspec store imports fsspec alone."""
    code = (
        "import sys; from aggregation import location; from aggregation.stores import opening;"
        "opening.open_storage(location.parse('memory://x'));"
        "assert 'fsspec' in sys.modules and not {'oss2', 'ossfs'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(PYTHONPATH=str(WORKER)), check=True)
