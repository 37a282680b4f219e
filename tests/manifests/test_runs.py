"""Runs side by side in one place, runs that go on, and what stays of them: expanded and executed."""

import dataclasses
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oss_server import OssServer
from workflows.catalogue import LIBRARY, RUNNABLE, submit
from workflows.children import follow
from workflows.execution import Cluster
from workflows.generated import documents
from workflows.pods import Pod

FILES = 16
PLACE = "aggregation-demo"
Shape = Callable[[str, Mapping[str, str]], list[list[Pod]]]
"""From a workflow's name, and what -p says, to the pods of each step."""


def hand_written(name: str, **shape: object) -> Shape:
    """A manifest, of a shape."""

    def expanded(workflow: str, given: Mapping[str, str]) -> list[list[Pod]]:
        said = {key.replace("_", "-"): str(value) for key, value in shape.items()}
        stages = submit(name, {**said, **given}, workflow=workflow)
        return [list(stage.pods) for stage in stages if stage.pods]

    return expanded


def generated(*arguments: str) -> Shape:
    """What generate.py writes, its children in the place of the steps that create them."""

    def expanded(workflow: str, given: Mapping[str, str]) -> list[list[Pod]]:
        *templates, document = documents("--files", FILES, *arguments)
        return follow(document, templates, given, name=workflow).levels()

    return expanded


