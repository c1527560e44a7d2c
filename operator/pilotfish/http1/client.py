"""The client: keeps connections to servers, one request at a time on each, and hands answers on as they arrive."""

import asyncio
import ssl
from collections import deque
from functools import cached_property
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools

MOST_UNREAD = 256 * 1024
"""Bytes of an answer that wait for its reader before the server is made to wait."""

LONGEST_HEAD = 64 * 1024


class Unreachable(Exception):
    """No connection can be made."""


class BrokenOff(Exception):
    """The connection was lost before the answer's end, or what came is no HTTP."""


class _Stale(BrokenOff):
    """A kept connection that the server had closed meanwhile: nothing of an answer was seen."""


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, url: str) -> "Address":
        """The address in a URL with http or https."""
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        return cls(parts.hostname or "", parts.port or (443 if tls else 80), tls)


class Client:
    """Connections to any number of servers; `most_connections` are busy at a time, further requests wait their turn."""

    def __init__(
        self, *, most_connections: int, connect_seconds: float, stall_seconds: float, keep_seconds: float = 30.0
    ) -> None:
        self.stall_seconds = stall_seconds
        self.keep_seconds = keep_seconds
        self._most = most_connections
        self._connect_seconds = connect_seconds
        self._turn = asyncio.Semaphore(most_connections)
        self._open: set[_Connection] = set()
        self._kept: dict[Address, deque[_Connection]] = {}

    async def ask(self, address: Address, head: bytes, body: bytes) -> "Answer":
        """Send a request, and wait for the head of its answer. `head` ends with the blank line; close what is returned.

        Raises Unreachable, BrokenOff, and TimeoutError when no byte comes for `stall_seconds`.
        """
        await self._turn.acquire()
        try:
            return await self._asked(address, head, body)
        except BaseException:
            self._turn.release()
            raise

    def close(self) -> None:
        """Drop every connection."""
        for connection in tuple(self._open):
            connection.drop()

    # for connections

    def made(self, connection: "_Connection") -> None:
        """A connection is there."""
        self._open.add(connection)

    def done(self, connection: "_Connection", address: Address, *, reusable: bool) -> None:
        """An answer on a connection was closed."""
        self._turn.release()
        if reusable:
            self._kept.setdefault(address, deque()).append(connection)
        else:
            connection.drop()

    def lost(self, connection: "_Connection", address: Address) -> None:
        """A connection is no more."""
        self._open.discard(connection)
        kept = self._kept.get(address)
        if kept and connection in kept:
            kept.remove(connection)
        if not kept:
            self._kept.pop(address, None)

    async def _asked(self, address: Address, head: bytes, body: bytes) -> "Answer":
        kept = self._kept_one(address)
        if kept:
            try:
                return await kept.ask(head, body)
            except _Stale:
                pass  # nothing of an answer was seen, so a new connection may be asked the same
        return await (await self._connected(address)).ask(head, body)

    def _kept_one(self, address: Address) -> "_Connection | None":
        """The one used last, so that those which are not needed grow old."""
        kept = self._kept.get(address)
        while kept:
            connection = kept.pop()
            if connection.usable:
                return connection
        return None

    async def _connected(self, address: Address) -> "_Connection":
        if len(self._open) >= self._most:
            self._drop_a_kept_one()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_seconds):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self, address, loop),
                    address.host,
                    address.port,
                    ssl=self._tls if address.tls else None,
                )
        except TimeoutError as error:
            raise Unreachable(f"{address.host}:{address.port} accepts no connection in time") from error
        except OSError as error:
            raise Unreachable(f"{address.host}:{address.port}: {error}") from error
        return connection

    def _drop_a_kept_one(self) -> None:
        for kept in self._kept.values():
            if kept:
                kept.popleft().drop()
                return

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()


class Answer:
    """One answer, its head known, its body read as it comes.

    Must be closed; before its end, that drops the connection, which tells the server to stop.
    """

    __slots__ = ("_connection", "_failure", "_held", "_loop", "_pieces", "_waiter", "ended", "headers", "status")

    def __init__(self, connection: "_Connection", loop: asyncio.AbstractEventLoop) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        """By their names in small letters."""
        self.ended = False
        """Whether all of it has arrived."""
        self._connection: _Connection | None = connection
        self._loop = loop
        self._pieces: list[bytes] = []
        self._held = 0
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Exception | None = None

    async def head(self) -> None:
        """Wait for status and headers. Raises BrokenOff or TimeoutError."""
        while not self.status:
            if self._failure:
                raise self._failure
            await self._news()

    async def piece(self) -> bytes:
        """What has arrived of the body since the last call, at least a byte; empty at its end.

        Raises BrokenOff or TimeoutError.
        """
        pieces = self._pieces
        while not pieces:
            if self._failure:
                raise self._failure
            if self.ended:
                return b""
            await self._news()
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if self._held > MOST_UNREAD and self._connection:
            self._connection.listen()
        self._held = 0
        return piece

    async def read(self) -> bytes:
        """The rest of the body. Raises as `piece` does."""
        pieces = [await self.piece()]
        while not self.ended or self._pieces:
            pieces.append(await self.piece())
        return b"".join(pieces)

    def close(self) -> None:
        """Leave it; the connection is kept if the whole answer was read."""
        connection, self._connection = self._connection, None
        if connection:
            connection.left(read=self.ended and not self._pieces)

    # for its connection

    def add(self, piece: bytes) -> bool:
        """More of the body is here. Whether its reader is that far behind that no more should come."""
        self._pieces.append(piece)
        self._held += len(piece)
        self.wake()
        return self._held > MOST_UNREAD

    def end(self, failure: Exception | None = None) -> None:
        """There is no more of it."""
        if failure is None:
            self.ended = True
        elif not self.ended:
            self._failure = failure
        self.wake()

    def wake(self) -> None:
        """There is news for whoever waits."""
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    async def _news(self) -> None:
        self._waiter = self._loop.create_future()
        await self._waiter


