"""Cases on a directory: two files into one, many, whole trees."""

import os
import shutil
import sys
from collections.abc import Callable, Generator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import seccomp
from benchmarks.case import (
    GIB,
    KIB,
    LAUNCHER,
    MIB,
    Arguments,
    Case,
    Command,
    Gauge,
    Options,
    Target,
    rival,
    shell,
    size_text,
    tree_widths,
)

CAT_SYNC = "cat, sync"
CAT_STREAMED = "cat, reading and writing"
WORKER = "process.py"
MERGE = "merge.py"
COPY = "the worker's copy"
"""Without sync, rename and the interpreter's start."""

STREAMED = f"{COPY}, reading and writing"
"""What both do where neither copy_file_range nor sendfile is there."""

_TUTORIAL_MEMORY = 4
"""The tutorial's script holds text: three times the size of its files, and the system needs some too."""

_BLOCK = bytes(range(ord("A"), ord("Z") + 1)) * 40330  # a little over 1 MiB of text, for the tutorial's sake


def write(path: Path, size: int) -> None:
    """A file of `size` letters."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=0) as file:
        for start in range(0, size, MIB):
            file.write(_BLOCK[: min(MIB, size - start)])


def target_of(path: Path, size: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """A case's `reset` and `check` for commands that make one file."""

    def check() -> None:
        if path.stat().st_size != size:
            raise RuntimeError(f"{path} has {path.stat().st_size} bytes instead of {size}")

    return lambda: path.unlink(missing_ok=True), check


WITHOUT_SHORT_CUTS = (
    *(
        sys.executable,
        seccomp.__file__,
        "--deny",
        "copy_file_range=ENOSYS",
        "--deny",
        "sendfile=ENOSYS",
        "--",
    ),
    *LAUNCHER,
)
"""The launcher in a kernel that has neither copy_file_range nor sendfile."""


class Join:
    """Two files of a level, the file to make of them, and commands that make it."""

    def __init__(self, options: Options, root: Path, sizes: tuple[int, int]) -> None:
        sources = [root / "l1" / f"{number}.txt" for number in range(2)]
        for path, size in zip(sources, sizes, strict=True):
            write(path, size)
        made = root / "l2" / "0.txt"
        made.parent.mkdir()
        os.sync()
        self.files = [*sources, made]
        self.reset, self.check = target_of(made, sum(sizes))
        self.worker = Command(WORKER, options.script("process.py", "0", "1", "--root", root))
        self.copy = Command(
            COPY, rival("appender", *self.files), {"PYTHONPATH": str(options.worker)}, inside=True
        )
        self.cat = Command("cat", self.shell('cat "$1" "$2" > "$3"'))
        self.cat_sync = Command(CAT_SYNC, self.shell('cat "$1" "$2" > "$3" && sync "$3"'))

    def shell(self, script: str) -> Arguments:
        """A shell script on the files: $1 and $2 into $3."""
        return shell(script, *self.files)


def concat(options: Options) -> Generator[Case]:
    """Two files into one: as users run it, to the disk, then the copying alone."""
    sizes = {1: 5, MIB: 5, 64 * MIB: 3} if options.quick else {1: 30, MIB: 30, 64 * MIB: 12, GIB: 7}
    for size, rounds in sizes.items():
        root = options.folder / "concat"
        join = Join(options, root, (size, size))
        title = f"2 x {size_text(size)}"
        largest = size == max(sizes)
        yield _to_the_disk(join, title, size, rounds, largest=largest)
        yield _copying_alone(join, title, rounds, largest=largest)
        shutil.rmtree(root)


def _to_the_disk(join: Join, title: str, size: int, rounds: int, *, largest: bool) -> Case:
    dd = (
        'dd if="$1" of="$3" bs=1M 2> /dev/null'
        ' && dd if="$2" of="$3" bs=1M oflag=append conv=notrunc,fsync 2> /dev/null'
    )
    commands = [
        join.worker,
        join.cat_sync,
        Command("dd, fsync", join.shell(dd)),
        Command("shutil.copyfileobj, fsync", rival("copyfileobj", *join.files)),
    ]
    if size * _TUTORIAL_MEMORY < os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        script = shell('"$1" "$2" "$3" "$4" "$5" && sync "$5"', *rival("tutorial", *join.files))
        commands.append(Command("the tutorial's script, sync", script, once=size == GIB))
    if shutil.which("rclone"):
        script = join.shell('rclone cat "$1" > "$3" && rclone cat "$2" >> "$3" && sync "$3"')
        commands.append(Command("rclone cat, sync", script))
    targets = []
    if largest:
        targets.append(Target(f"{title}: memory under 24 MiB", WORKER, at_most=24 * MIB, quantity="memory"))
    if size == GIB:
        targets.append(Target(f"{title}: at most 1.05 x cat && sync", WORKER, CAT_SYNC, at_most=1.05))
    return Case(f"concat: {title}, to the disk", commands, CAT_SYNC, rounds, join.reset, join.check, targets)


