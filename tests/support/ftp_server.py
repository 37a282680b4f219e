"""An FTP server on 127.0.0.1 for the tests, in a process of its own: pyftpdlib over a folder.

As a program (`ftp_server.py FOLDER PORT`) it serves until its standard input ends.
"""

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "worker"
PASSWORD = "marked-secret"


@contextmanager
def ftp_server(folder: Path, port: int = 0) -> Iterator[str]:
    """Serve a folder, on a free port unless one is named; gives the root's URL, password included."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__, str(folder), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"ftp://{USER}:{PASSWORD}@127.0.0.1:{int(process.stdout.readline())}"
        process.kill()  # with all its connections


def _serve(folder: str, port: int) -> None:
    # pyftpdlib imports what Python 3.11 warns of: for the process that serves only.
    from pyftpdlib.authorizers import DummyAuthorizer  # noqa: PLC0415
    from pyftpdlib.handlers import FTPHandler  # noqa: PLC0415
    from pyftpdlib.servers import FTPServer  # noqa: PLC0415

    logging.disable()  # it sets up its own, on stderr
    FTPHandler.authorizer = DummyAuthorizer()
    FTPHandler.authorizer.add_user(USER, PASSWORD, folder, perm="elradfmwMT")
    server = FTPServer(("127.0.0.1", port), FTPHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
