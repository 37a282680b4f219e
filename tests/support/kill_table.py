"""Where a process was killed and what was there then, a line each, for whoever asks by `KILL_TABLE=file`."""

import os
from collections import Counter
from pathlib import Path


def add(scenario: str, outcomes: Counter[tuple[str, str]]) -> None:
    """Add a scenario's counts: the call or request before which it was killed, and what was found."""
    path = os.environ.get("KILL_TABLE")
    if path:
        lines = [f"{scenario}\t{at}\t{found}\t{count}\n" for (at, found), count in outcomes.items()]
        with Path(path).open("a", encoding="utf-8") as file:
            file.writelines(lines)
