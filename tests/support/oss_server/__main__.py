"""Start the server by hand: `python tests/support/oss_server`.

Prints the variables that lead a client here, ready to paste into a shell, and runs until SIGINT or SIGTERM.
"""

import argparse
import shlex
import signal
import sys
import threading
from pathlib import Path

if (
    not __package__
):  # started by its path: Python has put this folder first, where `oss_server` is not to be found
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from oss_server.server import OssServer
from oss_server.settings import Settings


def main() -> int:
    """Run until a signal; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="oss_server", description="An OSS on 127.0.0.1, for tests and for play."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 in a container")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (0: any free one)")
    parser.add_argument("--directory", type=Path, help="keep large objects in files here instead of memory")
    parser.add_argument("--bucket", action="append", help="bucket to create, repeatable (demo)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added to every request")
    parser.add_argument(
        "--bandwidth", type=float, help="bytes a second of object data, all connections together"
    )
    parser.add_argument(
        "--requests-per-second", type=float, help="requests answered in a second; others get 503"
    )
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    settings = Settings(
        latency=options.latency,
        bandwidth=options.bandwidth,
        requests_per_second=options.requests_per_second,
    )
    buckets = options.bucket or ["demo"]
    with OssServer(
        buckets, directory=options.directory, host=options.host, port=options.port, settings=settings
    ) as server:
        lines = [f"export {name}={shlex.quote(value)}" for name, value in server.environment().items()]
        print("\n".join(lines), flush=True)
        print(f"serving {', '.join(f'oss://{bucket}' for bucket in buckets)}; Ctrl-C stops", file=sys.stderr)
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
