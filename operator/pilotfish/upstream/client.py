"""Calls to model servers over HTTP. The seam at which the HTTP library can be replaced.

| what the library raises or the server answers | becomes |
|---|---|
| no connection | ModelUnavailable (after every other address was tried) |
| no answer in time | DeadlineExceeded |
| connection lost, half an answer, no JSON | BadUpstream (after one other address was tried) |
| 500, 502, 503, 504 | as below, after one other address was tried |
| 400, 408, 409, 413, 415, 422, 429, 503 with a body | UpstreamError, passed on |
| any other status of 400 and above | BadUpstream |

Addresses and what servers say in failures are logged, and not part of messages, because clients see these.
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from itertools import count
from types import MappingProxyType
from typing import Any

import aiohttp
import orjson
from yarl import URL

from pilotfish.base.clock import Clock
from pilotfish.base.errors import BadUpstream, DeadlineExceeded, ModelUnavailable, RequestError, UpstreamError
from pilotfish.routing.balance import by_load
from pilotfish.routing.endpoint_health import EndpointHealth
from pilotfish.routing.snapshot import Endpoint
from pilotfish.settings import GatewaySettings

PASSED_ON = frozenset({400, 408, 409, 413, 415, 422, 429, 503})
SERVER_FAULTS = frozenset({500, 502, 503, 504})
LONGEST_ERROR = 64 * 1024
QUOTED = 300

logger = logging.getLogger(__name__)

_new_connection: ContextVar[bool] = ContextVar("new_connection", default=False)


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
            raise self._broken(error) from error

    async def piece(self) -> bytes:
        """The bytes of the body since the last call; empty at the end. Raises the same errors as `read`."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> DeadlineExceeded | BadUpstream:
        self._servers.failed(self._where)
        return _translated(error, self._where)

    def close(self) -> None:
        """Close the response."""
        if not self._closed:
            self._closed = True
            self._servers.left(self._where)
            self._response.release() if self._response.content.at_eof() else self._response.close()


BESIDE_V1 = frozenset({"/classify", "/tokenize"})
"""Paths that vLLM does not serve below /v1."""


class _Failed(Exception):
    """A call failed for a reason that may not hold at another address. `reached`: the server got the request."""

    def __init__(self, error: RequestError, *, reached: bool) -> None:
        super().__init__(error.message)
        self.error = error
        self.reached = reached


class _Connector(aiohttp.TCPConnector):
    """Notes whether a call opened a connection, because a request on a new one must not be sent twice."""

    async def _create_connection(self, *arguments: Any) -> Any:
        _new_connection.set(True)
        return await super()._create_connection(*arguments)


class ModelServers:
    """Keeps connections to model servers, and counts the requests in progress at each."""

    def __init__(self, settings: GatewaySettings, clock: Clock = time.monotonic) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._clock = clock
        self.health = EndpointHealth()
        self._turn = count()
        self.in_flight: Counter[str] = Counter()

    async def open(self) -> None:
        """Open the session, in the event loop that makes the calls."""
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=self._settings.upstream_connections, keepalive_timeout=30),
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
        """Call the address with the fewest requests. Close the reply.

        Where no connection is possible, the next address is called. Where the server fails before it answers, one other
        address is called, within a retry budget. `path` is relative to the endpoint's base URL and starts with "/".
        Those of BESIDE_V1 are not below /v1.
        """
        failure: RequestError | None = None
        retried = False
        ordered = self.health.preferred(by_load(endpoints, self.in_flight, next(self._turn)), self._clock())
        for endpoint in ordered:
            try:
                return await self._attempt(endpoint, path, body, headers)
            except _Failed as failed:
                failure = failed.error
                if failed.reached and (retried or not self.health.may_retry(endpoint.base_url)):
                    break
                retried = retried or failed.reached
        raise failure or ModelUnavailable("no address of the model can be reached: it has none")

    async def _attempt(self, endpoint: Endpoint, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """One call. Raises _Failed where another address may answer, any other error where none would."""
        where = endpoint.base_url
        self.in_flight[where] += 1
        reply: Reply | None = None
        try:
            response = await self._send(endpoint, path, body, headers)
            reply = Reply(self, response, where)
            if response.status < 400:
                self.health.succeeded(where)
                return reply
            refusal = await _refusal(response, where)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self._left_failed(where, reply)
            raise _Failed(_unreachable(error, where), reached=False) from error
        except TimeoutError as error:
            self._left_failed(where, reply)
            raise _translated(error, where) from error
        except aiohttp.ClientError as error:
            self._left_failed(where, reply)
            raise _Failed(_translated(error, where), reached=True) from error
        except BaseException:
            self._left(where, reply)
            raise
        if response.status in SERVER_FAULTS:
            self._left_failed(where, reply)
            raise _Failed(refusal, reached=True)
        self.health.succeeded(where)
        self._left(where, reply)
        raise refusal

    def _left(self, where: str, reply: Reply | None) -> None:
        if reply:
            reply.close()
        else:
            self.left(where)

    def failed(self, where: str) -> None:
        """Count a failure of this base URL."""
        self.health.failed(where, self._clock())

    def _left_failed(self, where: str, reply: Reply | None) -> None:
        self.failed(where)
        self._left(where, reply)

    def left(self, where: str) -> None:
        """Count the end of a request to this base URL."""
        self.in_flight[where] -= 1
        if self.in_flight[where] <= 0:
            del self.in_flight[where]

    async def _send(
        self, endpoint: Endpoint, path: str, body: bytes, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("open() was not called")
        url, constant = _constant(endpoint, path)
        sent = {**constant, **headers}
        _new_connection.set(False)
        try:
            return await self._session.post(url, data=body, headers=sent, allow_redirects=False)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if _new_connection.get():
                raise
            # a kept connection, which the server closed before it read the request
            return await self._session.post(url, data=body, headers=sent, allow_redirects=False)


@lru_cache(maxsize=4096)
def _constant(endpoint: Endpoint, path: str) -> tuple[URL, Mapping[str, str]]:
    """The URL and headers of requests of this kind."""
    headers = {"Content-Type": "application/json"}
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    base = endpoint.base_url.removesuffix("/v1") if path in BESIDE_V1 else endpoint.base_url
    return URL(base + path), MappingProxyType(headers)


def _unreachable(error: Exception, where: str) -> ModelUnavailable:
    logger.warning("model server %s cannot be reached: %s", where, error)
    return ModelUnavailable("no address of the model can be reached: see the gateway's log")


def _translated(error: Exception, where: str) -> DeadlineExceeded | BadUpstream:
    if isinstance(error, TimeoutError):
        logger.warning("model server %s did not answer in time", where)
        return DeadlineExceeded("the model server did not answer in time")
    logger.warning("model server %s cut off its answer: %s: %s", where, type(error).__name__, error)
    return BadUpstream("the model server cut off its answer")


async def _refusal(response: aiohttp.ClientResponse, where: str) -> UpstreamError | BadUpstream:
    """The error of a status of 400 and above. Only errors of OpenAI's API are passed on to clients."""
    raw = await response.content.read(LONGEST_ERROR)
    body = _object(raw)
    quoted = _message(body) or raw[:QUOTED].decode("utf-8", "replace").strip()
    logger.warning("model server %s answered with status %d: %s", where, response.status, quoted)
    if response.status in PASSED_ON and body is not None:
        return UpstreamError(response.status, body, retry_after=response.headers.get("Retry-After"))
    return BadUpstream(f"the model server answered with status {response.status}")


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _message(body: Mapping[str, Any] | None) -> str:
    error = (body or {}).get("error")
    return str(error.get("message", "")) if isinstance(error, dict) else ""
