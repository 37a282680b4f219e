"""Many pods at once on a bucket that takes so many requests a second: is the limit used, and kept?"""

import json
from collections.abc import Generator

from benchmarks.case import Case, Command, Gauge, Options, Quantity, Target, rival

_PROCESSES, _LIMIT, _FILES = 16, 200.0, 300
"""What two cores hold: a limit of 2,000 requests a second and 64 processes are the same to each process but
for the time that its own start takes."""

_TOLD = "each told its share"


def limits(options: Options) -> Generator[Case]:
    """Merges of small objects, with --requests-per-second and without."""
    processes, limit, files = (4, 100.0, 100) if options.quick else (_PROCESSES, _LIMIT, _FILES)
    figures = options.folder / "limits.json"

    def command(name: str, *more: str) -> Command:
        counts = (str(limit), str(processes), str(files), str(options.worker / "merge.py"))
        return Command(name, rival("many_pods", str(figures), *counts, *more), once=True)

    def read() -> dict[Quantity, float]:
        found: dict[Quantity, float] = json.loads(figures.read_text())
        return found

    what = f"{processes} at once, {limit:g} requests a second"
    yield Case(
        f"limits: {what}",
        [
            command(_TOLD, "--requests-per-second", f"{limit / processes:g}"),
            command("left to find it"),
        ],
        _TOLD,
        1,
        lambda: None,
        lambda: None,
        [
            Target(f"{what}: none fails", _TOLD, at_most=0, quantity="failed"),
            Target(f"{what}: nine tenths of the limit used", _TOLD, at_least=0.9, quantity="used"),
            Target(f"{what}: under 1 % refused", _TOLD, at_most=0.01, quantity="refused"),
        ],
        Gauge(lambda: figures.unlink(missing_ok=True), read),
    )
