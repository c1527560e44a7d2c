"""Calls to model servers over HTTP. The seam at which the HTTP library can be replaced.

| what the library raises or the server answers | becomes |
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
from types import MappingProxyType
from typing import Any

import aiohttp
import orjson
from yarl import URL

from pilotfish.base.errors import BadUpstream, DeadlineExceeded, ModelUnavailable, UpstreamError
from pilotfish.routing.balance import by_load
from pilotfish.routing.snapshot import Endpoint
from pilotfish.settings import GatewaySettings

PASSED_ON = frozenset({400, 408, 409, 413, 415, 422, 429, 503})
LONGEST_ERROR = 64 * 1024
QUOTED = 300


class Reply:
    """A response of a model server with a status below 400, not read yet. Must be closed.

    Closing it before the end closes the connection, which the model server treats as cancellation.
    """

    def __init__(self, servers: "ModelServers", response: aiohttp.ClientResponse, where: str) -> None:
        self._servers = servers
        self._response = response
        self._where = where
        self._closed = False

    async def read(self) -> bytes:
        """The whole body. Raises BadUpstream if it is cut off, DeadlineExceeded if it stalls."""
        try:
            return await self._response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _translated(error, self._where) from error

    async def piece(self) -> bytes:
        """The bytes of the body since the last call; empty at the end. Raises the same errors as `read`."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _translated(error, self._where) from error

    def close(self) -> None:
        """Close the response."""
        if not self._closed:
            self._closed = True
            self._servers.left(self._where)
            self._response.release() if self._response.content.at_eof() else self._response.close()


BESIDE_V1 = frozenset({"/classify", "/tokenize"})
"""Paths that vLLM does not serve below /v1."""


class ModelServers:
    """Keeps connections to model servers, and counts the requests in progress at each."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._turn = count()
        self.in_flight: Counter[str] = Counter()

    async def open(self) -> None:
        """Open the session, in the event loop that makes the calls."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._settings.upstream_connections, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=self._settings.connect_timeout_seconds,
                sock_read=self._settings.idle_timeout_seconds,
            ),
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=2**18,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()

    async def post(self, endpoints: Sequence[Endpoint], path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Call the address with the fewest requests, or the next one if no connection is possible. Close the response.

        `path` is relative to the endpoint's base URL and starts with "/". Those of BESIDE_V1 are not below /v1.
        """
        response, endpoint = await self._connect(endpoints, path, body, headers)
        reply = Reply(self, response, endpoint.base_url)
        if response.status < 400:
            return reply
        try:
            raise await _refusal(response, endpoint.base_url)
        finally:
            reply.close()

    def left(self, where: str) -> None:
        """Count the end of a request to this base URL."""
        self.in_flight[where] -= 1
        if self.in_flight[where] <= 0:
            del self.in_flight[where]

    async def _connect(
        self, endpoints: Sequence[Endpoint], path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[aiohttp.ClientResponse, Endpoint]:
        if self._session is None:
            raise RuntimeError("open() was not called")
        failure: Exception | None = None
        for endpoint in by_load(endpoints, self.in_flight, next(self._turn)):
            self.in_flight[endpoint.base_url] += 1
            try:
                return await self._send(endpoint, path, body, headers), endpoint
            except aiohttp.ClientConnectorError as error:
                self.left(endpoint.base_url)
                failure = error
            except (aiohttp.ClientError, TimeoutError) as error:
                self.left(endpoint.base_url)
                raise _translated(error, endpoint.base_url) from error
            except BaseException:
                self.left(endpoint.base_url)
                raise
        raise ModelUnavailable(f"no address of the model can be reached: {failure or 'it has none'}") from failure

    async def _send(
        self, endpoint: Endpoint, path: str, body: bytes, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        assert self._session is not None  # noqa: S101 - checked by the caller, for the type checker
        url, constant = _constant(endpoint, path)
        sent = {**constant, **headers}
        try:
            return await self._session.post(url, data=body, headers=sent, allow_redirects=False)
        except aiohttp.ServerDisconnectedError:
            # the server closed a kept connection before it answered
            return await self._session.post(url, data=body, headers=sent, allow_redirects=False)


@lru_cache(maxsize=4096)
def _constant(endpoint: Endpoint, path: str) -> tuple[URL, Mapping[str, str]]:
    """The URL and headers of requests of this kind."""
    headers = {"Content-Type": "application/json"}
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    base = endpoint.base_url.removesuffix("/v1") if path in BESIDE_V1 else endpoint.base_url
    return URL(base + path), MappingProxyType(headers)


def _translated(error: Exception, where: str) -> DeadlineExceeded | BadUpstream:
    if isinstance(error, TimeoutError):
        return DeadlineExceeded(f"the model server at {where} did not answer in time")
    return BadUpstream(f"the model server at {where} cut off its answer: {type(error).__name__}: {error}")


async def _refusal(response: aiohttp.ClientResponse, where: str) -> UpstreamError | BadUpstream:
    try:
        raw = await response.content.read(LONGEST_ERROR)
    except (aiohttp.ClientError, TimeoutError) as error:
        return BadUpstream(
            f"the model server at {where} answered with status {response.status}, and cut off its body: {error}"
        )
    body = _object(raw)
    if response.status in PASSED_ON and body is not None:
        return UpstreamError(response.status, body, retry_after=response.headers.get("Retry-After"))
    said = _message(body) or raw[:QUOTED].decode("utf-8", "replace").strip()
    return BadUpstream(f"the model server at {where} answered with status {response.status}: {said}")


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _message(body: Mapping[str, Any] | None) -> str:
    error = (body or {}).get("error")
    return str(error.get("message", "")) if isinstance(error, dict) else ""
