"""The recipes of docs/command.md as they stand there, each run in the derived image that the page builds."""

import os
import random
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import machine
from oss_server import OssServer
from pages.markdown import page
from scripts import REPOSITORY, leftovers, write_level

PLAIN = "aggregation-worker:test"
TOOLS = "aggregation-tools:test"
PAGE = page("docs/command.md")
SHELL_BLOCKS = [block.text for block in PAGE.blocks("sh") if "docker " in block.text]
SEGMENTS = [5, 7, 3, 9, 4, 6, 8]
"""Frames of each segment of the animation."""

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker")]


def block(word: str) -> str:
    """The one shell block of the page that has a word, with the images' names for tests."""
    (found,) = [text for text in SHELL_BLOCKS if word in text]
    return re.sub(r"\baggregation-tools\b", TOOLS, found)


def merge_command(word: str) -> str:
    """What stands behind --command in the block that has a word."""
    words = shlex.split(block(word).replace("\\\n", " "))
    return words[words.index("--command") + 1]


def shell(script: str, folder: Path) -> str:
    """Run a shell's lines in a folder, which must succeed; returns what they printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def plain() -> str:
    """The image, built from the repository."""
    machine.docker_command()
    shell(f"docker build --platform linux/amd64 --tag {PLAIN} .", REPOSITORY)
    return PLAIN


@pytest.fixture(scope="module")
def tools(plain: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The derived image, built by the page's Dockerfile and command."""
    folder = tmp_path_factory.mktemp("tools")
    (dockerfile,) = [block.text for block in PAGE.blocks("dockerfile")]
    dockerfile, replaced = re.subn(r"^FROM \S+$", f"FROM {plain}", dockerfile, flags=re.MULTILINE)
    assert replaced == 1
    (folder / "Dockerfile").write_text(dockerfile)
    shell(block("docker build"), folder)
    return TOOLS


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder in which the page's commands are called; `data` in it is the volume."""
    (tmp_path / "data").mkdir()
    return tmp_path


Contain = Callable[..., str]


