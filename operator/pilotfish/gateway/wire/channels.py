"""The channels of a choice: its text, and the JSON arguments of each of its tool calls. Read, replaced, restricted."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from pilotfish.gateway.wire.upstream import choice_text, set_choice_text

TEXT = None
"""The channel of a choice's text. Other channels are the numbers of tool calls."""
FUNCTION_CALL = -1
"""The channel of the arguments of `function_call`, which came before tool calls in OpenAI's API."""

Number = int | None

_CHOICE = frozenset({"index", "delta", "message", "text", "logprobs", "finish_reason", "stop_reason"})
_MESSAGE = frozenset({"role", "content", "tool_calls", "function_call"})
_CALL = frozenset({"index", "id", "type", "function"})
_FUNCTION = frozenset({"name", "arguments"})


def message_of(choice: Mapping[str, Any]) -> dict[str, Any]:
    """The message of a choice, of a chunk or of a whole answer. Empty for a plain completion."""
    message = choice.get("delta") or choice.get("message")
    return message if isinstance(message, dict) else {}


def channels(choice: Mapping[str, Any]) -> dict[Number, str]:
    """The string of each channel that the choice has. The text is always one, and the first."""
    found: dict[Number, str] = {TEXT: choice_text(choice)}
    for number, function in _functions(choice):
        found[number] = found.get(number, "") + _arguments(function)
    return found


def set_channel(choice: dict[str, Any], number: Number, text: str) -> None:
    """Replace the string of a channel. A tool call that the choice does not have is added to it."""
    if number is TEXT:
        set_choice_text(choice, text)
        return
    functions = [function for found, function in _functions(choice) if found == number]
    if not functions:
        _add_function(choice, number, text)
    for function in functions:
        function["arguments"], text = text, ""


def _add_function(choice: dict[str, Any], number: int, text: str) -> None:
    place = "message" if "message" in choice else "delta"
    message = choice.get(place)
    if not isinstance(message, dict):
        message = choice[place] = {}
    if number == FUNCTION_CALL:
        message["function_call"] = {"arguments": text}
    else:
        calls = message.get("tool_calls") or []
        message["tool_calls"] = [*calls, {"index": number, "function": {"arguments": text}}]


def restrict(choice: dict[str, Any]) -> None:
    """Remove everything but the channels and the fields around them: reasoning, token ids, and fields of engines."""
    _keep(choice, _CHOICE)
    for place in ("delta", "message"):
        message = choice.get(place)
        if isinstance(message, dict):
            _keep(message, _MESSAGE)
            for call in _calls(message):
                _keep(call, _CALL)
            for _, function in _functions(choice):
                _keep(function, _FUNCTION)


def forget_tokens(choice: dict[str, Any]) -> None:
    """Remove log-probabilities and token ids."""
    choice["logprobs"] = None
    choice.pop("token_ids", None)


def names(choice: Mapping[str, Any]) -> Iterator[str]:
    """What a chunk begins: its role, and each tool call whose name or id it has."""
    message = message_of(choice)
    if message.get("role"):
        yield "role"
    for place, call in enumerate(_calls(message)):
        if call.get("id") or _function(call).get("name"):
            yield f"tool call {_number(call, place)}"
    legacy = message.get("function_call")
    if isinstance(legacy, dict) and legacy.get("name"):
        yield "function call"


def _functions(choice: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    message = message_of(choice)
    for place, call in enumerate(_calls(message)):
        if isinstance(call.get("function"), dict):
            yield _number(call, place), call["function"]
    legacy = message.get("function_call")
    if isinstance(legacy, dict):
        yield FUNCTION_CALL, legacy


def _calls(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls = message.get("tool_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _function(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    return function if isinstance(function, dict) else {}


def _number(call: Mapping[str, Any], place: int) -> int:
    index = call.get("index")
    return index if isinstance(index, int) and index >= 0 else place


def _arguments(function: Mapping[str, Any]) -> str:
    arguments = function.get("arguments")
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return orjson.dumps(arguments).decode()


def _keep(value: dict[str, Any], known: frozenset[str]) -> None:
    for name in value.keys() - known:
        del value[name]
