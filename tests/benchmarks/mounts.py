"""Cases on mounts: file systems that share extents, one that takes its time, a real object store's."""

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import seccomp
import slow_mount
from benchmarks.case import (
    GIB,
    HERE,
    KIB,
    MIB,
    Arguments,
    Case,
    Command,
    Gauge,
    Options,
    SkippedError,
    Target,
    rival,
    shell,
    size_text,
)
from benchmarks.volumes import (
    CAT_STREAMED,
    CAT_SYNC,
    COPY,
    MERGE,
    WITHOUT_SHORT_CUTS,
    WORKER,
    Join,
    merge_of,
    target_of,
    write,
)

START = "process.py, 2 x 1 B"
"""Its start-up: a run that has next to nothing to copy."""

_REQUESTS = 24
"""What two files of ten thousand cost on a mount."""


def reflink(options: Options) -> Generator[Case]:
    """File systems that share extents, in a loop device's image."""
    if os.geteuid() != 0:
        raise SkippedError("mounting an image needs root")
    if not seccomp.supported():
        raise SkippedError("there is no way here to keep cat from sharing extents too")
    kinds = {"xfs": ["-q", "-m", "reflink=1"], "btrfs": ["-q"]}
    found = {kind: flags for kind, flags in kinds.items() if shutil.which(f"mkfs.{kind}")}
    if not found:
        raise SkippedError("there is neither mkfs.xfs nor mkfs.btrfs (Debian: xfsprogs, btrfs-progs)")
    size = 64 * MIB if options.quick else GIB
    for kind, flags in found.items():
        with _image(options.folder, ["mkfs", "-t", kind, *flags]) as volume:
            for first in (size, size + 1):
                root = volume / "root"
                rounds = 3 if options.quick or first % 4096 else 5
                yield _reflink(options, root, kind, (first, size), rounds)
                shutil.rmtree(root)


def _reflink(options: Options, root: Path, kind: str, sizes: tuple[int, int], rounds: int) -> Case:
    join = Join(options, root, sizes)
    # From coreutils 9.1 on cat calls copy_file_range itself, and so shares extents too.
    copying = replace(join.cat_sync, name=CAT_STREAMED, launcher=WITHOUT_SHORT_CUTS)
    title = f"{kind}, {size_text(sizes[0])} and {size_text(sizes[1])}"
    for number in range(2):
        write(root / "small" / "l1" / f"{number}.txt", 1)
    remove_small, _ = target_of(small := root / "small" / "l2" / "0.txt", 2)

    def reset() -> None:
        remove_small()
        join.reset()

    def check() -> None:
        if not small.exists():  # it was not the start-up
            join.check()

    start = Command(START, options.script("process.py", "0", "1", "--root", root / "small"))
    targets = [
        Target(f"{title}: at least 50 times faster than copying", COPY, CAT_STREAMED, at_least=50),
        Target(f"{title}: at most 1.25 x its own start-up", WORKER, START, at_most=1.25),
    ]
    return Case(
        f"reflink: {title}",
        [join.worker, start, join.copy, join.cat_sync, copying],
        CAT_STREAMED,
        rounds,
        reset,
        check,
        targets if sizes[0] % 4096 == 0 else (),
        drawn=sizes[0] % 4096 == 0,
    )


