"""Puts the chunks of a stream together into the whole answer that the same request would have had unstreamed."""

from collections.abc import Mapping
from typing import Any

from pilotfish.gateway.wire.request import ClientRequest, Task
from pilotfish.gateway.wire.upstream import Chunk

_SET_ONCE = frozenset({"role", "id", "type", "index"})


class Assembly:
    """The whole answer so far. Chunks that are added are not changed."""

    def __init__(self, request: ClientRequest) -> None:
        self._request = request
        self._answer: Chunk = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, chunk: Chunk) -> None:
        """Add the next chunk."""
        for name, value in chunk.items():
            if name not in {"choices", "object"} and (value is not None or name not in self._answer):
                self._answer[name] = value
        for part in chunk["choices"]:
            self._add_choice(part)

    def whole(self) -> Chunk:
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
    """Append strings, merge lists of indexed parts (tool calls) part by part, replace everything else."""
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
