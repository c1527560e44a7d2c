"""Masking of all strings of a conversation: found in one pass, replaced in a second one.

What was recognised in one string is replaced in every string, also where nothing around it says what it is.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pilotfish.plugin_api.adaptations import Conversation
from pilotfish_redact.placeholders import Placeholders
from pilotfish_redact.spans import Kind, Span, merged

Find = Callable[[str], Iterable[Span]]

STRUCTURE = frozenset({"role", "type"})
"""Keys whose values have a meaning for the model server."""
TEXT_PARTS = frozenset({"text", "input_text", "output_text", "refusal", "thinking"})
"""Types of the parts of a message's content that are text."""
LONG = 6
"""Characters from which a value is masked inside of longer words too, where it is known from another place."""
OBJECT_OR_LIST = re.compile(r"\s*[{\[]")


class Unmaskable(Exception):
    """A part of the conversation cannot be masked."""


@dataclass(frozen=True, slots=True)
class Masked:
    """What leaves in place of a conversation, the value of each placeholder, and the number of values by label."""

    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]
    parameters: Mapping[str, Any]
    values: Mapping[str, str]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Attachment:
    """A part of a message that is not text, and stays as it is."""

    part: Any


def mask(conversation: Conversation, find: Find, key: bytes, *, attachments: bool) -> Masked | None:
    """The conversation with placeholders, None where nothing personal was found.

    Raises Unmaskable for a function whose name holds personal data, and, without `attachments`, for a part of a message
    that is not text.
    """
    messages = [_sealed(message, attachments) for message in conversation.messages]
    content = [messages, list(conversation.tools), dict(conversation.parameters)]
    spans = {string: list(merged(find(string))) for string in dict.fromkeys(strings(content))}
    kinds = {string[span.start : span.end]: span.kind for string, found in spans.items() for span in found}
    if not kinds:
        return None
    functions = frozenset(_function_names(content))
    if any(spans.get(name) for name in functions):
        raise Unmaskable("the name of a function holds personal data, and cannot be masked: rename it")
    placeholders = Placeholders(key, spans)
    again = _anywhere(kinds)

    def masked(string: str) -> str:
        if string in functions:
            return string
        repeated = [Span(found.start(), found.end(), kinds[found[0]]) for found in again.finditer(string)]
        return _replaced(string, merged([*spans.get(string, ()), *repeated]), placeholders)

    messages, tools, parameters = (_rebuilt(part, masked) for part in content)
    counts = Counter(placeholder.partition("-")[0] for placeholder in placeholders.values)
    return Masked(tuple(messages), tuple(tools), parameters, placeholders.values, counts)


def strings(value: Any, *, inside: bool = False) -> Iterator[str]:
    """Every string of a JSON value that may be masked, and every string and number `inside` of its strings of JSON.

    Other numbers are parameters and limits of schemas.
    """
    if isinstance(value, str):
        parsed = _json(value)
        if parsed is None:
            yield value
        else:
            yield from strings(parsed, inside=True)
    elif inside and _is_number(value):
        yield str(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            if key not in STRUCTURE:
                yield from strings(inner, inside=inside)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from strings(inner, inside=inside)


def _rebuilt(value: Any, masked: Callable[[str], str], *, inside: bool = False) -> Any:
    """The value with masked strings. A number `inside` of a string of JSON that is masked becomes a string."""
    if isinstance(value, str):
        parsed = _json(value)
        if parsed is None:
            return masked(value)
        rebuilt = _rebuilt(parsed, masked, inside=True)
        return value if rebuilt == parsed else json.dumps(rebuilt, ensure_ascii=False)
    if inside and _is_number(value):
        number = masked(str(value))
        return value if number == str(value) else number
    if isinstance(value, Mapping):
        return {
            masked(str(key)): inner if key in STRUCTURE else _rebuilt(inner, masked, inside=inside)
            for key, inner in value.items()
        }
    if isinstance(value, Sequence):
        return [_rebuilt(inner, masked, inside=inside) for inner in value]
    return value.part if isinstance(value, _Attachment) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _json(value: str) -> Any:
    """The object or list that a string holds in JSON, such as the arguments of a tool call. None for another string."""
    if not OBJECT_OR_LIST.match(value):
        return None
    try:
        return json.loads(value)
    except ValueError:
        return None


def _sealed(message: Mapping[str, Any], attachments: bool) -> Mapping[str, Any]:
    """The message, its parts that are not text kept from masking. Raises Unmaskable without `attachments`."""
    content = message.get("content")
    if not isinstance(content, list | tuple):
        return message
    parts = [part if _is_text(part) else _Attachment(part) for part in content]
    if not attachments and any(isinstance(part, _Attachment) for part in parts):
        raise Unmaskable("a part of a message is not text, and cannot be masked: config.attachments is Refuse")
    return {**message, "content": parts}


def _is_text(part: Any) -> bool:
    return isinstance(part, str) or (isinstance(part, Mapping) and part.get("type", "text") in TEXT_PARTS)


def _anywhere(kinds: Mapping[str, Kind]) -> re.Pattern[str]:
    """A pattern of all values, the longest first. Names and short values are found as whole words alone."""
    longest_first = sorted(kinds, key=len, reverse=True)
    return re.compile(
        "|".join(
            re.escape(value)
            if len(value) >= LONG and kinds[value] is not Kind.NAME
            else rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])"
            for value in longest_first
        )
    )


def _replaced(string: str, spans: Iterable[Span], placeholders: Placeholders) -> str:
    parts, place = [], 0
    for span in spans:
        parts += [string[place : span.start], placeholders.of(string[span.start : span.end], span.kind)]
        place = span.end
    return "".join([*parts, string[place:]])


def _function_names(value: Any) -> Iterator[str]:
    """The names of functions, which the model server and the client know."""
    if isinstance(value, Mapping):
        function = value.get("function")
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            yield function["name"]
        for inner in value.values():
            yield from _function_names(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _function_names(inner)
