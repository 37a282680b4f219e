"""The image as it is: built, then run as Argo and `docker run` run it."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import docker
import pytest

import machine
from aggregation import VERSION
from oss_server import OssServer
from pages.markdown import page
from scripts import REPOSITORY, leftovers, write_level
from workflows.catalogue import FOLDER, TUTORIAL, submit
from workflows.documents import effective_spec, load
from workflows.pods import Pod

TAG = "aggregation-worker:test"

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker")]


class Ran(NamedTuple):
    """What a container did."""

    code: int
    stdout: str
    stderr: str


Docker = Callable[..., Ran]


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    """A Docker Engine."""
    client = machine.docker_engine()
    yield client
    client.close()


@pytest.fixture(scope="module")
def image(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image, built from the files as a checkout under umask 077 has them: nobody else may read them."""
    build(engine, tmp_path_factory.mktemp("context"), TAG, umask=0o077)
    return TAG


BUILT = {
    "REVISION": "0123456789abcdef0123456789abcdef01234567",
    "SOURCE_DATE_EPOCH": "1700000000",
    "CREATED": "2023-11-14T22:13:20Z",
    "BASE": "python:3.11-slim-bookworm",
    "BASE_DIGEST": f"sha256:{'0' * 64}",
}
"""What a build is told of its commit and its base, as `make image` and a release do."""


def build(engine: docker.DockerClient, context: Path, tag: str, *, umask: int, afresh: bool = False) -> None:
    """Build an image of the files as a checkout under this umask has them."""
    for name in ("worker", "recipes", "image"):
        shutil.copytree(REPOSITORY / name, context / name)
    for name in ("Dockerfile", ".dockerignore", "requirements-build.txt", "requirements.txt"):
        shutil.copy2(REPOSITORY / name, context)
    for path in context.rglob("*"):
        path.chmod(path.stat().st_mode & ~umask)
        os.utime(path)
    engine.images.build(
        path=str(context),
        tag=tag,
        target="worker",
        rm=True,
        platform="linux/amd64",
        buildargs=BUILT,
        nocache=afresh,
    )


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A folder as `manifests/volume.yaml` mounts it: owned by 1000:1001."""
    path = tmp_path / "vol"
    path.mkdir()
    path.chmod(0o777)
    (path / "aggregation-demo").mkdir()
    if os.geteuid() == 0:
        for folder in (path, path / "aggregation-demo"):
            os.chown(folder, 1000, 1001)
    else:
        (path / "aggregation-demo").chmod(0o777)
    return path


@pytest.fixture
def contain(engine: docker.DockerClient, image: str, volume: Path) -> Docker:
    """Runs a command in a container of the image over the volume and returns what came of it."""

    def run(*command: str, **options: object) -> Ran:
        mounts = {str(volume): {"bind": "/mnt/vol", "mode": "rw"}}
        settings: dict[str, Any] = {"volumes": mounts, "network_mode": "none"} | options
        container = engine.containers.create(image, list(command) or None, **settings)
        try:
            container.start()
            code = int(container.wait()["StatusCode"])
            out, err = (container.logs(stdout=not error, stderr=error).decode() for error in (False, True))
            return Ran(code, out, err)
        finally:
            container.remove(force=True)

    return run


class Workflows(NamedTuple):
    """prepare-data.yaml and process-data.yaml of a folder, run pod by pod in containers over the volume."""

    folder: Path
    contain: Docker

    def run(self, name: str) -> list[Ran]:
        """Run a workflow's stages one after the other, and the pods of each side by side."""
        (document,) = load(self.folder / name)
        secured = effective_spec(document).get("securityContext", {})
        with ThreadPoolExecutor(8) as pool:
            return [
                ran
                for stage in submit(name, folder=self.folder)
                for ran in pool.map(lambda pod: self._run_pod(pod, secured), stage.pods)
            ]

    def _run_pod(self, pod: Pod, secured: dict[str, Any]) -> Ran:
        own = pod.container.get("securityContext", {})
        options: dict[str, Any] = {
            "environment": dict(pod.environment),
            "tmpfs": {path: "mode=1777" for path, volume in pod.mounts if volume != "workdir"},
            "read_only": own.get("readOnlyRootFilesystem", False),
            "cap_drop": own.get("capabilities", {}).get("drop", []),
            "security_opt": ["no-new-privileges"] if own.get("allowPrivilegeEscalation") is False else [],
        }
        if secured:
            options["user"] = f"{secured['runAsUser']}:{secured['runAsGroup']}"
        return self.contain(*pod.command, **options)


