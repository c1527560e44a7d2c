"""Calls to model servers over HTTP. The seam at which the HTTP client can be replaced.

| what the client raises or the server answers | becomes |
|---|---|
| no connection | ModelUnavailable (after every other address was tried) |
| no answer in time | DeadlineExceeded |
| connection lost, half an answer, no JSON | BadUpstream |
| 400, 408, 409, 413, 415, 422, 429, 503 with a body | UpstreamError, passed on |
| any other status of 400 and above | BadUpstream |
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import orjson

from pilotfish import __version__
from pilotfish.base.errors import BadUpstream, DeadlineExceeded, ModelUnavailable, UpstreamError
from pilotfish.http1.client import Address, Answer, BrokenOff, Client, Unreachable
from pilotfish.routing.balance import by_load
from pilotfish.routing.snapshot import Endpoint
from pilotfish.settings import GatewaySettings

PASSED_ON = frozenset({400, 408, 409, 413, 415, 422, 429, 503})
LONGEST_ERROR = 64 * 1024
QUOTED = 300


class Reply:
    """A model server's answer whose status is below 400, not read yet. Must be closed.

    Closing it before the answer was read whole closes the connection: the model server takes that as cancellation.
    """

    def __init__(self, servers: "ModelServers", answer: Answer, where: str) -> None:
        self._servers = servers
        self._answer = answer
        self._where = where
        self._closed = False

    async def read(self) -> bytes:
        """The whole body. Raises BadUpstream when it breaks off, DeadlineExceeded when it stalls."""
        try:
            return await self._answer.read()
        except (BrokenOff, TimeoutError) as error:
            raise _translated(error, self._where) from error

    async def piece(self) -> bytes:
        """What has arrived of the body since the last call; empty at its end. Raises as `read` does."""
        try:
            return await self._answer.piece()
        except (BrokenOff, TimeoutError) as error:
            raise _translated(error, self._where) from error

    def close(self) -> None:
        """Leave it."""
        if not self._closed:
            self._closed = True
            self._answer.close()
            self._servers.left(self._where)


class ModelServers:
    """Keeps connections to model servers, and counts the requests in flight at each."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._client = Client(
            most_connections=settings.upstream_connections,
            connect_seconds=settings.connect_timeout_seconds,
            stall_seconds=settings.idle_timeout_seconds,
        )
        self._turn = count()
        self.in_flight: Counter[str] = Counter()

    def close(self) -> None:
        """Drop every connection."""
        self._client.close()

    async def post(self, endpoints: Sequence[Endpoint], path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Ask the least busy address; the next one when no connection can be made. Close what is returned.

        `path` is relative to the endpoint's base URL and begins with "/".
        """
        failure: Exception | None = None
        for endpoint in by_load(endpoints, self.in_flight, next(self._turn)):
            where = endpoint.base_url
            address, constant = _constant_head(endpoint, path)
            told = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
            head = f"{constant}{told}content-length: {len(body)}\r\n\r\n".encode("latin-1")
            self.in_flight[where] += 1
            try:
                answer = await self._client.ask(address, head, body)
            except Unreachable as error:
                self.left(where)
                failure = error
            except (BrokenOff, TimeoutError) as error:
                self.left(where)
                raise _translated(error, where) from error
            except BaseException:
                self.left(where)
                raise
            else:
                return await _accepted(Reply(self, answer, where), answer, where)
        raise ModelUnavailable(f"no address of the model can be reached: {failure or 'there is none'}") from failure

    def left(self, where: str) -> None:
        """A request to this base URL has ended."""
        self.in_flight[where] -= 1
        if self.in_flight[where] <= 0:
            del self.in_flight[where]


@lru_cache(maxsize=4096)
def _constant_head(endpoint: Endpoint, path: str) -> tuple[Address, str]:
    """Where to connect, and what begins every request there. Raises ModelUnavailable for a key that is no header."""
    parts = urlsplit(endpoint.base_url + path)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [
        f"POST {target} HTTP/1.1",
        f"host: {parts.netloc.rpartition('@')[2]}",
        f"user-agent: pilotfish/{__version__}",
        "accept: */*",
        "accept-encoding: identity",
        "content-type: application/json",
    ]
    if endpoint.api_key:
        if not endpoint.api_key.isascii() or not endpoint.api_key.isprintable():
            raise ModelUnavailable(
                f"the API key for {endpoint.base_url} holds what no header may, such as a line break"
            )
        lines.append(f"authorization: Bearer {endpoint.api_key}")
    return Address.of(endpoint.base_url), "\r\n".join(lines) + "\r\n"


def _translated(error: Exception, where: str) -> DeadlineExceeded | BadUpstream:
    if isinstance(error, TimeoutError):
        return DeadlineExceeded(f"the model server at {where} did not answer in time")
    return BadUpstream(f"the model server at {where} broke off its answer: {error}")


async def _accepted(reply: Reply, answer: Answer, where: str) -> Reply:
    """The reply, if it is one. Raises UpstreamError or BadUpstream when it is not."""
    encoding = answer.headers.get(b"content-encoding", b"identity")
    if answer.status < 400 and encoding == b"identity":
        return reply
    try:
        if answer.status < 400:
            raise BadUpstream(f"the model server at {where} answers in {encoding.decode('latin-1')}, unasked")
        raise await _refusal(reply, answer, where)
    finally:
        reply.close()


async def _refusal(reply: Reply, answer: Answer, where: str) -> UpstreamError | BadUpstream:
    raw = b""
    while len(raw) < LONGEST_ERROR and (piece := await reply.piece()):
        raw += piece
    body = _object(raw)
    if answer.status in PASSED_ON and body is not None:
        retry_after = answer.headers.get(b"retry-after")
        return UpstreamError(answer.status, body, retry_after=retry_after.decode("latin-1") if retry_after else None)
    said = _message(body) or raw[:QUOTED].decode("utf-8", "replace").strip()
    return BadUpstream(f"the model server at {where} answered {answer.status}: {said}")


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _message(body: Mapping[str, Any] | None) -> str:
    error = (body or {}).get("error")
    return str(error.get("message", "")) if isinstance(error, dict) else ""
