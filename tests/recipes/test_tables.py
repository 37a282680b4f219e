"""The recipes for lines: sorted files, CSV."""

import random
import subprocess
from pathlib import Path

import pytest

from scripts import write_level
from tools_image import PAGE, RUN, TAG, Container

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker")]


def sorted_inputs(root: Path) -> bytes:
    """Write 13 sorted files; returns what they make."""
    chance = random.Random(20250301)
    files = [sorted(chance.randbytes(6).hex() for _ in range(200)) for _ in range(13)]
    write_level(root, 1, [("\n".join(lines) + "\n").encode() for lines in files])
    return ("\n".join(sorted(line for lines in files for line in lines)) + "\n").encode()


@pytest.mark.usefixtures("image")
def test_the_line_as_somebody_types_it(tmp_path: Path) -> None:
    """The first recipe, in a shell: `docker run`, this user, a folder of this machine."""
    whole = sorted_inputs(tmp_path / "data/logs")
    (line,) = [block.text for block in PAGE.blocks("sh") if "sort -m" in block.text]
    assert line.startswith(RUN)
    typed = line.replace("aggregation-tools", TAG)
    subprocess.run(["bash", "-euc", typed], cwd=tmp_path, check=True, timeout=120, capture_output=True)
    assert (tmp_path / "data/logs/result.txt").read_bytes() == whole


def test_sorted_files(container: Container) -> None:
    """Tree, flat merge and objects make the same sorted file."""
    recipe = container.recipe("Sorted files")
    whole = sorted_inputs(recipe.root)
    assert container.make(recipe).read_bytes() == whole
    assert container.make_flat(recipe, 13).read_bytes() == whole
    assert container.make_on_oss(recipe).read_bytes() == whole


CSV = [b'a,"b c"\n1,2\n3,4', b'a,"b c"\r\n'.replace(b"\r", b""), b'a,"b c"\n5,"x\ny"\n', b'a,"b c"\n,\n6,7']
WHOLE = b'a,"b c"\n1,2\n3,4\n5,"x\ny"\n,\n6,7\n'


def test_tables(container: Container) -> None:
    """The header is there once, and rows with no line end before the next file's stay rows of their own."""
    recipe = container.recipe("Tables as CSV")
    write_level(recipe.root, 1, CSV, ".csv")
    assert container.make(recipe).read_bytes() == WHOLE
    assert container.make_flat(recipe, 4).read_bytes() == WHOLE
    assert container.make_on_oss(recipe).read_bytes() == WHOLE
    assert "3.csv has another header: b,a" in container.refused(recipe, 3, b"b,a\n1,2\n")
    assert "an input is empty" in container.refused(recipe, 1, b"")
    assert "an input is empty" in container.refused(recipe, 3, b"")