def own(volume: Path, owner: int, group: int) -> None:
    """Make the volume an empty folder of somebody's, drwxr-xr-x, as ossfs shows its root."""
    machine.root()
    (volume / "aggregation-demo").rmdir()
    os.chown(volume, owner, group)
    volume.chmod(0o755)


@pytest.mark.parametrize(
    ("folder", "owner"), [(TUTORIAL, (0, 0)), (FOLDER, (1000, 1001))], ids=["the tutorial's", "ours"]
)
def test_the_workflows(contain: Docker, volume: Path, folder: Path, owner: tuple[int, int]) -> None:
    """The tutorial's pods, as root, on an ordinary OSS volume; ours, hardened, on the one of ours."""
    own(volume, *owner)
    workflows = Workflows(folder, contain)
    done = [workflows.run("prepare-data.yaml"), workflows.run("process-data.yaml")]
    assert [[ran for ran in pods if ran.code] for pods in done] == [[], []]
    assert [len(pods) for pods in done] == [1, 25]
    root = volume / "aggregation-demo"
    letters = b"".join((root / f"l1/{n}.txt").read_bytes() for n in range(32))
    assert (root / "result.txt").read_bytes() == letters
    assert len(letters) == 32
    assert {(path.stat().st_uid, path.stat().st_gid) for path in root.rglob("*")} == {owner}
    assert leftovers(root) == []


def test_the_tutorials_workflow_on_our_volume(contain: Docker, volume: Path) -> None:
    """Root may write to anybody's folder, as long as nobody takes its capabilities."""
    own(volume, 1000, 1001)
    assert [ran.code for ran in Workflows(TUTORIAL, contain).run("prepare-data.yaml")] == [0]


@pytest.mark.parametrize(
    ("user", "owner"),
    [((1000, 1001), (0, 0)), ((0, 0), (1000, 1001)), ((4242, 4243), (1000, 1001))],
    ids=lambda pair: ":".join(map(str, pair)),
)
def test_a_volume_of_somebody_else(
    contain: Docker, volume: Path, user: tuple[int, int], owner: tuple[int, int]
) -> None:
    """Hardened, on a folder of another user's: one line that says whose it must be, or who to run as."""
    own(volume, *owner)
    hard = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]}
    ran = contain("python3", "prepare.py", user="{}:{}".format(*user), **hard)
    assert ran.code == 5, ran
    assert ran.stderr.count("\n") == 1
    assert "not writable by uid {}, gid {}".format(*user) in ran.stderr
    assert "uid={},gid={}".format(*user) in ran.stderr
    assert "docker run --user" in ran.stderr


@pytest.mark.parametrize("as_me", [True, False], ids=["as it is", "without --user"])
def test_the_page_s_commands(image: str, tmp_path: Path, *, as_me: bool) -> None:
    """`docker run` as docs/docker.md has it, and without its `--user`; only the files' owner is another."""
    machine.docker_command()
    script = page("docs/docker.md").blocks("sh")[0].text
    for words in (r"make image .*\n", r"IMAGE=.*\n", *([] if as_me else [r' --user "\S+ -u\):\S+ -g\)"'])):
        script, found = re.subn(words, "", script)
        assert found, words
    assert script.count("docker run --rm") == 3
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, env={**os.environ, "IMAGE": image}, check=True)
    result = tmp_path / "data/aggregation-demo/result.txt"
    assert len(result.read_bytes()) == 32
    assert result.stat().st_uid == (os.geteuid() if as_me else 0)


def test_alone_it_says_what_it_can_do(contain: Docker) -> None:
    """`docker run IMAGE` prints the scripts."""
    ran = contain(volumes={})
    assert ran.code == 0
    for script in ("prepare.py", "process.py", "merge.py", "pipeline.py"):
        assert script in ran.stdout


@pytest.mark.parametrize(
    "options",
    [
        {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]},
        {"user": "4242:4243"},
        {"user": "0:0"},
        {"working_dir": "/tmp"},
    ],
    ids=str,
)
def test_it_runs_as_a_pod_may_run_it(contain: Docker, volume: Path, options: dict[str, object]) -> None:
    """With a read-only root, no capability, any user, another working directory, and always no network."""
    (volume / "aggregation-demo").chmod(0o777)
    ran = contain("pipeline.py", "--prepare", **options)
    assert ran.code == 0, ran
    assert len((volume / "aggregation-demo/result.txt").read_bytes()) == 32


