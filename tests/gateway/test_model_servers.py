"""The seam to model servers against peers that frame, stall and break off as real ones do, byte by byte on a socket."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from pilotfish.base.errors import BadUpstream, DeadlineExceeded, ModelUnavailable, UpstreamError
from pilotfish.routing.snapshot import Endpoint
from pilotfish.settings import GatewaySettings
from pilotfish.upstream.client import ModelServers, Reply

Speaker = Callable[[asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"


@dataclass
class Peer:
    """A server that reads each request and lets the next speaker answer it."""

    servers: ModelServers
    speakers: list[Speaker] = field(default_factory=list)
    connections: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """A client has closed a connection."""
    endpoint: Endpoint = field(init=False)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(2)
                await self.speakers.pop(0)(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()

    async def ask(self) -> Reply:
        return await self.servers.post([self.endpoint], "/chat/completions", b"{}", {})

    async def whole(self) -> bytes:
        with closing(await self.ask()) as reply:
            return await reply.read()


@pytest.fixture
async def peer(request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    servers = ModelServers(GatewaySettings(**getattr(request, "param", {})))
    await servers.open()
    made = Peer(servers)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.endpoint = Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    yield made
    await servers.close()
    assert not servers.in_flight
    server.close()
    for writer in made.writers:
        writer.transport.abort()


def says(*parts: bytes, ends: bool = False) -> Speaker:
    async def speak(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if ends:
            writer.close()

    return speak


def letters(raw: bytes) -> tuple[bytes, ...]:
    return tuple(raw[i : i + 1] for i in range(len(raw)))


@pytest.mark.parametrize("cut", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize(
    ("raw", "ends"),
    [
        (OK, False),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nwh\r\n3;a=b\r\nole\r\n0\r\nTrailer: x\r\n\r\n",
            False,
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nwhole", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nwhole", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, False),
    ],
    ids=["length", "chunked", "until closed", "HTTP/1.0", "answers ahead"],
)
async def test_every_framing_is_read_whole(peer: Peer, raw: bytes, ends: bool, cut: bool) -> None:
    peer.speakers = [says(*(letters(raw) if cut else (raw,)), ends=ends)] * 2
    assert [await peer.whole(), await peer.whole()] == [b"whole", b"whole"]
    assert peer.connections == (2 if ends else 1)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"* OK IMAP4 ready\r\n",
        b"HTTP/1.1 200 OK\r\nLong: " + b"x" * 1_000_000,
    ],
    ids=["nothing", "half a head", "half a body", "no last chunk", "not HTTP", "endless head"],
)
async def test_what_is_no_whole_answer_is_never_taken_for_one(peer: Peer, raw: bytes) -> None:
    peer.speakers = [says(raw, ends=True)] * 2
    with pytest.raises(BadUpstream, match="cut off"):
        await peer.whole()


@pytest.mark.parametrize("peer", [{"idle_timeout_seconds": 0.1}], indirect=True)
async def test_a_server_that_stalls_is_left(peer: Peer) -> None:
    peer.speakers = [says(OK[:-2])]
    with closing(await peer.ask()) as reply:
        assert await reply.piece() == b"who"
        with pytest.raises(DeadlineExceeded):
            await reply.piece()
    await peer.left.wait()


async def test_nobody_there_is_told_from_a_broken_answer_and_the_next_address_is_tried(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    silent.close()
    gone = Endpoint(f"http://127.0.0.1:{port}/v1")
    with pytest.raises(ModelUnavailable) as failure:
        await peer.servers.post([gone], "/chat/completions", b"{}", {})
    assert str(port) not in str(failure.value)  # clients see the message
    assert str(port) in caplog.text
    peer.speakers = [says(OK)] * 2
    for _ in range(2):
        with closing(await peer.servers.post([gone, peer.endpoint], "/chat/completions", b"{}", {})) as reply:
            assert await reply.read() == b"whole"


async def test_leaving_amid_an_answer_closes_the_connection(peer: Peer) -> None:
    peer.speakers = [says(OK[:-2]), says(OK)]
    (await peer.ask()).close()
    await peer.left.wait()
    assert await peer.whole() == b"whole"
    assert peer.connections == 2


@pytest.mark.parametrize("peer", [{"upstream_connections": 1}], indirect=True)
async def test_a_cancelled_question_closes_the_connection_and_gives_its_turn_back(peer: Peer) -> None:
    asked = asyncio.Event()

    async def silent(_: asyncio.StreamWriter) -> None:
        asked.set()

    peer.speakers = [silent, says(OK)]
    asking = asyncio.create_task(peer.ask())
    await asked.wait()
    asking.cancel()
    await peer.left.wait()
    assert await peer.whole() == b"whole"


async def test_a_kept_connection_that_was_closed_meanwhile_costs_no_answer(peer: Peer) -> None:
    peer.speakers = [says(OK), says(ends=True), says(OK)]
    assert [await peer.whole(), await peer.whole()] == [b"whole", b"whole"]
    assert peer.connections == 2


FAILED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 6\r\n\r\nsecret"


@pytest.fixture
async def other(peer: Peer) -> AsyncIterator[Peer]:
    """A second address of the same pool."""
    made = Peer(peer.servers)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.endpoint = Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    yield made
    server.close()
    for writer in made.writers:
        writer.transport.abort()


async def whole(servers: ModelServers, *peers: Peer) -> bytes:
    endpoints = [peer.endpoint for peer in peers]
    with closing(await servers.post(endpoints, "/chat/completions", b"{}", {})) as reply:
        return await reply.read()


async def test_one_address_that_fails_at_once_does_not_take_the_requests(peer: Peer, other: Peer) -> None:
    peer.speakers = [says(FAILED)] * 300
    other.speakers = [says(OK)] * 300

    async def eight() -> list[bytes | BaseException]:
        return await asyncio.gather(*(whole(peer.servers, peer, other) for _ in range(8)), return_exceptions=True)

    answers = [answer for _ in range(25) for answer in await eight()]
    assert answers.count(b"whole") >= 195
    assert 300 - len(peer.speakers) <= 16


async def test_a_failure_of_a_server_is_tried_once_elsewhere_and_not_quoted(
    peer: Peer, other: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    peer.speakers, other.speakers = [says(FAILED)], [says(FAILED)]
    with pytest.raises(BadUpstream, match="status 500") as failure:
        await whole(peer.servers, peer, other)
    assert "secret" not in str(failure.value)
    assert "secret" in caplog.text
    assert (peer.speakers, other.speakers) == ([], [])


async def test_a_request_that_is_refused_is_not_tried_elsewhere(peer: Peer, other: Peer) -> None:
    refusal = b'HTTP/1.1 400 Bad Request\r\nContent-Length: 34\r\n\r\n{"error": {"message": "too long"}}'
    peer.speakers, other.speakers = [says(refusal)], [says(refusal)]
    with pytest.raises(UpstreamError):
        await whole(peer.servers, peer, other)
    assert len(peer.speakers) + len(other.speakers) == 1


async def test_a_new_connection_that_breaks_is_not_tried_again_at_the_same_address(peer: Peer) -> None:
    peer.speakers = [says(ends=True), says(OK)]
    with pytest.raises(BadUpstream, match="cut off"):
        await peer.whole()
    assert peer.connections == 1


async def test_kept_connections_that_were_reset_meanwhile_cost_no_answer(peer: Peer) -> None:
    peer.speakers = [says(OK)] * 20
    await asyncio.gather(*(peer.whole() for _ in range(10)))
    for writer in peer.writers:
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0" * 2)
        writer.transport.abort()
    assert await asyncio.gather(*(peer.whole() for _ in range(10))) == [b"whole"] * 10


@pytest.mark.parametrize("peer", [{"connect_timeout_seconds": 0.2}], indirect=True)
async def test_an_address_that_takes_no_connection_is_followed_by_the_next(peer: Peer) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as waiting:
        address = full.getsockname()
        for _ in range(4):  # more than the backlog holds: the next connection is not accepted
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        hole = Endpoint(f"http://127.0.0.1:{address[1]}/v1")
        peer.speakers = [says(OK)] * 2
        for _ in range(2):
            with closing(await peer.servers.post([hole, peer.endpoint], "/chat/completions", b"{}", {})) as reply:
                assert await reply.read() == b"whole"
