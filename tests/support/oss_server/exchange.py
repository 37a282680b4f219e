"""One request on its way, and the rules of `faults` that act on it."""

from dataclasses import dataclass

from oss_server.counters import Ticket
from oss_server.errors import OssError
from oss_server.faults import (
    Answer,
    Call,
    Delay,
    Fault,
    Hold,
    Instead,
    LoseAnswer,
    OmitCrc,
    Reset,
    Truncate,
    WrongCrc,
)
from oss_server.incoming import CRC_HEADER
from oss_server.requests import Response
from oss_server.shaping import Shaper
from oss_server.signing import Signed
from oss_server.wire import BodyReader, Connection, Head


class Dropped(Exception):  # noqa: N818 - not an error: a fault ends the connection without an answer
    """The connection is to be reset now."""


@dataclass
class Exchange:
    """One request on its way."""

    connection: Connection
    head: Head
    signed: Signed
    operation: str
    ticket: Ticket
    body: BodyReader
    faults: list[Fault]
    request_id: str

    @property
    def host(self) -> str:
        """The name by which the client called the server."""
        return self.head.headers.get("host", "")

    def act_before(self, shaper: Shaper) -> None:
        """Do what the rules say before the request is carried out.

        Raises:
            OssError: A rule answers in its place.
            Dropped: A rule ends the connection.
        """
        for fault in self.faults:
            action = fault.action
            if isinstance(action, Delay):
                fault.reach()
                shaper.wait(action.seconds)
            elif isinstance(action, Hold | Call) and not action.after:
                self._hold_or_call(fault, action)
            elif isinstance(action, Answer):
                fault.reach()
                raise OssError(action.status, action.code, action.message)
            elif isinstance(action, Reset):
                self.body.drain()
                fault.reach()
                raise Dropped

    def instead(self, *, after: bool) -> Response | None:
        """Return the answer that a rule puts in the place of the right one."""
        for fault in self.faults:
            action = fault.action
            if isinstance(action, Instead) and action.after == after:
                fault.reach()
                return Response(action.status, dict(action.headers), action.document)
        return None

    def act_after(self, response: Response) -> None:
        """Do what the rules say between the work and its answer."""
        for fault in self.faults:
            action = fault.action
            if isinstance(action, Hold | Call) and action.after:
                self._hold_or_call(fault, action)
            elif isinstance(action, OmitCrc):
                fault.reach()
                response.headers.pop(CRC_HEADER, None)
            elif isinstance(action, WrongCrc) and CRC_HEADER in response.headers:
                fault.reach()
                response.headers[CRC_HEADER] = str(int(response.headers[CRC_HEADER]) ^ 1)

    def lose_answer(self) -> None:
        """Drop the connection if a rule wants the answer lost.

        Raises:
            Dropped: It does.
        """
        lost = [fault for fault in self.faults if isinstance(fault.action, LoseAnswer)]
        for fault in lost:
            fault.reach()
        if lost:
            raise Dropped

    def cut(self, size: int) -> int | None:
        """Return after how many of a body's bytes a rule ends the connection."""
        for fault in self.faults:
            if isinstance(fault.action, Truncate):
                fault.reach()
                after = fault.action.after
                return size // 2 if after is None else min(after, size)
        return None

    def _hold_or_call(self, fault: Fault, action: Hold | Call) -> None:
        fault.reach()
        if isinstance(action, Hold):
            fault.wait_for_release()
        else:
            action.function(self.signed.bucket, self.signed.key)