def test_exit_codes_and_the_cure_come_through(contain: Docker, volume: Path) -> None:
    """A missing input is 3; a volume of another user is 5, and the line names the uid and the cure."""
    assert contain("python3", "process.py", "0", "1").code == 3
    write_level(volume / "aggregation-demo", 1, [b"a", b"b"])
    (volume / "aggregation-demo").chmod(0o755)
    ran = contain("python3", "process.py", "0", "1", user="4242:4243")
    assert ran.code == 5
    assert "not writable by uid 4242" in ran.stderr
    assert "uid=4242" in ran.stderr
    ran = contain("python3", "process.py", "0", "1", volumes={})
    assert ran.code == 3
    assert "no volume is mounted here" in ran.stderr


def test_two_gibibytes_in_48_mebibytes(contain: Docker, volume: Path) -> None:
    """Memory is constant: 2x1 GiB are joined in a container with 48 MiB, page cache included."""
    root = volume / "aggregation-demo"
    marks = [b"first", b"second"]
    for path, mark in zip(write_level(root, 1, marks), marks, strict=True):
        with path.open("r+b") as file:
            file.truncate(1 << 30)
            file.seek(-len(mark), os.SEEK_END)
            file.write(mark)
    for options in ([], ["--checksum"]):
        ran = contain("process.py", "0", "1", *options, mem_limit="48m", memswap_limit="48m")
        assert ran.code == 0, ran
        with (root / "l2/0.txt").open("rb") as file:
            assert os.fstat(file.fileno()).st_size == 2 << 30
            for offset, mark in [(0, b"first"), ((1 << 30) - 5, b"first"), (1 << 30, b"second")]:
                file.seek(offset)
                assert file.read(len(mark)) == mark
            file.seek(-6, os.SEEK_END)
            assert file.read() == b"second"


def test_sigterm_reaches_process_1(engine: docker.DockerClient, image: str, volume: Path) -> None:
    """As process 1 of a container, where the kernel has no default action, it cleans up and exits 143."""
    root = volume / "aggregation-demo"
    for path in write_level(root, 1, [b"", b""]):
        os.truncate(path, 8 << 30)
    container = engine.containers.run(
        image,
        ["python3", "process.py", "0", "1", "--checksum"],
        volumes={str(volume): {"bind": "/mnt/vol", "mode": "rw"}},
        detach=True,
    )
    try:
        while not leftovers(root):
            container.reload()
            assert container.status in ("created", "running"), container.logs()
            time.sleep(0.01)
        container.kill("SIGTERM")
        assert container.wait()["StatusCode"] == 143
        assert b"SIGTERM" in container.logs(stdout=False)
    finally:
        container.remove(force=True)
    assert leftovers(root) == []
    assert not (root / "l2/0.txt").exists()


def test_nothing_is_compiled_at_run_time(contain: Docker) -> None:
    """Every module that the scripts import comes with its .pyc: a read-only pod could never write one."""
    code = (
        "import importlib, json, os, pkgutil, sys\n"
        "for found in pkgutil.walk_packages(['.']): importlib.import_module(found.name)\n"
        "from aggregation import terminal; terminal.tree_lines('', [], 0, unfold=False)\n"
        "spec = lambda m: getattr(m, '__spec__', None)\n"
        "lacking = [m.__file__ for m in sys.modules.values() if spec(m) and spec(m).has_location\n"
        "  and m.__file__.endswith('.py') and not os.path.exists(spec(m).cached or '')]\n"
        "print(json.dumps([len(lacking), *lacking, 'aggregation.stores.oss.listing' in sys.modules]))"
    )
    ran = contain("python3", "-c", code)
    assert ran.code == 0, ran
    assert json.loads(ran.stdout) == [0, True]


def test_it_is_small(engine: docker.DockerClient, image: str) -> None:
    """The layers above the base are at most 45 MiB: each of thousands of pods may have to pull them."""
    base = engine.images.get("python:3.11-slim-bookworm").attrs["Size"]
    assert engine.images.get(image).attrs["Size"] - base <= 45 << 20


def test_it_speaks_oss(engine: docker.DockerClient, image: str) -> None:
    """What was left out of the packages is not missed on an oss:// root."""
    with OssServer(["demo"], access_key_id="id", access_key_secret="secret") as server:
        for number in range(2):
            server.put("demo", f"data/l1/{number}.txt", b"x" * 3_000_000)
        engine.containers.run(
            image,
            ["process.py", "0", "1", "--root", "oss://demo/data"],
            environment=server.environment(),
            network_mode="host",
            read_only=True,
            remove=True,
        )
        assert server.get("demo", "data/l2/0.txt") == b"x" * 6_000_000


