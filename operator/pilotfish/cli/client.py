"""Shared code of the commands that call a gateway: its address, the API key, and its errors."""

import os
from typing import Any

import aiohttp
import orjson

from pilotfish.base.errors import ModelUnavailable
from pilotfish.local import state


def gateway_address(url: str | None) -> str:
    """The gateway's address without /v1: the given one, or that of the running `pilotfish up`."""
    if url:
        return url.rstrip("/").removesuffix("/v1")
    runs = state.running(state.state_folder(os.environ))
    if not runs:
        raise ModelUnavailable("no `pilotfish up` is running: start it with `pilotfish up DIR`, or set --url")
    return runs[0].url


def session() -> aiohttp.ClientSession:
    """A session that sends the first key of PILOTFISH_API_KEYS, without a timeout for answers."""
    key = os.environ.get("PILOTFISH_API_KEYS", "").partition(",")[0]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=None, sock_connect=10))


async def checked(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """The body of an answer. Raises ModelUnavailable with the gateway's message if it is an error."""
    raw = await answer.read()
    try:
        body: dict[str, Any] = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = {}
    if answer.status != 200:
        message = body.get("error", {}).get("message") or raw.decode(errors="replace")[:500]
        raise ModelUnavailable(f"the gateway answered with status {answer.status}: {message}")
    return body
