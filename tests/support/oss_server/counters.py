"""What the server has done, counted per operation and per client."""

import threading
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass
class Tally:
    """Counts of requests.

    Attributes:
        requests: How many arrived, failed ones included.
        bytes_in: Bytes received: request lines, headers and bodies.
        bytes_out: Bytes sent: status lines, headers and bodies.
        concurrent: Requests being answered now.
        max_concurrent: The most that were being answered at one time.
        refused: Of the requests, those beyond the limit of requests a second.
    """

    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    concurrent: int = 0
    max_concurrent: int = 0
    refused: int = 0


class Tallies(dict[str, Tally]):
    """Tallies by operation name; a name that never occurred reads as zeros."""

    def __missing__(self, name: str) -> Tally:
        return Tally()


@dataclass
class Ledger:
    """A total and its split by operation."""

    total: Tally = field(default_factory=Tally)
    operations: Tallies = field(default_factory=Tallies)

    def copy(self) -> "Ledger":
        """Return a copy that no longer changes."""
        return Ledger(replace(self.total), Tallies({k: replace(v) for k, v in self.operations.items()}))


class Ledgers(dict[str, Ledger]):
    """Ledgers by access key id; an id that never came reads as zeros."""

    def __missing__(self, name: str) -> Ledger:
        return Ledger()


class Ticket:
    """One request being counted. Counts are written before the bytes that let a client see its answer."""

    def __init__(self, lock: threading.Lock, tallies: list[Tally]) -> None:
        self._lock = lock
        self._tallies = tallies
        self._running = True
        with lock:
            for tally in tallies:
                tally.requests += 1
                tally.concurrent += 1
                tally.max_concurrent = max(tally.max_concurrent, tally.concurrent)

    def refuse(self) -> None:
        """Count the request as one too many."""
        with self._lock:
            for tally in self._tallies:
                tally.refused += 1

    def received(self, count: int) -> None:
        """Count bytes that came in."""
        with self._lock:
            for tally in self._tallies:
                tally.bytes_in += count

    def sending(self, count: int) -> None:
        """Count bytes that go out."""
        with self._lock:
            for tally in self._tallies:
                tally.bytes_out += count

    def finish(self) -> None:
        """End the request, once: called just before its last bytes go out, and again when it is over."""
        with self._lock:
            if self._running:
                self._running = False
                for tally in self._tallies:
                    tally.concurrent -= 1


class Counters:
    """All counts since the start or the last reset; every property is a copy made at that moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections = 0
        self._all = Ledger()
        self._clients: dict[str, Ledger] = {}

    @property
    def connections(self) -> int:
        """Connections that carried at least one counted request."""
        with self._lock:
            return self._connections

    @property
    def total(self) -> Tally:
        """All requests together."""
        with self._lock:
            return replace(self._all.total)

    @property
    def operations(self) -> Tallies:
        """Counts by operation, such as `UploadPartCopy`."""
        with self._lock:
            return self._all.copy().operations

    @property
    def clients(self) -> Ledgers:
        """Counts by the access key id that requests named; anonymous ones are under the empty string."""
        with self._lock:
            return Ledgers({client: ledger.copy() for client, ledger in self._clients.items()})

    def reset(self) -> None:
        """Start again from zero; requests being answered now still count in the old numbers only."""
        with self._lock:
            self._connections = 0
            self._all = Ledger()
            self._clients = {}

    def connection_used(self) -> None:
        """Count a connection, at its first request."""
        with self._lock:
            self._connections += 1

    def begin(self, client: str, operation: str) -> Ticket:
        """Count a request that has arrived."""
        with self._lock:
            tallies = []
            for ledger in (self._all, self._clients.setdefault(client, Ledger())):
                tallies += [ledger.total, ledger.operations.setdefault(operation, Tally())]
        return Ticket(self._lock, tallies)

    def as_json(self) -> dict[str, Any]:
        """Return everything as what the control endpoint answers."""
        with self._lock:
            return {
                "connections": self._connections,
                **asdict(self._all),
                "clients": {client: asdict(ledger) for client, ledger in self._clients.items()},
            }
