"""The probe of a model server: an error of the server differs from no answer."""

import asyncio

import pytest

from pilotfish.api.modelpool import Task
from pilotfish.base.errors import NoAnswer, Unavailable
from pilotfish.upstream.peers import Peers


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 6\r\n\r\nbroken", Unavailable),
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 6\r\n\r\nbro", NoAnswer),
        (b"", NoAnswer),
    ],
    ids=["error", "half an answer", "late"],
)
async def test_only_an_answer_of_the_server_is_its_error(sent: bytes, error: type[Unavailable]) -> None:
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(sent)
            await reader.read()
        finally:
            writer.close()
            closed.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        async with Peers(seconds=0.5) as peers:
            with pytest.raises(Unavailable) as raised:
                await peers.ask_answer(address, task=Task.GENERATE, model="small")
        await closed.wait()
    assert raised.type is error
