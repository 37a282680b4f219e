"""Faults: rules that change how chosen requests are answered.

    server.faults.add(Fault("UploadPartCopy", Answer(503, "ServiceUnavailable"), times=2))

A rule picks requests by operation, by a substring of the key, and by which occurrences. All rules that pick a
request apply to it; of several that end it, the first added wins.
"""

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """Answer with this error; the request is not carried out."""

    status: int
    code: str
    message: str = "Injected by a test."


@dataclass(frozen=True)
class Instead:
    """Answer with this instead, as a proxy or a broken service might.

    Attributes:
        status: The HTTP status.
        document: The body.
        headers: More headers; one that is empty is left out: `x-oss-request-id`, `Content-Length`.
        after: Whether the request is carried out all the same.
    """

    status: int = 200
    document: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False


@dataclass(frozen=True)
class Delay:
    """Wait before carrying out the request."""

    seconds: float


@dataclass(frozen=True)
class Reset:
    """Read the request, then reset the connection; the request is not carried out."""


@dataclass(frozen=True)
class LoseAnswer:
    """Carry out the request, then reset the connection instead of answering."""


@dataclass(frozen=True)
class Truncate:
    """Close the connection within a GET's body, whose Content-Length announces all of it.

    Attributes:
        after: How many bytes of the body are sent; None: half of it.
    """

    after: int | None = None


@dataclass(frozen=True)
class OmitCrc:
    """Leave `x-oss-hash-crc64ecma` out of the answer."""


@dataclass(frozen=True)
class WrongCrc:
    """Answer with a wrong `x-oss-hash-crc64ecma`; a header that is absent stays absent."""


@dataclass(frozen=True)
class Hold:
    """Block the request until `Fault.release()`.

    Attributes:
        after: Whether to block after carrying it out, before the answer, instead of before.
    """

    after: bool = False


@dataclass(frozen=True)
class Call:
    """Call a function in the thread that answers; with `after`, after the request is carried out.

    The function gets the bucket and the key. It may use the server's in-process methods.
    """

    function: Callable[[str, str], object]
    after: bool = False


Action = Answer | Instead | Delay | Reset | LoseAnswer | Truncate | OmitCrc | WrongCrc | Hold | Call

# What the control endpoint takes: functions and bytes cannot travel, and nobody could release a Hold.
ACTIONS: dict[str, Callable[..., Action]] = {
    "answer": Answer,
    "delay": Delay,
    "reset": Reset,
    "lose-answer": LoseAnswer,
    "truncate": Truncate,
    "omit-crc": OmitCrc,
    "wrong-crc": WrongCrc,
}


@dataclass(eq=False)
class Fault:
    """One rule.

    Attributes:
        operation: The operation's name, or `*` for every one.
        action: What happens.
        key: Only requests whose object key contains this.
        skip: How many matching requests pass untouched first: `skip=2, times=1` is the third only.
        times: To how many it then applies; None: to all.
        seen: How many requests matched.
        hits: To how many it applied.
    """

    operation: str
    action: Action
    key: str = ""
    skip: int = 0
    times: int | None = None
    seen: int = 0
    hits: int = 0
    _reached: threading.Event = field(default_factory=threading.Event, repr=False)
    _released: threading.Event = field(default_factory=threading.Event, repr=False)

    def wait_until_hit(self, timeout: float = 10) -> None:
        """Wait until a request has come to the point where this fault acts.

        Raises:
            TimeoutError: No request came within `timeout` seconds.
        """
        if not self._reached.wait(timeout):
            raise TimeoutError(f"no {self.operation} met the fault within {timeout} s")

    def release(self) -> None:
        """Let the requests go that this fault holds, and those still to come."""
        self._released.set()

    def reach(self) -> None:
        """Note that a request is at this fault."""
        self._reached.set()

    def wait_for_release(self) -> None:
        """Block until `release()`."""
        self._released.wait()

    def pick(self, operation: str, key: str) -> bool:
        """Say whether this request is one of those to act on; counts it."""
        if self.operation not in ("*", operation) or self.key not in key:
            return False
        self.seen += 1
        if self.seen <= self.skip or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True

    def as_json(self) -> dict[str, Any]:
        """Return the rule as what the control endpoint shows."""
        kind = type(self.action).__name__
        for name, action in ACTIONS.items():
            if action is type(self.action):
                kind = name
        fields = (
            asdict(self.action) if is_dataclass(self.action) and not isinstance(self.action, Call) else {}
        )
        return {
            "operation": self.operation,
            "key": self.key,
            "skip": self.skip,
            "times": self.times,
            "seen": self.seen,
            "hits": self.hits,
            "action": {"kind": kind, **fields},
        }


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Put a rule in force; returns it."""
        with self._lock:
            self._rules.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """End a rule and release what it holds; a rule that is not in force is left alone."""
        with self._lock:
            if fault in self._rules:
                self._rules.remove(fault)
        fault.release()

    def clear(self) -> None:
        """End all rules and release everything that they hold."""
        with self._lock:
            rules, self._rules = self._rules, []
        for fault in rules:
            fault.release()

    def pick(self, operation: str, key: str) -> list[Fault]:
        """Return the rules that apply to this request, in the order in which they were added."""
        with self._lock:
            return [fault for fault in self._rules if fault.pick(operation, key)]

    def as_json(self) -> list[dict[str, Any]]:
        """Return all rules as what the control endpoint shows."""
        with self._lock:
            return [fault.as_json() for fault in self._rules]


def fault_from_json(rule: dict[str, Any]) -> Fault:
    """Return the rule that the control endpoint was given.

    Raises:
        ValueError: The action's kind, a field or a type is unknown.
    """
    try:
        fields = dict(rule)
        action = dict(fields.pop("action"))
        made = ACTIONS[action.pop("kind")](**action)
        return Fault(fields.pop("operation", "*"), made, **fields)
    except (KeyError, TypeError, ValueError) as err:
        raise ValueError(f"not a fault: {rule!r} ({err}); the kinds are {', '.join(ACTIONS)}") from err
