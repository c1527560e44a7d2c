"""A proxy before the API server: it passes requests on, or does what a gate says instead."""

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
from aiohttp import web

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HOP = frozenset({"transfer-encoding", "content-encoding", "content-length", "connection", "host"})


@dataclass(frozen=True)
class Verdict:
    """What becomes of a request: `status` is answered instead of passing it on; `after` runs once it was passed on.

    With `event` the refusal is an event of a watch, inside a response with status 200.
    """

    status: int | None = None
    event: bool = False
    after: Callable[[], None] | None = None


PASS = Verdict()


@dataclass
class Gate:
    """Decides about each request. `rule` is set by a test; writes to Leases always pass."""

    rule: Callable[[web.Request], Verdict] = lambda _: PASS
    writes: list[str] = field(default_factory=list)

    def decide(self, request: web.Request) -> Verdict:
        """The verdict for a request; writes are counted."""
        if "/leases" in request.path:
            return PASS
        if request.method in WRITES:
            self.writes.append(f"{request.method} {request.path}")
        return self.rule(request)


@contextmanager
def proxy(url: str, certificate: str, gate: Gate) -> Iterator[str]:
    """Serve on a free port of loopback, in a thread of its own. Yields the address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = _Server(url, certificate, gate)
    try:
        yield asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Server:
    def __init__(self, url: str, certificate: str, gate: Gate) -> None:
        self._url, self._certificate, self._gate = url, certificate, gate

    async def start(self) -> str:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=self._certificate), limit=0)
        self._session = aiohttp.ClientSession(connector=connector)
        app = web.Application(client_max_size=32 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()
        # aiohttp returns before the TLS connections are closed and offers nothing to wait for
        await asyncio.sleep(0.25)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        verdict = self._gate.decide(request)
        if verdict.status is not None:
            return _refusal(verdict.status, event=verdict.event)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        try:
            async with self._session.request(
                request.method,
                f"{self._url}{request.raw_path}",
                data=await request.read() or None,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None),
            ) as answer:
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
                response = web.StreamResponse(status=answer.status, headers=kept)
                if verdict.after:
                    body = await answer.read()
                    verdict.after()
                    return web.Response(status=answer.status, headers=kept, body=body)
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
                return response
        except aiohttp.ClientError:
            return _refusal(HTTPStatus.BAD_GATEWAY)


def _refusal(status: int, *, event: bool = False) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": "the test says no"}
    if event:
        return web.Response(body=json.dumps({"type": "ERROR", "object": body}).encode() + b"\n")
    return web.json_response(body, status=status)
