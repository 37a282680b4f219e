"""An S3 server for s3fs: moto behind a wait, with a count. Prints its port, then serves until it is ended."""

# mypy: disable-error-code="import-not-found, attr-defined"

import json
import logging
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

LATENCY = 0.02
"""Seconds a request."""


def main() -> None:
    """Serve on a free port."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    serving = DomainDispatcherApplication(create_backend_app)
    requests = 0

    def application(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        nonlocal requests
        if environment["PATH_INFO"] == "/-/requests":
            start("200 OK", [])
            return [json.dumps(requests).encode()]
        requests += 1
        time.sleep(LATENCY)
        answer: Iterable[bytes] = serving(environment, start)
        return answer

    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(server.port)
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
