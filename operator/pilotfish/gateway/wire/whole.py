"""A whole answer: put together from chunks, or read as the model server sent it."""

from collections.abc import Mapping
from typing import Any

import orjson

from pilotfish.base.errors import BadUpstream
from pilotfish.gateway.wire.chunks import Chunk
from pilotfish.gateway.wire.request import ClientRequest, Task

WholeAnswer = dict[str, Any]

_SET_ONCE = frozenset({"role", "id", "type", "index"})


def parse_whole(raw: bytes) -> WholeAnswer:
    """Raises BadUpstream for what is no answer of OpenAI's API."""
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadUpstream(f"the model server's answer is not JSON: {raw[:200]!r}") from error
    if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
        raise BadUpstream("the model server's answer has no choices")
    return answer


def spliced(raw: bytes, told: Mapping[str, Any]) -> bytes:
    """The answer's own bytes, with the `pilotfish` object as its last member."""
    return raw[: raw.rindex(b"}")] + b',"pilotfish":' + orjson.dumps(told) + b"}"


def answer_text(answer: Mapping[str, Any]) -> str:
    """The text of the first choice."""
    if not answer["choices"]:
        return ""
    first = answer["choices"][0]
    message = first.get("message")
    return str((message or {}).get("content") or "") if isinstance(message, dict) else str(first.get("text") or "")


class Assembly:
    """Chunks of one stream, put together into the answer that the same request would have had unstreamed."""

    def __init__(self, request: ClientRequest) -> None:
        self._request = request
        self._answer: WholeAnswer = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, chunk: Chunk) -> None:
        """Take the next chunk."""
        for name, value in chunk.items():
            if name not in {"choices", "object"} and (value is not None or name not in self._answer):
                self._answer[name] = value
        for part in chunk["choices"]:
            self._add_choice(part)

    def whole(self) -> WholeAnswer:
        """The answer so far."""
        kind = "chat.completion" if self._request.task is Task.CHAT else "text_completion"
        choices = [self._choices[index] for index in sorted(self._choices)]
        usage = {"usage": self._answer["usage"]} if "usage" in self._answer else {}
        rest = {name: value for name, value in self._answer.items() if name != "usage"}
        return {**rest, "object": kind, "choices": choices, **usage}

    def _add_choice(self, part: Mapping[str, Any]) -> None:
        index = int(part.get("index", 0))
        choice = self._choices.get(index)
        if choice is None:
            body = (
                {"message": {"role": "assistant", "content": None}} if self._request.task is Task.CHAT else {"text": ""}
            )
            choice = self._choices[index] = {"index": index, **body, "logprobs": None, "finish_reason": None}
        for name, value in part.items():
            if name == "delta":
                _merge(choice["message"], value or {})
            elif name == "text":
                choice["text"] += value or ""
            elif name == "logprobs":
                choice["logprobs"] = _joined_logprobs(choice["logprobs"], value)
            elif value is not None or name not in choice:
                choice[name] = value


def _merge(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Texts grow, lists of indexed parts (tool calls) are merged part by part, anything else is replaced."""
    for name, value in delta.items():
        known = message.get(name)
        if value is None:
            message.setdefault(name, None)
        elif isinstance(value, list):
            message[name] = _merged_parts(known or [], value)
        elif isinstance(value, dict) and isinstance(known, dict):
            _merge(known, value)
        elif isinstance(value, str) and isinstance(known, str) and name not in _SET_ONCE:
            message[name] = known + value
        else:
            message[name] = dict(value) if isinstance(value, dict) else value


def _merged_parts(known: list[Any], parts: list[Any]) -> list[Any]:
    for part in parts:
        if not isinstance(part, dict) or "index" not in part:
            known.append(part)
            continue
        place = next((other for other in known if other.get("index") == part["index"]), None)
        if place is None:
            place = {}
            known.append(place)
        _merge(place, part)
    return known


def _joined_logprobs(known: dict[str, Any] | None, more: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not more:
        return known
    if known is None:
        return {name: list(value) if isinstance(value, list) else value for name, value in more.items()}
    for name, value in more.items():
        if isinstance(value, list):
            known[name] = (known.get(name) or []) + value
    return known