ON_A_VOLUME: dict[str, Shape] = {
    "process-data": hand_written("process-data.yaml", numbers=FILES // 2),
    "fan-in 3": hand_written("aggregate.yaml", files=FILES, fan_in=3, final_width=1),
    "flat": hand_written("aggregation.yaml", files=FILES, final_width=FILES),
    "generated": generated("--fan-in", "4", "--final-width", "2"),
    "children": generated("--final-width", "2", "--pods-per-workflow", "3"),
}
ON_OSS: dict[str, Shape] = {
    "process-data-oss": hand_written("process-data-oss.yaml", numbers=FILES // 2),
    "fan-in 3": hand_written("aggregation-oss.yaml", files=FILES, fan_in=3, final_width=1),
    "children": generated("--store", "oss", "--final-width", "2", "--pods-per-workflow", "3"),
}


class Place:
    """A directory or a prefix with the files of level 1, and processes in the place of pods."""

    def __init__(self, cluster: Cluster, given: Mapping[str, str], server: OssServer | None = None) -> None:
        self.cluster = cluster
        self.given = given
        self._server = server

    def pods(self, shape: Shape, workflow: str, **given: str) -> list[list[Pod]]:
        """The steps of a workflow that works here."""
        return shape(workflow, {**self.given, **given})

    def fill(self, mark: bytes) -> bytes:
        """Put other files at level 1, of several lengths; what joins them all is returned."""
        contents = [mark + str(number).encode() * (number % 5) for number in range(FILES)]
        for number, content in enumerate(contents):
            self._write(f"l1/{number}.txt", content)
        return b"".join(contents)

    def _write(self, name: str, content: bytes) -> None:
        if self._server:
            self._server.put("my-bucket", f"{PLACE}/{name}", content)
            return
        path = self.cluster.volume / PLACE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def remove(self, name: str) -> bytes:
        """Take a file away; its contents."""
        if self._server:
            content = self._server.get("my-bucket", f"{PLACE}/{name}")
            self._server.delete("my-bucket", f"{PLACE}/{name}")
            return content
        path = self.cluster.volume / PLACE / name
        content = path.read_bytes()
        path.unlink()
        return content

    put_back = _write

    def empty(self) -> None:
        """Remove all files."""
        for name in self.names():
            self.remove(name)

    def names(self, folder: str = "") -> set[str]:
        """The files below a folder, as seen from the root."""
        if self._server:
            keys = (str(key) for key in self._server.keys("my-bucket", f"{PLACE}/{folder}"))
            return {key.removeprefix(f"{PLACE}/") for key in keys}
        root = self.cluster.volume / PLACE
        return {str(path.relative_to(root)) for path in (root / folder).rglob("*") if path.is_file()}

    def left(self) -> set[str]:
        """The runs that have a folder."""
        return {name.split("/")[1] for name in self.names("runs")}


@pytest.fixture
def volume(tmp_path: Path) -> Place:
    """A directory on a volume."""
    return Place(Cluster(tmp_path), {})


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Place]:
    """A prefix in a bucket."""
    with OssServer(["my-bucket"]) as server:
        keys = {"akId": server.access_key_id, "akSecret": server.access_key_secret}
        yield Place(Cluster(tmp_path, keys), {"bucket": "my-bucket", "endpoint": server.endpoint}, server)


def shuffled(choose: random.Random, *runs: Sequence[Sequence[Pod]]) -> list[Pod]:
    """The pods of several workflows in one order, in which each workflow's are in their own."""
    queues = [list(itertools.chain.from_iterable(steps)) for steps in runs]
    order = []
    while queues := [queue for queue in queues if queue]:
        order.append(choose.choice(queues).pop(0))
    return order


def results(place: Place, pods: Iterable[Pod]) -> list[bytes]:
    """What is the result after each merge among some pods, run one after the other."""
    found, chunk = [], []
    for pod in pods:
        chunk.append(pod)
        if pod.command[1] == "merge.py":
            place.cluster.run_together(chunk)
            found.append(place.remove("result.txt"))
            chunk = []
    place.cluster.run_together(chunk)
    return found


def mixed(
    place: Place, shapes: Sequence[Shape], seed: int, change: Callable[[Pod], Pod]
) -> tuple[list[bytes], bytes]:
    """Two workflows side by side, pods of a third, dead one among them: the results, and what is right."""
    choose = random.Random(seed)
    place.empty()
    place.fill(b"old")
    dead, late, *_ = place.pods(hand_written_like(shapes[0]), "dead")
    place.cluster.run_together(map(change, dead))
    wanted = place.fill(b"new")
    first, second = (place.pods(shape, f"run-{number}") for number, shape in enumerate(shapes))
    order = shuffled(choose, first, second, [late])
    return results(place, map(change, order)), wanted


def hand_written_like(shape: Shape) -> Shape:
    """The deep shape of the dead run on the store of another shape."""
    name = "aggregation-oss.yaml" if shape in ON_OSS.values() else "aggregation.yaml"
    return hand_written(name, files=FILES, fan_in=2, final_width=2)


def as_it_is(pod: Pod) -> Pod:
    """The pod."""
    return pod


def without_a_run(pod: Pod) -> Pod:
    """The pod as it was before runs had names."""
    names = ("AGGREGATION_RUN", "AGGREGATION_CLEAN")
    environment = tuple(pair for pair in pod.environment if pair[0] not in names)
    return dataclasses.replace(pod, environment=environment)


# Side by side


def pairs(shapes: Iterable[str]) -> list[tuple[str, str]]:
    """Each shape beside the next one, and the first beside itself."""
    first, *others = shapes
    return [(first, first), *itertools.pairwise([first, *others, first])]


@pytest.mark.parametrize(("first", "second"), pairs(ON_A_VOLUME))
def test_any_two_shapes_side_by_side_on_a_volume(first: str, second: str, volume: Place) -> None:
    """Each result is whole and in order, in whatever order the pods run."""
    found, wanted = mixed(volume, (ON_A_VOLUME[first], ON_A_VOLUME[second]), 1, as_it_is)
    assert found == [wanted, wanted]
    kept = {f"run-{number}" for number, name in enumerate((first, second)) if name == "process-data"}
    assert volume.left() == {"dead"} | kept


@pytest.mark.parametrize(("first", "second"), pairs(ON_OSS))
def test_any_two_shapes_side_by_side_on_oss(first: str, second: str, bucket: Place) -> None:
    """The same under one prefix, where nothing could be locked."""
    found, wanted = mixed(bucket, (ON_OSS[first], ON_OSS[second]), 2, as_it_is)
    assert found == [wanted, wanted]
    assert bucket.left() == {"dead"}


def test_without_names_they_mix(volume: Place) -> None:
    """What the names are for: the same pods without one give wrong bytes, and nobody is told."""
    shapes = (ON_A_VOLUME["fan-in 3"], ON_A_VOLUME["generated"])
    tried = (mixed(volume, shapes, seed, without_a_run) for seed in range(3))
    assert any(found != [wanted, wanted] for found, wanted in tried)


def test_two_workflows_at_the_same_time(volume: Place) -> None:
    """Their pods as processes that really run at once: the last to end gives the result, whole."""
    wanted = volume.fill(b"new")
    shapes = (ON_A_VOLUME["fan-in 3"], ON_A_VOLUME["children"])
    runs = [volume.pods(shape, f"run-{number}") for number, shape in enumerate(shapes)]

    def run(steps: list[list[Pod]]) -> None:
        for pods in steps:
            volume.cluster.run_each(pods)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, runs))
    assert volume.remove("result.txt") == wanted
    assert volume.left() == set()


