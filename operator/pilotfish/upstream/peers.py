"""What is asked over HTTP besides answers: external APIs for their models, gateways for their load and figures.

None of it costs a token.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import aiohttp
import orjson
from pydantic import ValidationError

from pilotfish.api.modelpool import Task
from pilotfish.base.errors import ModelUnavailable
from pilotfish.base.keys import Key
from pilotfish.reconcile.outcome import ExternalCheck
from pilotfish.routing.gateway_usage import GatewayUsage
from pilotfish.upstream.probe import probe

_SECONDS = 20.0
_PROGRESS_SECONDS = 2.0
_LONGEST_PROGRESS = 200
logger = logging.getLogger(__name__)

_LARGEST_ANSWER = 4 * 1024 * 1024


class Peers:
    """Asks other servers, each for `seconds` at most. Use as an asynchronous context manager."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._timeout = aiohttp.ClientTimeout(total=seconds, connect=min(5.0, seconds))
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Peers":
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask_models(self, base_url: str, *, model: str, api_key: str | None) -> ExternalCheck:
        """Whether the API lists `model`. An API that lists no models at all, but answers, counts as reachable."""
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        try:
            status, body = await self._get(f"{base_url.rstrip('/')}/models", headers)
        except ModelUnavailable as error:
            return ExternalCheck(reachable=False, message=str(error))
        if status in {401, 403}:
            return ExternalCheck(reachable=False, message=f"{base_url} refuses the API key (status {status})")
        if status in {404, 405}:
            return ExternalCheck(reachable=True, message=f"{base_url} is reachable, but does not list its models")
        if status >= 400:
            return ExternalCheck(reachable=False, message=f"{base_url} returned status {status}")
        names = _model_names(body)
        if names is not None and model not in names:
            return ExternalCheck(reachable=False, message=f"spec.external.model: {base_url} has no model {model!r}")
        return ExternalCheck(reachable=True, message=f"{base_url} lists {model!r}")

    async def ask_answer(self, base_url: str, *, task: Task, model: str) -> None:
        """Ask for one small answer. Raises NoAnswer if none comes, RuntimeFailure with the server's error."""
        await probe(self._open, base_url, task, model)

    async def in_flight(self, gateways: Iterable[str]) -> Mapping[Key, float]:
        """Requests in flight by pool, summed over gateways (`host:port`).

        Raises ModelUnavailable when one of them does not say: a sum of some would look like less load.
        """
        total: Counter[Key] = Counter()
        for gateway in gateways:
            pools = (await self._load(gateway)).get("pools")
            if not isinstance(pools, dict):
                raise ModelUnavailable(f"gateway {gateway} does not report its load")
            try:
                total.update({Key.parse("ModelPool", pool): float(count) for pool, count in pools.items()})
            except (TypeError, ValueError) as error:
                raise ModelUnavailable(f"gateway {gateway} reports a load that cannot be read: {error}") from error
        return total

    async def usage(self, gateways: Iterable[str]) -> Sequence[GatewayUsage]:
        """What each gateway (`host:port`) reports of its routers; gateways that do not answer are left out."""
        asked = (self._usage(gateway) for gateway in gateways)
        return [found for found in await asyncio.gather(*asked) if found]

    async def progress(self, address: str) -> str:
        """How far the preparation at `host:port` is, for people. Empty where it does not say so in time."""
        try:
            async with asyncio.timeout(_PROGRESS_SECONDS):
                status, body = await self._get(f"http://{address}/progress", {})
            found = _json(body) if status == 200 else {}
        except (ModelUnavailable, TimeoutError):
            return ""
        if not found.get("message"):
            return ""
        amount = f", {found.get('done')} of {found['total']}" if found.get("total") else ""
        return f"{found['message']}{amount}"[:_LONGEST_PROGRESS]

    async def _usage(self, gateway: str) -> GatewayUsage | None:
        try:
            return GatewayUsage.model_validate(await self._load(gateway))
        except (ModelUnavailable, ValidationError) as error:
            logger.info("gateway %s does not report its counters: %s", gateway, error)
            return None

    async def _load(self, gateway: str) -> dict[str, Any]:
        url = f"http://{gateway}/pilotfish/v1/load"
        status, body = await self._get(url, {})
        if status != 200:
            raise ModelUnavailable(f"{url} returned status {status}")
        return _json(body)

    async def _get(self, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            async with self._open.get(url, headers=headers, allow_redirects=False) as response:
                return response.status, await response.content.read(_LARGEST_ANSWER)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ModelUnavailable(f"{url} does not answer: {type(error).__name__}: {error}") from error

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise ModelUnavailable("the client was not opened: use it as an asynchronous context manager")
        return self._session


async def resolved(service: str) -> tuple[str, ...]:
    """`host:port` of every address behind a name (`name:port`). Raises ModelUnavailable where it has none."""
    host, _, port = service.rpartition(":")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise ModelUnavailable(f"{service}: {error}") from error
    hosts = sorted({str(address[4][0]) for address in found})
    return tuple(f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each in hosts)


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _model_names(body: bytes) -> set[str] | None:
    data = _json(body).get("data")
    if not isinstance(data, list):
        return None
    return {str(entry.get("id")) for entry in data if isinstance(entry, dict)}
