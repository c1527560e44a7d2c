"""Log-probabilities: requested for scorers, read, and removed again where the client did not ask for them."""

from collections.abc import Mapping
from typing import Any

from pilotfish.gateway.wire.request import ClientRequest, Task
from pilotfish.plugin_api.scorers import LEAST_LOGPROB, TokenLogprobs


def ask_for(request: ClientRequest, top: int) -> dict[str, Any]:
    """Parameters that make the engine return log-probabilities with at least `top` alternatives for each token."""
    most = max(top, request.top_logprobs)
    if request.task is Task.CHAT:
        return {"logprobs": True, "top_logprobs": most} if most else {"logprobs": True}
    return {"logprobs": most}


def read(request: ClientRequest, choice: Mapping[str, Any]) -> list[TokenLogprobs]:
    """The tokens of one choice of a chunk or of a whole answer, without those of an echoed prompt."""
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, dict):
        return []
    if request.task is Task.CHAT:
        return _read_chat(logprobs)
    prompt = request.body["prompt"]
    echoed = len(prompt) if request.body.get("echo") and isinstance(prompt, str) else 0
    return _read_completion(logprobs, echoed)


def restore(request: ClientRequest, choice: dict[str, Any]) -> None:
    """Keep in `choice` only the log-probabilities that the client asked for."""
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, dict):
        return
    if not request.wants_logprobs:
        choice["logprobs"] = None
    elif request.task is Task.CHAT:
        for token in logprobs.get("content") or ():
            if isinstance(token, dict) and isinstance(token.get("top_logprobs"), list):
                token["top_logprobs"] = token["top_logprobs"][: request.top_logprobs]


def _read_chat(logprobs: Mapping[str, Any]) -> list[TokenLogprobs]:
    return [
        TokenLogprobs(
            number(token.get("logprob")),
            tuple(number(other.get("logprob")) for other in token.get("top_logprobs") or ()),
        )
        for token in logprobs.get("content") or ()
    ]


def _read_completion(logprobs: Mapping[str, Any], echoed: int) -> list[TokenLogprobs]:
    """`echoed` is the length in characters of the prompt at the beginning of the answer."""
    tops = logprobs.get("top_logprobs") or ()
    offsets = logprobs.get("text_offset") or ()
    return [
        TokenLogprobs(
            number(value),
            tuple(number(other) for other in tops[index].values()) if index < len(tops) and tops[index] else (),
        )
        for index, value in enumerate(logprobs.get("token_logprobs") or ())
        if not echoed or (index < len(offsets) and offsets[index] >= echoed)
    ]


def number(value: object) -> float:
    """A log-probability as a float. JSON has no -inf, so engines send null for an impossible token."""
    return float(value) if isinstance(value, int | float) else LEAST_LOGPROB
