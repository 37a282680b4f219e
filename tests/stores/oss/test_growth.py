"""What a level's pods cost together grows with the level, and not faster."""

from pathlib import Path

from aggregation import steps
from aggregation.layout import Layout
from oss_server import OssServer
from places import oss_place

FILES, FAN_IN = 12_000, 100


def test_a_pod_lists_its_own_files(tmp_path: Path) -> None:
    """However many objects a level holds, a group of it looks at a page of their listing, or two."""
    layout = Layout()
    with oss_place(tmp_path) as (place, server):
        for file in range(FILES):
            place.put(layout.file(1, file), b"%d," % file)
        for number in (0, 1, 9, 10, 50, 99, 119):
            before = lists(server)
            steps.process(place.storage, layout, number, 1, fan_in=FAN_IN, files=FILES, partial=True)
            assert lists(server) - before <= 2
            first = number * FAN_IN
            joined = b"".join(b"%d," % file for file in range(first, first + FAN_IN))
            assert place.get(layout.file(2, number)) == joined


def lists(server: OssServer) -> int:
    """Listings that the server has answered."""
    return server.counters.operations["ListObjects"].requests
