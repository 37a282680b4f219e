"""What a level's pods cost together grows with the level, and not faster."""

import tracemalloc
from pathlib import Path

from aggregation import steps
from aggregation.layout import Layout
from aggregation.stores.oss.sources import Source, Sources
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


def test_inputs_take_a_few_bytes_each() -> None:
    """However many there are: keys are made when they are asked for, states are in arrays."""
    count = 100_000
    tracemalloc.start()
    sources = Sources(Layout().files(1, range(count)))
    for number in range(count):
        sources[number] = Source(sources.keys[number], 4096 + number % 7, crc64=2**63 + number)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 40 * count
    assert sources[-1] == Source("l1/99999.txt", 4096 + 99_999 % 7, None, 2**63 + 99_999, True)
    assert sum(source.size for source in sources) == sum(sources.sizes)


def lists(server: OssServer) -> int:
    """Listings that the server has answered."""
    return server.counters.operations["ListObjects"].requests
