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
import uvloop
from aiohttp import web

PATH = "/v1/chat/completions"
JSON = "application/json"
STREAM = "text/event-stream"
NEEDS = {
    "aiohttp": (),
    "aiohttp + pyreqwest": ("pyreqwest",),
    "granian + pyreqwest": ("granian", "pyreqwest"),
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


KINDS = {
    "aiohttp": aiohttp_both,
    "aiohttp + pyreqwest": aiohttp_pyreqwest,
}

if __name__ == "__main__":
    kind, ports = sys.argv[1], (int(sys.argv[2]), int(sys.argv[3]))
    if kind in KINDS:
        uvloop.run(KINDS[kind](*ports))
    else:
        serve_granian(*ports)
