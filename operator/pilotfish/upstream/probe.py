"""One small request that shows whether a pool answers, and that warms what the first request would have to wait for."""

from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from pilotfish.api.modelpool import Task
from pilotfish.base.errors import NoAnswer, RuntimeFailure, Unavailable

_PATHS = {Task.GENERATE: "/chat/completions", Task.EMBED: "/embeddings", Task.SCORE: "/score"}


def probe_body(task: Task, model: str) -> dict[str, Any]:
    """The request: one sampled token with its log-probability, one vector, or one score."""
    if task is Task.GENERATE:
        message = {"role": "user", "content": "Hello"}
        return {"model": model, "messages": [message], "max_tokens": 1, "logprobs": True, "top_logprobs": 1}
    if task is Task.EMBED:
        return {"model": model, "input": "Hello"}
    return {"model": model, "text_1": "Hello", "text_2": "Hello"}


async def probe(
    http: aiohttp.ClientSession, base_url: str, task: Task, model: str, headers: Mapping[str, str] | None = None
) -> None:
    """Ask once and return when an answer came.

    Raises NoAnswer when none comes, Unavailable when the server fails, RuntimeFailure when it refuses the request.
    """
    url = base_url.rstrip("/") + _PATHS[task]
    body = probe_body(task, model)
    status, content = await _post(http, url, body, headers or {})
    if status == 400 and task is Task.GENERATE:
        # A base model has no chat template; it completes.
        completion = {"model": model, "prompt": "Hello", "max_tokens": 1, "logprobs": 1}
        status, content = await _post(http, base_url.rstrip("/") + "/completions", completion, headers or {})
    if status != 200:
        text = content.decode(errors="replace").strip()
        reason = f"the probe of {model!r} was answered {status}: {' '.join(text[:400].split())}"
        raise Unavailable(reason, text) if status >= 500 else RuntimeFailure(reason)


async def _post(
    http: aiohttp.ClientSession, url: str, body: dict[str, Any], headers: Mapping[str, str]
) -> tuple[int, bytes]:
    try:
        async with http.post(
            url, data=orjson.dumps(body), headers={"Content-Type": "application/json", **headers}
        ) as answer:
            return answer.status, await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise NoAnswer(f"the probe of {url} got no answer: {error or type(error).__name__}") from error
