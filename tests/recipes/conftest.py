"""What the tests of docs/recipes.md share: the image with the programs, and one container for all recipes."""

import os
import subprocess
from collections.abc import Iterator

import pytest

import machine
from scripts import REPOSITORY
from tools_image import PAGE, TAG, Container


@pytest.fixture(scope="session")
def image() -> str:
    """The image with the programs, made by the page's own line."""
    machine.docker_command()
    assert "make tools " in PAGE.blocks("sh")[0].text
    done = subprocess.run(
        ["make", "tools", f"IMAGE={TAG}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return TAG


@pytest.fixture(scope="session")
def container(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """One container for all recipes, hardened as a pod is."""
    volume = tmp_path_factory.mktemp("recipes") / "data"
    volume.mkdir()
    options = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "host"]
    options += ["--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{volume}:/mnt/vol"]
    done = subprocess.run(
        ["docker", "run", "--detach", "--rm", *options, image, "sleep", "3600"],
        capture_output=True,
        text=True,
        check=True,
    )
    name = done.stdout.strip()
    yield Container(name, volume)
    subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=True)