@contextmanager
def _image(folder: Path, make: Sequence[str]) -> Iterator[Path]:
    """A file system in a sparse file, mounted."""
    image, volume = folder / "image", folder / "volume"
    volume.mkdir(exist_ok=True)
    image.write_bytes(b"")
    os.truncate(image, 8 * GIB)
    try:
        try:
            subprocess.run([*make, image], check=True, capture_output=True, text=True)
            subprocess.run(["mount", "-o", "loop", image, volume], check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            raise SkippedError(f"{make[2]} cannot be mounted: {error.stderr.strip()}") from error
        try:
            yield volume
        finally:
            subprocess.run(["umount", volume], check=True)
    finally:
        image.unlink()


def mount(options: Options) -> Generator[Case]:
    """A mount that looks files up as ossfs 1 does with the options of manifests/volume.yaml, at 20 ms."""
    behind, volume = options.folder / "behind", options.folder / "slow"
    requests = options.folder / "requests"
    behind.mkdir()
    volume.mkdir()
    gauge = Gauge(
        lambda: os.truncate(requests, 0), lambda: {"requests": len(requests.read_text().splitlines())}
    )
    try:
        with slow_mount.mounted(behind, volume, latency=0.02, remember=1, cache=1, requests=requests):
            yield from _on_a_mount(options, behind, volume, 50 if options.quick else 300, gauge)
            yield _two_of_many(options, behind, volume, gauge)
    except slow_mount.UnavailableError as error:
        raise SkippedError(str(error)) from error


def _on_a_mount(options: Options, behind: Path, volume: Path, count: int, gauge: Gauge) -> Generator[Case]:
    """A level whose names are new to the kernel, which looks them up one by one; then known ones."""
    for number in range(count):
        write(behind / "l3" / f"{number}.txt", KIB)
    remove_target, check = target_of(volume / "result.txt", count * KIB)

    def reset() -> None:
        remove_target()
        (last,) = behind.glob("l*")
        new = last.rename(behind / f"l{int(last.name[1:]) + 1}")
        names = [str(volume / new.name / f"{number}.txt") for number in range(count)]
        (behind / "names").write_text("\n".join(names))

    promise = "at least 8 times faster than cat"
    for kind, before in (("new names", reset), ("known names", remove_target)):
        title = f"{count:,} x 1 KiB, 20 ms a request, {kind}"
        script = shell('xargs cat < "$1" > "$2"', behind / "names", volume / "result.txt")
        yield Case(
            f"mount: {title}",
            [
                Command(MERGE, options.script("merge.py", str(count), "--root", volume)),
                Command("cat", script, once=True),
            ],
            "cat",
            1 if options.quick else 3,
            before,
            check,
            () if options.quick else [Target(f"mount, {title}: {promise}", MERGE, "cat", at_least=8)],
            gauge,
        )
    for path in behind.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _two_of_many(options: Options, behind: Path, volume: Path, gauge: Gauge) -> Case:
    """Two files of a level that holds many more: to list it would cost a request for each."""
    count = 1000 if options.quick else 10_000
    for number in range(count):
        write(behind / "l1" / f"{number}.txt", KIB)
    (behind / "l2").mkdir()
    reset, check = target_of(behind / "l2" / "0.txt", 2 * KIB)
    title = f"2 of {count:,} x 1 KiB, 20 ms a request"
    promise = f"mount, {title}: at most {_REQUESTS} requests"
    script = options.script("process.py", "0", "1", "--files", str(count), "--root", volume)
    return Case(
        f"mount: {title}",
        [Command(WORKER, script)],
        WORKER,
        3,
        reset,
        check,
        [Target(promise, WORKER, at_most=_REQUESTS, quantity="requests")],
        gauge,
        drawn=False,
    )


def s3fs(options: Options) -> Generator[Case]:
    """A real object store's mount: s3fs, which ossfs 1 comes from, over a server with 20 ms a request."""
    if shutil.which("s3fs") is None:
        raise SkippedError("there is no s3fs (Debian: s3fs)")
    size, count = (8 * MIB, 20) if options.quick else (64 * MIB, 100)
    volume = options.folder / "s3fs"
    volume.mkdir()
    with _s3fs(options.folder, volume) as gauge:
        join = Join(options, volume / "large", (size, size))
        yield Case(
            f"s3fs: 2 x {size_text(size)}, 20 ms a request",
            [
                join.worker,
                join.cat_sync,
                Command("shutil.copyfileobj, fsync", rival("copyfileobj", *join.files)),
            ],
            CAT_SYNC,
            1 if options.quick else 3,
            join.reset,
            join.check,
            gauge=gauge,
        )
        many = merge_of(options, volume / "small", count, KIB, 1 if options.quick else 3)
        name = f"s3fs: {count} x 1 KiB, 20 ms a request"
        yield replace(many, name=name, gauge=gauge, drawn=True)


@contextmanager
def _s3fs(folder: Path, volume: Path) -> Iterator[Gauge]:
    server: Arguments = [sys.executable, HERE / "s3_server.py"]
    with subprocess.Popen(server, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout is not None
            port = serving.stdout.readline().strip()
            if not port:
                raise SkippedError(f"no S3 server: {serving.communicate()[1].strip().splitlines()[-1]}")
            url = f"http://127.0.0.1:{port}"
            urllib.request.urlopen(urllib.request.Request(f"{url}/demo", method="PUT")).close()
            keys = folder / "keys"
            keys.write_text("key:secret")
            keys.chmod(0o600)
            choices = f"url={url},use_path_request_style,passwd_file={keys}"
            mounting = subprocess.run(
                ["s3fs", "demo", volume, "-o", choices], check=False, capture_output=True, text=True
            )
            if mounting.returncode:
                raise SkippedError(f"s3fs cannot be mounted: {mounting.stderr.strip()}")
            try:
                yield _requests(f"{url}/-/requests")
            finally:
                subprocess.run(["umount", volume], check=True)
        finally:
            serving.terminate()


def _requests(url: str) -> Gauge:
    before = 0

    def count() -> int:
        with urllib.request.urlopen(url) as answer:
            return int(answer.read())

    def reset() -> None:
        nonlocal before
        before = count()

    return Gauge(reset, lambda: {"requests": count() - before})