class _Connection(asyncio.Protocol):
    """One connection to a server, with at most one answer on its way."""

    def __init__(self, client: Client, address: Address, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._address = address
        self._loop = loop
        self._transport: asyncio.Transport
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._used = False
        self._in_head = 0
        self._until_closed = False
        self._reusable = True
        self._reading = True
        self._heard = loop.time()
        self._period = min(client.keep_seconds, client.stall_seconds)
        self._timer: asyncio.TimerHandle

    @property
    def usable(self) -> bool:
        """Whether a request can be sent."""
        return self._reusable and not self._transport.is_closing()

    async def ask(self, head: bytes, body: bytes) -> Answer:
        """Send a request. Raises as Client.ask."""
        answer = self._answer = Answer(self, self._loop)
        self._heard = self._loop.time()
        self._in_head, self._until_closed = 0, False
        self._transport.writelines((head, body))
        try:
            await answer.head()
        except BaseException:
            self._answer = None
            self.drop()
            raise
        return answer

    def left(self, *, read: bool) -> None:
        """Nobody reads the answer any more; `read` says whether it was read to its end."""
        self._answer = None
        self._used = True
        self._heard = self._loop.time()
        unsent = self._transport.get_write_buffer_size()
        self._client.done(self, self._address, reusable=read and self.usable and not unsent)

    def listen(self) -> None:
        """The reader has caught up."""
        if not self._reading:
            self._reading = True
            self._heard = self._loop.time()
            self._transport.resume_reading()

    def drop(self) -> None:
        """Close at once, whatever is on its way."""
        self._transport.abort()

    # what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._timer = self._loop.call_later(self._period, self._watch)
        self._client.made(self)

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.ended or self._parser is None:
            self.drop()  # it speaks unasked
            return
        self._heard = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(BrokenOff(f"what came is no HTTP/1.1: {error}"))
            return
        if not self._answer.status:
            self._in_head += len(data)
            if self._in_head > LONGEST_HEAD:
                self._fail(BrokenOff(f"its headers are longer than {LONGEST_HEAD} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._parser = None  # it refers back to this connection
        self._client.lost(self, self._address)
        answer = self._answer
        if answer is None or answer.ended:
            return
        if self._until_closed and exc is None:
            answer.end()
        elif self._used and not answer.status and not self._in_head:
            answer.end(_Stale("the connection was closed"))
        else:
            answer.end(BrokenOff(str(exc or "the connection was closed")))

    # what the parser tells

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer and not self._answer.status:
            self._answer.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._answer is None or self._parser is None:
            return
        if self._answer.ended:
            self._reusable = False  # it speaks unasked
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._answer.headers.clear()
            return
        self._answer.status = status
        headers = self._answer.headers
        self._until_closed = b"content-length" not in headers and b"transfer-encoding" not in headers
        self._answer.wake()

    def on_body(self, piece: bytes) -> None:
        if self._answer and not self._answer.ended and self._answer.add(piece) and self._reading:
            self._reading = False
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._answer is None or self._parser is None or not self._answer.status:
            return  # of an answer ahead of the answer, such as 100 Continue
        self._reusable = self._reusable and self._parser.should_keep_alive()
        self._answer.end()

    def _fail(self, failure: Exception) -> None:
        self._reusable = False
        if self._answer:
            self._answer.end(failure)
        self.drop()

    def _watch(self) -> None:
        """Ends an answer that stalls, and a connection that nobody needs."""
        now = self._loop.time()
        if self._answer is None:
            due = self._heard + self._client.keep_seconds
        elif self._reading:
            due = self._heard + self._client.stall_seconds
        else:
            due = now + self._period
        if now < due:
            self._timer = self._loop.call_at(min(due, now + self._period), self._watch)
        elif self._answer is None:
            self._transport.close()
        else:
            self._fail(TimeoutError("it sends nothing"))
