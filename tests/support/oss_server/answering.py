"""The way of a request through faults, its signature and its operation to its answer."""

import time
from email.utils import formatdate

from oss_server.body import Body, Intake
from oss_server.errors import OssError, not_implemented, too_many_requests
from oss_server.exchange import Exchange
from oss_server.operations import Service
from oss_server.requests import Request, Response
from oss_server.settings import Settings
from oss_server.shaping import Shaper
from oss_server.signing import Accounts, verify
from oss_server.wire import response_head

_SMALL = 64 << 10  # bodies up to this size leave in one write with their head


class Answering:
    """Carries requests out and sends what comes of them."""

    def __init__(
        self, service: Service, accounts: Accounts, settings: Settings, shaper: Shaper, region: str
    ) -> None:
        self._service = service
        self._accounts = accounts
        self._settings = settings
        self._shaper = shaper
        self._region = region

    def answer(self, exchange: Exchange) -> bool:
        """Answer one request; returns whether the connection goes on.

        Raises:
            ConnectionLost: The client went away.
            Dropped: A fault ends the connection.
        """
        self._shaper.wait(self._settings.latency)
        try:
            if not self._shaper.admits():
                exchange.ticket.refuse()
                raise too_many_requests()
            exchange.act_before(self._shaper)
            response = exchange.instead(after=False) or self._carry_out(exchange)
            exchange.act_after(response)
            response = exchange.instead(after=True) or response
        except OssError as err:
            response = _error_response(exchange, err)
        before = exchange.body.size
        reusable = exchange.body.drain()
        exchange.ticket.received(exchange.body.size - before)
        exchange.lose_answer()
        return self._send(exchange, response, keep_alive=reusable and exchange.head.keep_alive)

    def _now(self) -> float:
        return time.time() + self._settings.clock_offset

    def _carry_out(self, exchange: Exchange) -> Response:
        signed, operation = exchange.signed, exchange.operation
        if not operation:  # before the signature, of which V1 covers the parameters of served operations only
            raise not_implemented(f"{signed.method} with {', '.join(signed.params) or 'these headers'}")
        verify(signed, self._accounts, self._region, self._now())
        request = Request(
            signed.method,
            signed.bucket,
            signed.key,
            signed.params,
            signed.headers,
            operation,
            lambda limit: _read_document(exchange, limit),
            lambda intake: self._receive(exchange, intake),
            exchange.body.length,
        )
        return self._service.carry_out(request)

    def _receive(self, exchange: Exchange, intake: Intake) -> None:
        while count := exchange.body.read_into(intake.room, self._shaper.piece()):
            intake.took(count)
            exchange.ticket.received(count)
            self._shaper.take(count)

    def _send(self, exchange: Exchange, response: Response, *, keep_alive: bool) -> bool:
        connection, ticket = exchange.connection, exchange.ticket
        size = len(response.document) if response.content is None else response.size
        headers = {
            "Server": "AliyunOSS",
            "Date": formatdate(self._now(), usegmt=True),
            "Connection": "keep-alive" if keep_alive else "close",
            "x-oss-request-id": exchange.request_id,
            "Content-Length": str(size),
            **response.headers,
        }
        if not headers["Content-Length"]:  # then the connection's end is the body's
            keep_alive, headers["Connection"] = False, "close"
        head = response_head(response.status, {name: value for name, value in headers.items() if value})
        if response.content is None or exchange.head.method == "HEAD":
            data = head if exchange.head.method == "HEAD" else head + response.document
            ticket.sending(len(data))
            ticket.finish()
            connection.send(data)
            return keep_alive
        cut = exchange.cut(size)
        self._send_content(exchange, head, response.content, response.offset, size if cut is None else cut)
        return keep_alive and cut is None

    def _send_content(self, exchange: Exchange, head: bytes, content: Body, offset: int, size: int) -> None:
        connection, ticket, shaper = exchange.connection, exchange.ticket, self._shaper
        left = size
        waiting = head
        if size > _SMALL:
            ticket.sending(len(head))
            connection.send(head)
            waiting = b""
        # A small body leaves with its head: two writes cost a client about 40 ms by its delayed ACK.
        for view in content.pieces(offset, size, shaper.piece()):
            left -= len(view)
            data: bytes | memoryview = waiting + view if waiting or size <= _SMALL else view
            shaper.take(len(view))
            ticket.sending(len(data) if size > _SMALL or not left else 0)
            if size <= _SMALL and left:
                waiting = bytes(data)
                continue
            waiting = b""
            if not left:
                ticket.finish()
            connection.send(data)
        if waiting:
            ticket.sending(len(waiting))
            ticket.finish()
            connection.send(waiting)


def _read_document(exchange: Exchange, limit: int) -> bytes:
    document = exchange.body.read_all(limit)
    exchange.ticket.received(len(document))
    return document


def _error_response(exchange: Exchange, error: OssError) -> Response:
    headers = dict(error.headers)
    if exchange.head.method == "HEAD":
        headers["x-oss-err"] = error.header(exchange.request_id, exchange.host)
        return Response(error.status, headers)
    headers["Content-Type"] = "application/xml"
    return Response(error.status, headers, error.document(exchange.request_id, exchange.host))
