"""The recipes for films: stills, segments without sound, segments with sound."""

import re
from pathlib import Path

import pytest

from tools_image import Container, Recipe

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker")]

RATE = 25
SEGMENTS = [3, 5, 2, 7, 4, 6]
"""Frames of each segment: more than one merge takes."""
RENDER = """
sound=$2; mkdir -p "$1"; cd "$1"; shift 2
number=0; start=0
for frames in "$@"; do
  end=$((start + frames))
  picture="testsrc2=size=64x64:rate=25,trim=start_frame=$start:end_frame=$end,setpts=PTS-STARTPTS"
  ffmpeg -v error -nostdin -f lavfi -i "$picture" $sound -pix_fmt yuv420p -preset ultrafast \\
    -movflags +faststart $number.mp4
  number=$((number + 1)); start=$end
done
"""
SOUND = "-f lavfi -i sine=frequency=440:sample_rate=48000 -c:a aac -shortest"
DECODE = """
for film in "$@"; do
  ffmpeg -v error -xerror -nostdin -i "$film" -map 0:v -fps_mode passthrough -f framemd5 - |
    grep -v '^#' | sed 's/.*, *//'
done
"""
LENGTHS = """
for film in "$@"; do
  ffprobe -v error -show_entries stream=codec_type,codec_name,duration -of csv=p=0 "$film"
done
"""


def render(container: Container, recipe: Recipe, sound: str = "") -> list[str]:
    """Render the segments; gives the identity of each frame, in order."""
    level = container.inside(recipe.root / "l1")
    container.shell(RENDER, level, sound, *SEGMENTS)
    found = frames(container, *(recipe.path(number) for number in range(len(SEGMENTS))))
    assert len(found) == len(set(found)) == sum(SEGMENTS)
    return found


def frames(container: Container, *films: Path) -> list[str]:
    """The frames of some films, in order, and each at its own time."""
    return container.shell(DECODE, *map(container.inside, films)).split()


def streams(container: Container, film: Path) -> dict[str, float]:
    """What a film holds, and how many seconds of it."""
    rows = container.shell(LENGTHS, container.inside(film)).split()
    return {f"{kind} {codec}": float(seconds) for codec, kind, seconds in (row.split(",") for row in rows)}


def broken(container: Container, recipe: Recipe) -> None:
    """A segment that is none, or is cut off, is never left out: the run fails, and nothing appears."""
    segment = recipe.path(3).read_bytes()
    assert "3.mp4" in container.refused(recipe, 3, b"no film")
    assert "nvalid" in container.refused(recipe, 3, segment[: len(segment) * 19 // 20])


def test_segments_without_sound(container: Container) -> None:
    """Tree, flat merge and objects play all the frames, in order; none was encoded anew."""
    recipe = container.recipe("Segments without sound")
    wanted = render(container, recipe)
    flat = container.make_flat(recipe, len(SEGMENTS))
    for made in (container.make(recipe), flat, container.make_on_oss(recipe)):
        assert frames(container, made) == wanted
        assert streams(container, made) == {"video h264": pytest.approx(sum(SEGMENTS) / RATE, abs=0.001)}
    broken(container, recipe)


def test_segments_with_sound(container: Container) -> None:
    """Neither the pictures nor the sound drift: each is as long as the segments together."""
    recipe = container.recipe("Segments with sound")
    wanted = render(container, recipe, SOUND)
    seconds = sum(SEGMENTS) / RATE
    made, flat = container.make(recipe), container.make_flat(recipe, len(SEGMENTS))
    assert made.read_bytes() == flat.read_bytes() == container.make_on_oss(recipe).read_bytes()
    assert frames(container, made) == wanted
    lengths = streams(container, made)
    assert lengths == {
        "video h264": pytest.approx(seconds, abs=0.001),
        "audio aac": pytest.approx(seconds, abs=0.001),
    }
    broken(container, recipe)
    silent = container.recipe("Segments without sound")
    render(container, silent)
    told = container.refused(recipe, 3, silent.path(3).read_bytes())
    assert "3.mp4 has video and the first segment audio video" in told


@pytest.mark.parametrize("heading", ["Segments without sound", "Segments with sound"])
def test_a_folder_with_a_space_and_an_apostrophe(container: Container, heading: str) -> None:
    """The line works wherever the segments are: no name meets a shell or a list unquoted."""
    recipe = container.recipe(heading)
    wanted = render(container, recipe, SOUND if "with " in heading else "")
    moved = container.volume / "it's a \\ film"
    recipe.root.rename(moved)
    words = [f"/mnt/vol/{moved.name}" if word == recipe.option("--root") else word for word in recipe.words]
    container.run(*words)
    assert frames(container, moved / "result.mp4") == wanted
    moved.rename(recipe.root)


STILLS = 37


def psnr(container: Container, film: Path, stills: Path) -> float:
    """How near a film is to the stills that it was made of, in decibels."""
    compared = '-framerate 25 -start_number 0 -i "$2/%d.png" -lavfi psnr -f null -'
    script = f'ffmpeg -nostdin -v info -i "$1" {compared} 2>&1'
    told = container.shell(script, container.inside(film), container.inside(stills))
    (average,) = re.findall(r"PSNR .* average:([0-9.]+)", told)
    return float(average)


def test_stills(container: Container) -> None:
    """As many frames as stills, as near to them as one run of the encoder makes them; one sound."""
    recipe = container.recipe("Stills into a film")
    level = recipe.root / "l1"
    pictures = f"-f lavfi -i testsrc2=size=96x64:rate=25 -frames:v {STILLS} -start_number 0"
    sound = "-f lavfi -i sine=sample_rate=48000 -t 1"
    make = "ffmpeg -v error -nostdin"
    container.shell(
        f'{make} {pictures} "$1/%d.png"; {make} {sound} "$1/../sound.wav"', container.inside(level)
    )
    made, flat = container.make(recipe), container.make_flat(recipe, STILLS)
    for film in (made, flat):
        assert streams(container, film) == {
            "video h264": pytest.approx(STILLS / RATE, abs=0.001),
            "audio aac": pytest.approx(STILLS / RATE, abs=0.03),
        }
        assert len(frames(container, film)) == STILLS
    whole = psnr(container, flat, level)
    assert whole > 35
    assert psnr(container, made, level) > whole - 1
    assert frames(container, container.make_on_oss(recipe)) == frames(container, made)
    still = recipe.path(17).read_bytes()
    for content in (b"no still", b"", still[: len(still) // 2]):
        container.refused(recipe, 17, content)
    container.refused(recipe, STILLS - 1, still[:8])
