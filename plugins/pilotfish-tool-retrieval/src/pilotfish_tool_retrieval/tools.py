"""What a tool says about itself, and which tools a conversation has called."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

DEEPEST = 6
"""Parameters that are nested deeper are not read."""
LONGEST = 2000


def name_of(tool: Mapping[str, Any]) -> str | None:
    """The function's name, None for a tool that is no function."""
    function = tool.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None


def described(tool: Mapping[str, Any]) -> str:
    """Name, description and parameters as one text of at most 2000 characters."""
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return ""
    parts = [function.get("name"), function.get("description"), *_parameters(function.get("parameters"), 0)]
    return "\n".join(part for part in parts if isinstance(part, str))[:LONGEST]


def _parameters(schema: object, depth: int) -> Iterator[object]:
    """The names and descriptions of parameters."""
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        return
    properties = schema.get("properties")
    for name, each in properties.items() if isinstance(properties, Mapping) else ():
        yield name
        if isinstance(each, Mapping):
            yield each.get("description")
        yield from _parameters(each, depth + 1)
    yield from _parameters(schema.get("items"), depth + 1)


def used_names(messages: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The names of the functions that the conversation has called."""
    calls = [call for message in messages for call in message.get("tool_calls") or () if isinstance(call, Mapping)]
    return frozenset(name for call in calls if (name := name_of(call)))
