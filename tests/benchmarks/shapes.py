"""What each shape of a tree costs, on a volume and on OSS: the figures of docs/performance.md."""

import shutil
from collections.abc import Generator, Mapping

from benchmarks.case import KIB, Case, Command, Gauge, Options, size_text, tree_widths
from benchmarks.stores import oss_server
from benchmarks.volumes import target_of, write

FAN_INS = (2, 16, 64)


def shapes(options: Options) -> Generator[Case]:
    """512 files of 256 KiB as a flat merge and as trees, all by pipeline.py with four merges at a time."""
    files = 64 if options.quick else 512
    size = 256 * KIB
    root = options.folder / "shapes"
    for number in range(files):
        write(root / "l1" / f"{number}.txt", size)
    _, check = target_of(root / "result.txt", files * size)

    def reset() -> None:
        for path in root.iterdir():
            if path.name != "l1":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def written() -> int:
        return sum(path.stat().st_size for path in root.rglob("*.txt") if path.parent.name != "l1")

    title = f"{files} x {size_text(size)}"
    rounds = 2
    fan_ins = [files, *(fan_in for fan_in in FAN_INS if fan_in < files)]
    commands = [_command(options, files, fan_in, str(root)) for fan_in in fan_ins]
    gauge = Gauge(lambda: None, lambda: {"made": written()})
    yield Case(f"shapes: {title} on a volume", commands, "flat", rounds, reset, check, (), gauge, drawn=False)
    with oss_server(options.folder) as server:
        for number in range(files):
            server.put(f"shapes/l1/{number}.txt", bytes(size))
        server.shape("20 ms, 50 MB/s")
        commands = [
            _command(options, files, fan_in, server.url("shapes"), server.variables) for fan_in in fan_ins
        ]
        yield Case(
            f"shapes: {title} on OSS, 20 ms, 50 MB/s",
            commands,
            "flat",
            rounds,
            lambda: None,
            lambda: None,
            (),
            server.gauge,
        )
    shutil.rmtree(root)


def _command(
    options: Options, files: int, fan_in: int, root: str, variables: Mapping[str, str] | None = None
) -> Command:
    _, *widths = tree_widths(files, fan_in)
    levels, merges = len(widths), sum(widths) + 1
    shape = ["--files", str(files), "--fan-in", str(fan_in), "--levels", str(levels), "--workers", "4"]
    name = "flat" if fan_in == files else f"fan-in {fan_in}, {merges} merges"
    return Command(name, options.script("pipeline.py", *shape, "--root", root), variables or {})
