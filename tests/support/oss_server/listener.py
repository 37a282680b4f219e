"""A listening socket, and a thread for each connection to it."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from oss_server.wire import Connection

_JOIN_SECONDS = 5


class Listener:
    """Listens from the start, and accepts from `start()` to `close()`.

    Attributes:
        address: Host and port.
    """

    def __init__(self, host: str, port: int, serve: Callable[[Connection], None]) -> None:
        """Listen on a port, 0 for any free one; `serve` is called in a thread for each connection.

        Raises:
            OSError: The port is taken.
        """
        self._serve = serve
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._threads: set[threading.Thread] = set()
        self._closing = False
        self._socket = socket.create_server((host, port), backlog=256)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._acceptor = threading.Thread(target=self._accept, name="oss-server", daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        self._acceptor.start()

    def stop_accepting(self) -> None:
        """Take no more connections."""
        with self._lock:
            self._closing = True
        # shutdown() wakes accept(); close() alone would leave it waiting for one more client.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        if self._acceptor.ident is not None:
            self._acceptor.join(_JOIN_SECONDS)

    def close(self) -> None:
        """End all connections and wait for their threads."""
        with self._lock:
            connections, threads = list(self._connections), list(self._threads)
        for connection in connections:
            connection.shutdown()
        for thread in threads:
            thread.join(_JOIN_SECONDS)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            connection = Connection(sock)
            thread = threading.Thread(
                target=self._run, args=(connection,), name="oss-connection", daemon=True
            )
            with self._lock:
                if self._closing:
                    connection.close()
                    return
                self._connections.add(connection)
                self._threads.add(thread)
            thread.start()

    def _run(self, connection: Connection) -> None:
        try:
            self._serve(connection)
        finally:
            connection.close()
            with self._lock:
                self._connections.discard(connection)
                self._threads.discard(threading.current_thread())
