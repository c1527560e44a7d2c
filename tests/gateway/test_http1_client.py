"""The HTTP client against servers that frame, stall and break off as real ones do, byte by byte on a socket."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pilotfish.http1.client import MOST_UNREAD, Address, Answer, BrokenOff, Client, Unreachable

Speaker = Callable[[asyncio.StreamWriter], Awaitable[None]]
HEAD = b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"


@dataclass
class Peer:
    """A server that reads each request and lets the next speaker answer it."""

    speakers: list[Speaker] = field(default_factory=list)
    connections: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """A client has closed a connection."""
    address: Address = field(init=False)
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

    async def ask(self, client: Client) -> Answer:
        return await client.ask(self.address, HEAD, b"{}")


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    made = Peer()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.address = Address.of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    yield made
    server.close()
    for writer in made.writers:
        writer.transport.abort()


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = Client(most_connections=8, connect_seconds=5, stall_seconds=60)
    yield made
    made.close()


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
async def test_every_framing_is_read_whole(peer: Peer, client: Client, raw: bytes, ends: bool, cut: bool) -> None:
    peer.speakers = [says(*(letters(raw) if cut else (raw,)), ends=ends)] * 2
    for _ in range(2):
        answer = await peer.ask(client)
        assert (answer.status, await answer.read(), b"link" in answer.headers) == (200, b"whole", False)
        answer.close()
    assert peer.connections == (2 if ends else 1)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nwhole",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n",
        b"* OK IMAP4 ready\r\n",
        b"HTTP/1.1 200 OK\r\nLong: " + b"x" * 1_000_000,
    ],
    ids=[
        "nothing",
        "half a head",
        "half a body",
        "no last chunk",
        "two lengths",
        "upgrade",
        "not HTTP",
        "endless head",
    ],
)
async def test_what_is_no_whole_answer_is_never_taken_for_one(peer: Peer, client: Client, raw: bytes) -> None:
    peer.speakers = [says(raw, ends=True)]

    async def whole() -> bytes:
        with closing(await peer.ask(client)) as answer:
            return await answer.read()

    with pytest.raises(BrokenOff):
        await whole()


async def test_a_server_that_stalls_is_left(peer: Peer) -> None:
    client = Client(most_connections=1, connect_seconds=5, stall_seconds=0.1)
    peer.speakers = [says(OK[:-2])]
    answer = await peer.ask(client)
    assert await answer.piece() == b"who"
    with pytest.raises(TimeoutError):
        await answer.piece()
    answer.close()
    await peer.left.wait()


async def test_nobody_there_is_told_from_a_broken_answer(client: Client) -> None:
    silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    silent.close()
    with pytest.raises(Unreachable, match=str(port)):
        await client.ask(Address("127.0.0.1", port, tls=False), HEAD, b"{}")


async def test_leaving_amid_an_answer_closes_the_connection(peer: Peer, client: Client) -> None:
    peer.speakers = [says(OK[:-2]), says(OK)]
    answer = await peer.ask(client)
    answer.close()
    await peer.left.wait()
    answer = await peer.ask(client)
    assert await answer.read() == b"whole"
    assert peer.connections == 2


async def test_a_cancelled_question_closes_the_connection_and_gives_its_turn_back(peer: Peer) -> None:
    client = Client(most_connections=1, connect_seconds=5, stall_seconds=60)
    asked = asyncio.Event()

    async def silent(_: asyncio.StreamWriter) -> None:
        asked.set()

    peer.speakers = [silent, says(OK)]
    asking = asyncio.create_task(peer.ask(client))
    await asked.wait()
    asking.cancel()
    await peer.left.wait()
    assert await (await peer.ask(client)).read() == b"whole"
    client.close()


async def test_a_kept_connection_that_was_closed_meanwhile_costs_no_answer(peer: Peer, client: Client) -> None:
    peer.speakers = [says(OK), says(ends=True), says(OK)]
    for _ in range(2):
        answer = await peer.ask(client)
        assert await answer.read() == b"whole"
        answer.close()
    assert peer.connections == 2


async def test_a_server_that_speaks_unasked_is_not_asked_again(peer: Peer, client: Client) -> None:
    peer.speakers = [says(OK + OK.replace(b"whole", b"other")), says(OK)]
    for _ in range(2):
        answer = await peer.ask(client)
        assert await answer.read() == b"whole"
        answer.close()
    assert peer.connections == 2


async def test_a_slow_reader_makes_the_server_wait(peer: Peer, client: Client) -> None:
    size = 64 * MOST_UNREAD
    sent = asyncio.Event()

    async def much(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(64):
            writer.write(b"x" * MOST_UNREAD)
            await writer.drain()
        sent.set()

    peer.speakers = [much]
    answer = await peer.ask(client)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sent.wait(), 0.5)
    first = await answer.piece()
    assert len(first) <= 3 * MOST_UNREAD
    assert len(first) + len(await answer.read()) == size
    answer.close()


async def test_busy_connections_are_counted_and_kept_ones_make_room(peer: Peer) -> None:
    client = Client(most_connections=1, connect_seconds=5, stall_seconds=60)
    peer.speakers = [says(OK)] * 3
    first = await peer.ask(client)
    waiting = asyncio.create_task(peer.ask(client))
    await asyncio.wait({waiting}, timeout=0.1)
    assert not waiting.done()
    await first.read()
    first.close()
    second = await waiting
    await second.read()
    second.close()
    other = await client.ask(peer.address._replace(host="localhost"), HEAD, b"{}")
    assert await other.read() == b"whole"
    await peer.left.wait()
    client.close()


async def test_a_server_is_known_by_its_certificate(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path, "localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=context)
    address = Address.of(f"https://localhost:{server.sockets[0].getsockname()[1]}")
    loop, broken = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: broken.append(context))
    stranger = Client(most_connections=1, connect_seconds=5, stall_seconds=60, keep_seconds=0)
    with pytest.raises(Unreachable, match="certificate"):
        await stranger.ask(address, HEAD, b"{}")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    peer.speakers = [says(OK)]
    friend = Client(most_connections=1, connect_seconds=5, stall_seconds=60)
    answer = await friend.ask(address, HEAD, b"{}")
    assert await answer.read() == b"whole"
    answer.close()
    friend.close()
    await peer.left.wait()
    server.close()
    assert not [context for context in broken if isinstance(context.get("exception"), AttributeError)]


def self_signed(folder: Path, host: str) -> Path:
    """A file with a key and a certificate that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "server.pem"
    path.write_bytes(private + made.public_bytes(pem))
    return path