def _copying_alone(join: Join, title: str, rounds: int, *, largest: bool) -> Case:
    commands = [join.copy, join.cat]
    targets = [Target(f"{title}: without sync at most 1.05 x cat", COPY, "cat", at_most=1.05)]
    if seccomp.supported():
        streamed = replace(join.copy, name=STREAMED, launcher=WITHOUT_SHORT_CUTS)
        cat = replace(join.cat, name=CAT_STREAMED, launcher=WITHOUT_SHORT_CUTS)
        commands += [streamed, cat]
        targets += [
            Target(f"{title}: fallback at most 1.25 x {name}", STREAMED, name, at_most=1.25)
            for name in ("cat", CAT_STREAMED)
        ]
    return Case(
        f"concat: {title}, copying alone",
        commands,
        "cat",
        rounds,
        join.reset,
        join.check,
        targets if largest else (),
        drawn=largest,
    )


def merge(options: Options) -> Generator[Case]:
    """Many files of a level into the result."""
    shapes = [(8, KIB), (8, MIB), (1000, KIB), (10_000, KIB)]
    if not options.quick:
        shapes += [(1000, MIB), (10_000, MIB)]
    for count, size in shapes:
        root = options.folder / "merge"
        rounds = 3 if options.quick else 2 if count * size > GIB else 7
        yield merge_of(options, root, count, size, rounds)
        shutil.rmtree(root)


def merge_of(options: Options, root: Path, count: int, size: int, rounds: int) -> Case:
    """Many files of a level into the result, beside cat by xargs."""
    sources = [root / "l3" / f"{number}.txt" for number in range(count)]
    for path in sources:
        write(path, size)
    names = root / "names"
    names.write_text("\n".join(map(str, sources)))
    os.sync()
    title = f"{count:,} x {size_text(size)}"
    reset, check = target_of(root / "result.txt", count * size)
    promise = f"{title}: at most 1.35 x cat by xargs, in each of {rounds} runs"
    targets = [Target(promise, MERGE, CAT_SYNC, at_most=1.35, each=True)]
    return Case(
        f"merge: {title}",
        [
            Command(MERGE, options.script("merge.py", str(count), "--root", root)),
            Command(CAT_SYNC, shell('xargs cat < "$1" > "$2" && sync "$2"', names, root / "result.txt")),
        ],
        CAT_SYNC,
        rounds,
        reset,
        check,
        targets if (count, size) == (10_000, KIB) else (),
        drawn=count > 8,
    )


def trees(options: Options) -> Generator[Case]:
    """Whole trees: pipeline.py in one process beside one process a merge, and what each shape moves."""
    sizes = (32,) if options.quick else (32, 512, 4096)
    for files in sizes:
        root = options.folder / "trees"
        for number in range(files):
            write(root / "l1" / f"{number}.txt", KIB)
        os.sync()
        for fan_in in (2, 16, files):
            yield replace(_tree(options, root, files, fan_in), drawn=files == sizes[-1])
        shutil.rmtree(root)


def _tree(options: Options, root: Path, files: int, fan_in: int) -> Case:
    widths = tree_widths(files, fan_in)
    levels = len(widths) - 1
    shape = ["--files", str(files), "--fan-in", str(fan_in), "--levels", str(levels)]
    pipeline = options.script("pipeline.py", *shape, "--root", root)
    lines = [
        f'seq 0 {group_count - 1} | xargs -P {os.cpu_count()} -I {{}} "$1" "$2/process.py" {{}} {level}'
        f' --files {width} --fan-in {fan_in} --root "$3"'
        for level, (width, group_count) in enumerate(pairwise(widths), start=1)
    ]
    lines.append(f'"$1" "$2/merge.py" {widths[-1]} --level {levels + 1} --root "$3"')

    def made() -> list[Path]:
        return [path for path in root.rglob("*.txt") if path.parent.name != "l1"]

    def reset() -> None:
        for path in made():
            path.unlink()

    _, check = target_of(root / "result.txt", files * KIB)
    processes = Command(
        "one process a merge",
        shell("\n".join(lines), sys.executable, options.worker, root),
        once=files > 32 and fan_in == 2,
    )
    title = f"{files:,} x 1 KiB, {'flat' if fan_in == files else f'fan-in {fan_in}'}"
    promise = f"{title}: one process at least 6 times faster"
    return Case(
        f"tree: {title}",
        [Command("pipeline.py", pipeline), processes],
        processes.name,
        3 if files > 32 else 5,
        reset,
        check,
        [Target(promise, "pipeline.py", processes.name, at_least=6)] if (files, fan_in) == (4096, 2) else (),
        Gauge(lambda: None, lambda: {"made": sum(path.stat().st_size for path in made())}),
    )
