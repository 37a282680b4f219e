"""What the tests of mounts share."""

from pathlib import Path

import pytest


@pytest.fixture
def behind(tmp_path: Path) -> Path:
    """The folder that the mount at `root` shows."""
    path = tmp_path / "behind"
    path.mkdir()
    return path