# Going on


def stopped_at(place: Place, steps: list[list[Pod]], missing: str) -> tuple[list[list[Pod]], bytes]:
    """Run a workflow until an input is missing: what `argo retry` runs, and the input."""
    content = place.remove(missing)
    for number, pods in enumerate(steps):
        outcomes = [(pod, *place.cluster.attempt(pod)) for pod in pods]
        failed = [pod for pod, exit_code, _ in outcomes if exit_code]
        if failed:
            assert {exit_code for _, exit_code, _ in outcomes} == {0, 3}
            assert all(missing in said for _, exit_code, said in outcomes if exit_code)
            return [failed, *steps[number + 1 :]], content
    raise AssertionError("nothing failed")


@pytest.mark.parametrize(
    ("store", "how"),
    [("volume", "argo retry"), ("volume", "a new submission"), ("bucket", "a new submission")],
)
def test_a_run_that_failed_goes_on(store: str, how: str, request: pytest.FixtureRequest) -> None:
    """Its folder is whole after the failure and gone after success; `argo retry` does what was not done."""
    place: Place = request.getfixturevalue(store)
    shape = (ON_A_VOLUME if store == "volume" else ON_OSS)["fan-in 3"]
    wanted = place.fill(b"x")
    steps = place.pods(shape, "failed-x7k2p")
    to_do, content = stopped_at(place, steps, "l1/10.txt")
    done = {f"runs/failed-x7k2p/l2/{number}.txt" for number in range(6) if number != 3}
    assert place.names("runs") == done
    place.put_back("l1/10.txt", content)
    if how == "a new submission":
        to_do = place.pods(shape, "another-q9r8s", run="failed-x7k2p")
        assert [len(pods) for pods in to_do] == [len(pods) for pods in steps]
    for pods in to_do:
        place.cluster.run_together(pods)
    assert place.remove("result.txt") == wanted
    assert place.names("runs") == set()


@pytest.mark.parametrize("keep", ["true", "yes", ""])
def test_the_levels_stay_where_they_are_to(keep: str, volume: Place) -> None:
    """Anything but `false` keeps the run's folder, whole."""
    volume.fill(b"x")
    steps = volume.pods(ON_A_VOLUME["fan-in 3"], "a-run", **{"keep-levels": keep})
    volume.cluster.run_together(itertools.chain.from_iterable(steps))
    levels = {2: 6, 3: 2, 4: 1}
    assert volume.names("runs") == {
        f"runs/a-run/l{level}/{number}.txt" for level, files in levels.items() for number in range(files)
    }


def test_process_data_keeps_its_levels_as_the_tutorial_shows_them(volume: Place) -> None:
    """8 files at level 2 and 4 at level 3, in the run's folder; `keep-levels=false` removes them."""
    volume.fill(b"x")
    said: list[tuple[dict[str, str], int]] = [({}, 12), ({"keep-levels": "false"}, 0)]
    for given, left in said:
        steps = volume.pods(ON_A_VOLUME["process-data"], "a-run", **given)
        volume.cluster.run_together(itertools.chain.from_iterable(steps))
        assert len(volume.names("runs")) == left


@pytest.mark.parametrize(
    "gaps", [{}, {"frames": "7-11", "name": "parts/a{number:03}.bin", "missing": "skip"}]
)
def test_objects_under_their_own_names(gaps: dict[str, str], bucket: Place) -> None:
    """On OSS too one pod lists the inputs first, its count goes on, and the workflow says what is missing."""
    for number in (9, 10, 7):
        bucket.put_back(f"parts/a{number:03}.bin", f"{number} ".encode())
    given = {**bucket.given, "final-width": "1", **(gaps or {"glob": "parts/*.bin"})}
    stages, outputs = bucket.cluster.finish(RUNNABLE["aggregation-oss.yaml"], LIBRARY, given)
    assert [len(stage.pods) for stage in stages if stage.pods] == [1, 2, 1, 1]
    assert bucket.remove("result.txt") == b"7 9 10 "
    assert outputs == {"missing": "2" if gaps else "0"}
    assert bucket.left() == set()
