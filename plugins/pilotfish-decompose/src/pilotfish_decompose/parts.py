"""Reads the parts of a question from what a small model wrote: a JSON array, or a list with one part in each line."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

LONGEST_PART = 1000
"""Characters. A longer line is no part of a question."""
LONGEST_LIST = 50_000
"""Characters that are read, in case a pool does not keep to `max_tokens`."""
_MARK = re.compile(
    r"^\s*(?:[-*\u2022]|\(?(?:\d{1,2}|[a-zA-Z])[.):]|(?:part|step|question|q)\s*\d{1,2}\s*[.:)-])\s+", re.IGNORECASE
)
_FENCE = re.compile(r"^\s*```\w*\s*$", re.MULTILINE)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def parts_of(text: str, question: str) -> list[str]:
    """The parts in order, without repetitions and without `question` itself."""
    plain = _FENCE.sub("", text[:LONGEST_LIST]).strip()
    found = _json(plain) if plain[:1] in {"[", "{"} else _lines(plain)
    parts = dict.fromkeys(" ".join(part.split()) for part in found)
    asked = " ".join(question.split()).casefold()
    return [part for part in parts if 0 < len(part) <= LONGEST_PART and part.casefold() != asked]


def _json(text: str) -> list[str]:
    """The strings of a JSON value. Of an array that was cut off, those that are complete."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except (json.JSONDecodeError, RecursionError):
        return [string for found in _STRING.findall(text) if (string := _string(found))] if text[0] == "[" else []
    return list(_strings(value))


def _string(quoted: str) -> str:
    try:
        return str(json.loads(quoted))
    except json.JSONDecodeError:
        return ""


def _strings(value: object, depth: int = 4) -> Iterator[str]:
    """Strings in arrays and in the values of objects: `["..."]`, `{"parts": [{"question": "..."}]}`."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, Mapping | Sequence):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(inner, depth - 1)


def _lines(text: str) -> list[str]:
    """The lines, without numbers and bullets. If any line has one, those without are no parts."""
    lines = [line for line in text.splitlines() if line.strip()]
    marked = [_MARK.sub("", line) for line in lines if _MARK.match(line)]
    return marked or lines
