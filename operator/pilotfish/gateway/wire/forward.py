"""The body that a pool gets, made from the client's."""

from collections.abc import Mapping
from typing import Any

import orjson

from pilotfish.gateway.wire.request import ClientRequest


def pool_body(
    request: ClientRequest, model: str, *, stream: bool, extra: Mapping[str, Any], usage_in_every_chunk: bool = False
) -> bytes:
    """The client's parameters as they came, but for `model`, how the answer travels, and what a scorer needs (`extra`).

    Usage is always asked for: the gateway accounts for it, and hides it where the client did not ask.
    """
    body = {**request.body, "model": model, **extra}
    body.pop("stream_options", None)
    body.pop("stream", None)
    if stream:
        options = {**(request.body.get("stream_options") or {}), "include_usage": True}
        if usage_in_every_chunk:
            options["continuous_usage_stats"] = True
        body |= {"stream": True, "stream_options": options}
    return orjson.dumps(body)
