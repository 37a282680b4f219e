"""Merges at once on a server that takes so many requests a second; writes what came of them to a file.

    many_pods.py FIGURES LIMIT PROCESSES FILES MERGE.PY [OPTION...]

All begin when the last one waits for an answer: no more have come for some seconds. What of the limit was
used is counted from there to the end of the first one: after that there are fewer.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_TESTS = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(_TESTS / "support"), str(_TESTS.parent / "worker")]

from oss_server import Fault, Hold, OssServer  # noqa: E402 - the path leads there now

_QUIET_SECONDS = 5.0


def main(figures: str, limit: float, processes: int, files: int, call: Sequence[str]) -> None:
    """Start, wait, count."""
    with OssServer(["demo"]) as server:
        server.settings.latency = 0.02
        for number in range(files):
            server.put("demo", f"a/l1/{number}.txt", bytes(1024))
        held = server.faults.add(Fault("HeadObject", Hold()))
        variables = {**os.environ, **server.environment()}
        argv = [sys.executable, call[0], str(files), "--level", "1", "--root", "oss://demo/a", *call[1:]]
        running = [
            subprocess.Popen([*argv, "--output", f"{number}.txt"], env=variables, stdout=subprocess.DEVNULL)
            for number in range(processes)
        ]
        seen = 0
        while held.hits < processes or held.hits > seen:
            seen = held.hits
            time.sleep(_QUIET_SECONDS)
        server.settings.requests_per_second = limit
        server.counters.reset()
        began = time.monotonic()
        held.release()
        while all(process.poll() is None for process in running):
            time.sleep(0.01)
        total = server.counters.total
        used = (total.requests - total.refused) / (limit * (time.monotonic() - began))
        codes = [process.wait() for process in running]
        total = server.counters.total
        found = {"failed": sum(map(bool, codes)), "used": used, "refused": total.refused / total.requests}
    Path(figures).write_text(json.dumps({**found, "requests": total.requests}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
