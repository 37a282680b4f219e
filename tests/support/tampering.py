"""A connection that changes bytes on their way to a server, as a broken router's memory would."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def tampered(port: int, old: bytes, new: bytes, times: int = 1) -> Iterator[int]:
    """Pass connections on to a port of 127.0.0.1; yields the port to connect to.

    Args:
        port: The server's.
        old: What is replaced in what clients send, within one packet.
        new: By what: as many bytes.
        times: How often.
    """
    left = [times]
    lock = threading.Lock()

    def spoil(data: bytes) -> bytes:
        with lock:
            if old in data and left[0]:
                left[0] -= 1
                return data.replace(old, new, 1)
        return data

    def pump(source: socket.socket, target: socket.socket, *, spoils: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 20):
                target.sendall(spoil(data) if spoils else data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                open_ones.extend((client, server))
                for pair, spoils in (((client, server), True), ((server, client), False)):
                    threading.Thread(target=pump, args=pair, kwargs={"spoils": spoils}, daemon=True).start()

    open_ones: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for one in open_ones:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
