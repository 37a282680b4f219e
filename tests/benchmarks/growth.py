"""How the cost grows with the inputs: flat and as a tree, on a disk, on a slow mount and on OSS."""

import os
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import slow_mount
from benchmarks.case import (
    KIB,
    MIB,
    Case,
    Command,
    Gauge,
    Options,
    SkippedError,
    Target,
    size_text,
    tree_widths,
)
from benchmarks.stores import oss_server
from benchmarks.volumes import MERGE, write

FAN_IN = 64
_PART = 100 * KIB
"""The least that a part of a multipart upload has, so that each object is one."""

_LINEAR = 1.1
"""CPU time of one step may grow by so much more than the inputs do."""

_MEMORY = 96 * MIB

Place = Callable[[int], str]
"""The root that holds so many inputs."""


def growth(options: Options) -> Generator[Case]:
    """The same work on ten times as many inputs, and again: a command of a case for each count."""
    yield from _disk(options, [100, 1000] if options.quick else [100, 1000, 10_000, 100_000])
    yield from _oss(options, 4 * KIB, [100, 1000] if options.quick else [100, 1000, 10_000])
    # More objects than a multipart upload has parts.
    yield from _oss(options, _PART, [100] if options.quick else [100, 1000, 12_000])
    yield from _mount(options, [100] if options.quick else [100, 1000])


def _disk(options: Options, counts: Sequence[int]) -> Generator[Case]:
    folder = options.folder / "growth"
    _fill(folder, counts)
    roots = [folder / str(count) for count in counts]
    for case in _cases("disk, 1 KiB", options, counts, lambda count: str(folder / str(count))):
        yield replace(case, reset=lambda: _remove_results(roots), check=lambda: _check(roots))
    shutil.rmtree(folder)


def _mount(options: Options, counts: Sequence[int]) -> Generator[Case]:
    behind, volume, requests = (options.folder / name for name in ("grown", "mounted", "sent"))
    _fill(behind, counts)
    volume.mkdir()
    roots = [volume / str(count) for count in counts]
    gauge = Gauge(
        lambda: os.truncate(requests, 0), lambda: {"requests": len(requests.read_text().splitlines())}
    )
    try:
        with slow_mount.mounted(behind, volume, latency=0.02, remember=1, cache=1, requests=requests):
            for case in _cases(
                "mount, 1 KiB, 20 ms", options, counts, lambda count: str(volume / str(count)), gauge=gauge
            ):
                yield replace(case, reset=lambda: _remove_results(roots), check=lambda: _check(roots))
    except slow_mount.UnavailableError as error:
        raise SkippedError(str(error)) from error
    finally:
        shutil.rmtree(behind)


def _oss(options: Options, size: int, counts: Sequence[int]) -> Generator[Case]:
    with oss_server(options.folder) as server:
        for count in counts:
            for number in range(count):
                server.put(f"{count}/l1/{number}.txt", bytes(size))
        yield from _cases(
            f"OSS, {size_text(size)}",
            options,
            counts,
            lambda count: server.url(str(count)),
            server.variables,
            server.gauge,
        )


def _fill(folder: Path, counts: Sequence[int]) -> None:
    for count in counts:
        for number in range(count):
            write(folder / str(count) / "l1" / f"{number}.txt", KIB)


def _remove_results(roots: Sequence[Path]) -> None:
    for root in roots:
        (root / "result.txt").unlink(missing_ok=True)


def _check(roots: Sequence[Path]) -> None:
    """One of them has its result."""
    sizes = [(root / "result.txt").stat().st_size for root in roots if (root / "result.txt").exists()]
    if [root for root in roots if int(root.name) * KIB in sizes] == [] or len(sizes) != 1:
        raise RuntimeError(f"results of {sizes} bytes")


def _cases(
    what: str,
    options: Options,
    counts: Sequence[int],
    place: Place,
    variables: Mapping[str, str] | None = None,
    gauge: Gauge | None = None,
) -> Generator[Case]:
    """A flat merge, and a tree in one process."""

    def tree(count: int) -> list[str]:
        levels = len(tree_widths(count, FAN_IN)) - 1
        return ["--files", str(count), "--fan-in", str(FAN_IN), "--levels", str(levels), "--workers", "2"]

    shapes: dict[str, tuple[str, Callable[[int], list[str]]]] = {
        "flat": (MERGE, lambda count: [str(count), "--level", "1"]),
        f"fan-in {FAN_IN}": ("pipeline.py", tree),
    }
    for shape, (script, arguments) in shapes.items():
        title = f"{what}, {shape}"
        commands = [
            Command(
                f"{count:,}",
                options.script(script, *arguments(count), "--root", place(count)),
                variables or {},
                once=True,
            )
            for count in counts
        ]
        yield Case(
            f"growth: {title}",
            commands,
            commands[0].name,
            1,
            lambda: None,
            lambda: None,
            _targets(title, counts),
            gauge,
        )


def _targets(title: str, counts: Sequence[int]) -> list[Target]:
    largest = f"{counts[-1]:,}"
    promise = f"{title}: memory under {size_text(_MEMORY)}"
    targets = [Target(promise, largest, at_most=_MEMORY, quantity="memory")]
    if smaller := [count for count in counts if count <= counts[-1] // 10]:
        before = f"{smaller[-1]:,}"
        most = round(_LINEAR * counts[-1] / smaller[-1], 2)
        promise = f"{title}: CPU at most {most:g} x that of {before}"
        targets.append(Target(promise, largest, before, at_most=most, quantity="cpu"))
    return targets
