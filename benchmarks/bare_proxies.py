"""Pass-throughs that do nothing else, on several HTTP libraries: what a gateway on each of them costs at least.

    .venv/bin/python benchmarks/bare_proxies.py KIND PORT PORT_OF_THE_ENGINE

`wire.py --bare` starts them. granian and pyreqwest are no dependencies of the project: install them to measure them.
"""

import asyncio
import importlib.util
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import httptools
import uvloop
from aiohttp import web

from pilotfish.http1.client import Address, Client

PATH = "/v1/chat/completions"
JSON = "application/json"
STREAM = "text/event-stream"
NEEDS = {
    "aiohttp": (),
    "aiohttp + own client": (),
    "aiohttp + pyreqwest": ("pyreqwest",),
    "granian + pyreqwest": ("granian", "pyreqwest"),
    "llhttp, nothing checked": (),
}
"""The kinds, and the packages that each needs besides the project's own."""


def installed(kind: str) -> bool:
    return all(importlib.util.find_spec(name) for name in NEEDS[kind])


async def serve_aiohttp(
    port: int, handle: Callable[[web.BaseRequest], Coroutine[Any, Any, web.StreamResponse]]
) -> None:
    runner = web.ServerRunner(web.Server(handle, handler_cancellation=True, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


async def begun(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": STREAM})
    await response.prepare(request)
    return response


async def aiohttp_both(port: int, engine: int) -> None:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=4096),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
    )

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        url, body = f"http://127.0.0.1:{engine}{PATH}", await request.read()
        async with session.post(url, data=body, headers={"Content-Type": JSON}) as answer:
            if answer.headers["Content-Type"] != STREAM:
                return web.Response(body=await answer.read(), headers={"Content-Type": JSON})
            response = await begun(request)
            while piece := await answer.content.readany():
                await response.write(piece)
            await response.write_eof()
            return response

    await serve_aiohttp(port, handle)


async def aiohttp_own_client(port: int, engine: int) -> None:
    client = Client(most_connections=4096, connect_seconds=5, stall_seconds=300)
    address = Address("127.0.0.1", engine, tls=False)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        answer = await client.ask(address, _head(body), body)
        try:
            if answer.headers[b"content-type"] != STREAM.encode():
                return web.Response(body=await answer.read(), headers={"Content-Type": JSON})
            response = await begun(request)
            while piece := await answer.piece():
                await response.write(piece)
            await response.write_eof()
            return response
        finally:
            answer.close()

    await serve_aiohttp(port, handle)


async def aiohttp_pyreqwest(port: int, engine: int) -> None:
    from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - not everybody's

    async with ClientBuilder().build() as client:

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            body = await request.read()
            asked = client.post(f"http://127.0.0.1:{engine}{PATH}").body_bytes(body).header("content-type", JSON)
            async with asked.streamed_read_buffer_limit(0).build_streamed() as answer:
                if answer.headers["content-type"] != STREAM:
                    return web.Response(body=bytes(await answer.bytes()), headers={"Content-Type": JSON})
                response = await begun(request)
                while (piece := await answer.body_reader.read_chunk()) is not None:
                    await response.write(bytes(piece))
                await response.write_eof()
                return response

        await serve_aiohttp(port, handle)


class Rsgi:
    """The same for granian, which starts its own process and imports `app` there."""

    def __init__(self, engine: int) -> None:
        self.url = f"http://127.0.0.1:{engine}{PATH}"
        self.client: Any = None

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        if self.client is None:
            from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - not everybody's

            self.client = await ClientBuilder().build().__aenter__()
        body = await protocol()
        asked = self.client.post(self.url).body_bytes(body).header("content-type", JSON)
        async with asked.streamed_read_buffer_limit(0).build_streamed() as answer:
            if answer.headers["content-type"] != STREAM:
                protocol.response_bytes(200, [("content-type", JSON)], bytes(await answer.bytes()))
                return
            response = protocol.response_stream(200, [("content-type", STREAM)])
            while (piece := await answer.body_reader.read_chunk()) is not None:
                await response.send_bytes(bytes(piece))


def serve_granian(port: int, engine: int) -> None:
    from granian import Granian  # noqa: PLC0415 - not everybody's
    from granian.constants import Interfaces  # noqa: PLC0415

    Granian("app", address="127.0.0.1", port=port, interface=Interfaces.RSGI, log_enabled=False).serve(
        target_loader=lambda _: Rsgi(engine)
    )


class Bare(asyncio.Protocol):
    """A server without a server's duties: no limits, no timeouts, no slow clients, no requests sent ahead."""

    def __init__(self, client: Client, address: Address) -> None:
        self.client, self.address = client, address
        self.parser = httptools.HttpRequestParser(self)
        self.parts: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)

    def on_message_complete(self) -> None:
        body, self.parts = b"".join(self.parts), []
        self.task = asyncio.get_running_loop().create_task(self.handle(body))

    async def handle(self, body: bytes) -> None:
        answer = await self.client.ask(self.address, _head(body), body)
        write = self.transport.write
        if answer.headers[b"content-type"] != STREAM.encode():
            whole = await answer.read()
            head = f"HTTP/1.1 200 OK\r\ncontent-type: {JSON}\r\ncontent-length: {len(whole)}\r\n\r\n"
            write(head.encode() + whole)
        else:
            write(f"HTTP/1.1 200 OK\r\ncontent-type: {STREAM}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
            while piece := await answer.piece():
                write(b"%x\r\n%b\r\n" % (len(piece), piece))
            write(b"0\r\n\r\n")
        answer.close()


async def llhttp_both(port: int, engine: int) -> None:
    client = Client(most_connections=4096, connect_seconds=5, stall_seconds=300)
    address = Address("127.0.0.1", engine, tls=False)
    server = await asyncio.get_running_loop().create_server(lambda: Bare(client, address), "127.0.0.1", port)
    await server.serve_forever()


def _head(body: bytes) -> bytes:
    return (
        f"POST {PATH} HTTP/1.1\r\nhost: engine\r\ncontent-type: {JSON}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    )


KINDS = {
    "aiohttp": aiohttp_both,
    "aiohttp + own client": aiohttp_own_client,
    "aiohttp + pyreqwest": aiohttp_pyreqwest,
    "llhttp, nothing checked": llhttp_both,
}

if __name__ == "__main__":
    kind, ports = sys.argv[1], (int(sys.argv[2]), int(sys.argv[3]))
    if kind in KINDS:
        uvloop.run(KINDS[kind](*ports))
    else:
        serve_granian(*ports)
