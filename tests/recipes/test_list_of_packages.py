"""What the image with the programs says of itself."""

import json
import subprocess

import pytest

from aggregation import VERSION

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker")]


def test_the_list_has_the_programs(image: str) -> None:
    """The SBOM of the image is of these packages, not only of the worker's."""
    show = ["docker", "run", "--rm", image, "cat", "/usr/local/share/sbom/aggregation.cdx.json"]
    document = json.loads(subprocess.run(show, capture_output=True, check=True, timeout=60).stdout)
    assert document["metadata"]["component"]["version"] == VERSION
    names = {each["name"] for each in document["components"]}
    assert {"ffmpeg", "gdal-bin", "osmium-tool", "oss2", "python"} <= names