def test_what_the_image_is(engine: docker.DockerClient, image: str) -> None:
    """amd64, no user of its own, OCI labels, the changelog's version, no compiler, cache or test."""
    attributes = engine.images.get(image).attrs
    assert attributes["Architecture"] == "amd64"
    assert attributes["Config"]["User"] == ""
    labels = attributes["Config"]["Labels"]
    for label in ("title", "description", "licenses"):
        assert labels[f"org.opencontainers.image.{label}"]
    newest = re.search(r"^## (\S+)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert labels["org.opencontainers.image.version"] == newest[1]
    listed = engine.containers.run(
        image,
        ["sh", "-c", "command -v gcc; ls /root/.cache /opt/aggregation/tests 2>/dev/null; true"],
        remove=True,
    )
    assert listed == b""


def test_two_builds_of_a_commit(engine: docker.DockerClient, image: str, tmp_path: Path) -> None:
    """Another umask and other times of a checkout give the same layers.

    With `IMAGE_TWICE` in the environment nothing that the first build made is used again.
    """
    twice = bool(os.environ.get("IMAGE_TWICE"))
    build(engine, tmp_path, f"{TAG}-again", umask=0o022, afresh=twice)
    first, second = (engine.images.get(tag).attrs["RootFS"]["Layers"] for tag in (image, f"{TAG}-again"))
    assert first == second
    base = engine.images.get(BUILT["BASE"]).attrs["RootFS"]["Layers"]
    assert first[: len(base)] == base
    assert len(first) == len(base) + 1


def test_all_files_have_the_commit_s_time(contain: Docker) -> None:
    """What the builder's cache does not look at, and what would make another layer of the next build."""
    look = "find /opt /usr/local/share/sbom ( -newermt @1700000000 -o ! -newermt @1699999999 )"
    ran = contain(*look.split())
    assert (ran.code, ran.stdout, ran.stderr) == (0, "", "")


def test_labels_say_what_it_was_made_of(engine: docker.DockerClient, image: str) -> None:
    """Commit, its time, and the base by name and digest."""
    labels = engine.images.get(image).attrs["Config"]["Labels"]
    told = {
        "revision": BUILT["REVISION"],
        "created": BUILT["CREATED"],
        "base.name": BUILT["BASE"],
        "base.digest": BUILT["BASE_DIGEST"],
    }
    assert {name: labels[f"org.opencontainers.image.{name}"] for name in told} == told


def test_the_version_says_what_is_installed(contain: Docker) -> None:
    """Version, commit, Python, and the packages in their locked versions."""
    ran = contain("python3", "-m", "aggregation", "--version", read_only=True, user="4242")
    assert ran.code == 0, ran
    worker, commit, python, *packages = ran.stdout.splitlines()
    assert worker == f"aggregation worker {VERSION}"
    assert commit == f"commit {BUILT['REVISION']}"
    assert python.startswith("Python 3.11.")
    locked = set(
        re.findall(r"^([\w.-]+)==(\S+)", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)
    )
    left_out = {"pygments", "markdown-it-py", "mdurl"}
    wanted = {f"{name} {version}".lower() for name, version in locked if name not in left_out}
    assert wanted <= {package.lower().replace("_", "-") for package in packages}
    assert contain("python3", "-m", "aggregation", "--what").code == 2


def test_the_list_of_packages_is_true(contain: Docker) -> None:
    """The SBOM has Python, each Python package that can be imported, and each package of Debian."""
    code = (
        "import json, subprocess; from importlib.metadata import distributions\n"
        "document = json.load(open('/usr/local/share/sbom/aggregation.cdx.json'))\n"
        "python = [[found.metadata['Name'], found.version] for found in distributions()]\n"
        "shown = subprocess.check_output(['dpkg-query', '-W', '-f', '${Package} ${Version}\\n'], text=True)\n"
        "print(json.dumps([document, python, [line.split() for line in shown.splitlines()]]))"
    )
    ran = contain("python3", "-c", code)
    assert ran.code == 0, ran
    document, python, debian = json.loads(ran.stdout)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    assert document["metadata"]["timestamp"] == BUILT["CREATED"]
    assert document["metadata"]["component"]["version"] == VERSION
    listed = {(each["purl"].split("/")[0], each["name"], each["version"]) for each in document["components"]}
    assert {("pkg:pypi", *each) for each in python} == {each for each in listed if each[0] == "pkg:pypi"}
    assert {("pkg:deb", *each) for each in debian} == {each for each in listed if each[0] == "pkg:deb"}
    assert [name for kind, name, _ in listed if kind == "pkg:generic"] == ["python"]
    assert len({each["bom-ref"] for each in document["components"]}) == len(document["components"])