@pytest.fixture
def contain(here: Path) -> Contain:
    """Runs a command in a container over the volume, hardened as a pod is; returns what it printed."""

    def run(image: str, *command: str, **variables: str) -> str:
        options = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "host"]
        options += [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
        return shell(
            shlex.join(["docker", "run", "--rm", *options])
            + ' --user "$(id -u):$(id -g)" -v "$PWD/data:/mnt/vol" '
            + shlex.join([image, *command]),
            here,
        )

    return run


# Sorted merge


def sorted_inputs(root: Path) -> bytes:
    """Write 13 sorted files; returns what they make."""
    chance = random.Random(20250301)
    files = [sorted(chance.randbytes(6).hex() for _ in range(200)) for _ in range(13)]
    write_level(root, 1, [("\n".join(lines) + "\n").encode() for lines in files])
    return ("\n".join(sorted(line for lines in files for line in lines)) + "\n").encode()


def test_sorted_merge(tools: str, here: Path) -> None:
    """The page's line makes one sorted file of many."""
    assert tools in block("sort -m")
    whole = sorted_inputs(here / "data/logs")
    shell(block("sort -m"), here)
    assert (here / "data/logs/result.txt").read_bytes() == whole
    assert leftovers(here / "data") == []


def test_sorted_merge_in_the_plain_image(plain: str, here: Path, contain: Contain) -> None:
    """`sort` is in the image as it is; the flat merge gives the same bytes."""
    whole = sorted_inputs(here / "data/logs")
    contain(
        plain,
        *("merge.py", "13", "--level", "1", "--root", "/mnt/vol/logs"),
        *("--command", merge_command("sort -m")),
    )
    assert (here / "data/logs/result.txt").read_bytes() == whole


# Animation

RENDER = """
set -e
mkdir -p /mnt/vol/animation/l1
number=0; start=0
for frames in "$@"; do
  ffmpeg -v error -f lavfi -i testsrc2=size=64x64:rate=25 -pix_fmt yuv420p \\
    -vf "trim=start_frame=$start:end_frame=$((start + frames)),setpts=PTS-STARTPTS" \\
    /mnt/vol/animation/l1/$number.mp4
  number=$((number + 1)); start=$((start + frames))
done
"""
DECODE = """
for film in "$@"; do
  ffmpeg -v error -xerror -i "$film" -fps_mode passthrough -f framemd5 - | grep -v '^#' | sed 's/.*, *//'
done
"""
COUNT = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0"]
COUNT += ["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]


@pytest.fixture
def frames(tools: str, contain: Contain) -> list[str]:
    """Renders an animation in segments; gives the identity of each frame, in order."""
    contain(tools, "sh", "-c", RENDER, "render", *map(str, SEGMENTS))
    names = [f"/mnt/vol/animation/l1/{number}.mp4" for number in range(len(SEGMENTS))]
    found = contain(tools, "sh", "-c", DECODE, "decode", *names).split()
    assert len(found) == len(set(found)) == sum(SEGMENTS)
    return found


def test_animation(tools: str, here: Path, frames: list[str], contain: Contain) -> None:
    """Tree and flat merge alike play all the frames, in order, and none was encoded anew."""
    shell(block("ffmpeg"), here)
    flat = ("merge.py", "7", "--level", "1", "--output", "flat.mp4")
    wide = ("pipeline.py", "--fan-in", "3", "--levels", "1", "--output", "wide.mp4")
    for call in (flat, wide):
        places = ("--root", "/mnt/vol/animation", "--suffix", ".mp4")
        contain(tools, *call, *places, "--command", merge_command("ffmpeg"))
    for name in ("result.mp4", "flat.mp4", "wide.mp4"):
        film = f"/mnt/vol/animation/{name}"
        assert contain(tools, *COUNT, film).strip() == str(len(frames)), name
        assert contain(tools, "sh", "-c", DECODE, "decode", film).split() == frames, name
    assert leftovers(here / "data") == []


def test_animation_on_oss(tools: str, here: Path, frames: list[str], contain: Contain) -> None:
    """The same from and to objects: fetched, joined, uploaded; tree and flat merge play the same frames."""
    with OssServer(["demo"]) as server:
        for number in range(len(SEGMENTS)):
            name = f"animation/l1/{number}.mp4"
            server.put("demo", name, (here / "data" / name).read_bytes())
        options = ["--root", "oss://demo/animation", "--suffix", ".mp4", "--command", merge_command("ffmpeg")]
        contain(tools, "pipeline.py", *options, **server.environment())
        flat = ("merge.py", "7", "--level", "1", "--output", "flat.mp4")
        contain(tools, *flat, *options, **server.environment())
        assert server.uploads("demo") == []
        for name in ("result.mp4", "flat.mp4"):
            (here / "data" / name).write_bytes(server.get("demo", f"animation/{name}"))
            assert contain(tools, *COUNT, f"/mnt/vol/{name}").strip() == str(len(frames))
            assert contain(tools, "sh", "-c", DECODE, "decode", f"/mnt/vol/{name}").split() == frames


def test_a_segment_that_is_none(here: Path, frames: list[str]) -> None:
    """A segment that ffmpeg cannot read is never left out: exit code 7, and ffmpeg's own words above it."""
    assert frames
    (here / "data/animation/l1/3.mp4").write_bytes(b"no film")
    done = subprocess.run(
        ["bash", "-c", block("ffmpeg")], cwd=here, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 7
    *above, line = done.stderr.splitlines()
    assert "/l1/3.mp4" in "\n".join(above)
    assert line.startswith("pipeline.py: error: running sh on l1/2.mp4 + l1/3.mp4: it ended with exit code")
    assert not (here / "data/animation/result.mp4").exists()
    assert not [name for name in leftovers(here / "data") if name.endswith(".tmp")]


# Map

EXTRACTS = 5


def extract(number: int) -> str:
    """An extract in OSM's XML: nodes and a way of its own, and nodes that it shares with its neighbours."""
    own = range(10 * number, 10 * number + 12)  # the last two are the next extract's first two
    stamp = 'version="1" timestamp="2025-01-01T00:00:00Z"'
    nodes = "".join(f'<node id="{n + 1}" {stamp} lat="{n / 100}" lon="{n / 50}"/>' for n in own)
    references = "".join(f'<nd ref="{n + 1}"/>' for n in own)
    way = f'<way id="{number + 1}" {stamp}>{references}<tag k="highway" v="path"/></way>'
    return f'<osm version="0.6" generator="a test">{nodes}{way}</osm>'


def test_map(tools: str, here: Path, contain: Contain) -> None:
    """Extracts become one map with each node and way once; tree and flat merge hold the same."""
    level = here / "data/map/l1"
    write_level(here / "data/map", 1, [extract(n).encode() for n in range(EXTRACTS)], ".osm")
    script = 'cd /mnt/vol/map/l1; for name in *.osm; do osmium cat "$name" -o "$name.pbf"; rm "$name"; done'
    contain(tools, "sh", "-c", script)
    assert sorted(os.listdir(level)) == [f"{number}.osm.pbf" for number in range(EXTRACTS)]
    shell(block("osmium"), here)
    flat = ("merge.py", str(EXTRACTS), "--level", "1", "--output", "flat.osm.pbf")
    places = ("--root", "/mnt/vol/map", "--suffix", ".osm.pbf")
    contain(tools, *flat, *places, "--command", merge_command("osmium"))
    tree, plain = (
        contain(tools, "osmium", "cat", f"/mnt/vol/map/{name}.osm.pbf", "-f", "opl", "-o", "-")
        for name in ("result", "flat")
    )
    assert tree == plain
    objects = [line.split()[0] for line in tree.splitlines()]
    assert objects == [f"n{n + 1}" for n in range(10 * EXTRACTS + 2)] + [f"w{n + 1}" for n in range(EXTRACTS)]
    assert leftovers(here / "data") == []
