"""Sends answers and errors to clients over HTTP."""

from collections.abc import Mapping

import orjson
from aiohttp import web

from pilotfish.base.errors import RequestError
from pilotfish.gateway import report
from pilotfish.gateway.exchange import Exchange
from pilotfish.gateway.records import RequestRecord
from pilotfish.gateway.stages import Taken
from pilotfish.gateway.wire.encoder import encoder_for
from pilotfish.upstream.sse import event

STREAM_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
JSON = "application/json"


def json_response(value: object) -> web.Response:
    """A response with this value."""
    return web.Response(body=orjson.dumps(value), content_type=JSON)


def error_response(error: RequestError) -> web.Response:
    """A response with an error in OpenAI's format."""
    return web.Response(
        status=error.http_status, body=orjson.dumps(error.body()), content_type=JSON, headers=error.headers
    )


class Sender:
    """Sends one answer. The first byte is the commit point: an error before it has a status, after it is an event."""

    def __init__(self, request: web.BaseRequest) -> None:
        self.request = request
        self._answer: web.StreamResponse | None = None
        self._committed: web.StreamResponse | None = None

    @property
    def answer(self) -> web.StreamResponse:
        """What was sent, or is to be sent by the server."""
        if self._answer is None:
            raise RuntimeError("there is no answer to send")
        return self._answer

    async def send(self, exchange: Exchange, taken: Taken) -> None:
        """Send a stream, or prepare a whole answer that the server sends."""
        encoder, headers = encoder_for(exchange.request), report.headers(exchange.record)
        stream = None
        ready = b"".join(map(encoder.add, taken.answer.take_ahead()))
        if ready:
            stream = await self._commit(headers)
            await stream.write(ready)
        while piece := await taken.answer.next():
            if ready := encoder.add(piece):
                stream = stream or await self._commit(headers)
                await stream.write(ready)
        # The record is complete only when the stage is closed, and the last bytes contain it.
        taken.close()
        rest = encoder.end(report.pilotfish_object(exchange.record))
        if not exchange.request.stream:
            self._answer = web.Response(body=rest, headers={**headers, "Content-Type": JSON})
            return
        stream = stream or await self._commit(headers)
        await stream.write(rest)
        await stream.write_eof()

    def send_whole(self, record: RequestRecord, body: bytes) -> None:
        """Prepare a body of JSON that the server sends."""
        self._answer = web.Response(body=body, headers={**report.headers(record), "Content-Type": JSON})

    async def _commit(self, headers: Mapping[str, str]) -> web.StreamResponse:
        stream = self._answer = web.StreamResponse(headers={**headers, **STREAM_HEADERS})
        await stream.prepare(self.request)
        self._committed = stream
        return stream

    async def fail(self, error: RequestError) -> web.StreamResponse:
        """Send an error: as a response, or as an event of an open stream, which then has no [DONE]."""
        if self._committed is None:
            return error_response(error)
        await self._committed.write(event(orjson.dumps(error.body())))
        await self._committed.write_eof()
        return self._committed
