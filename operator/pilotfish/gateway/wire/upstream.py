"""What model servers send, checked once where it enters: chunks of a stream and whole answers.

Both are kept as JSON objects, because engines add fields of their own. What the gateway relies on is checked here:
`choices` is a list of objects whose `index` is a number. Anything else is a BadUpstream.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from pilotfish.base.errors import BadUpstream
from pilotfish.routing.cost import Usage
from pilotfish.upstream.sse import DONE

Chunk = dict[str, Any]
"""A chunk of a stream, or a whole answer."""


class Piece:
    """Part of an answer: the bytes that arrived, and the chunks in them where they were parsed.

    `whole`: the piece is a whole answer in one chunk. Its `raw` is empty where the client must not see it as it is.
    """

    __slots__ = ("chunks", "raw", "whole")

    def __init__(self, raw: bytes, chunks: list[Chunk] | None = None, *, whole: bool = False) -> None:
        self.raw = raw
        self.chunks = chunks
        self.whole = whole


_NOTABLE = re.compile(rb'"(?:usage|finish_reason|error)":\s*[{"]')
_QUOTED_BYTES = 200


def notable(events: bytes) -> bool:
    """Whether events of a stream may hold more than text, or do not look like JSON. Only these are parsed.

    Quotes inside JSON strings are escaped, so an answer that spells these words does not match. An answer that
    contains [DONE] is parsed without need.
    """
    if not events.endswith(b"}\n\n"):
        return bool(events)
    # [DONE] is searched for alone: the regular expression takes twice the time with it.
    return DONE in events or _NOTABLE.search(events) is not None


def parse_chunk(payload: bytes) -> Chunk:
    """A chunk of a stream. Raises BadUpstream for an invalid chunk, and for an error that a model server streams."""
    chunk = _parse(payload, "a chunk")
    if chunk.get("error"):
        error = chunk["error"].get("message") if isinstance(chunk["error"], dict) else chunk["error"]
        raise BadUpstream(f"the model server failed while it streamed its answer: {error}")
    _check_choices(chunk, "a chunk")
    return chunk


def parse_whole(raw: bytes) -> Chunk:
    """A whole answer. Raises BadUpstream for an invalid one."""
    answer = _parse(raw, "an answer")
    _check_choices(answer, "an answer")
    return answer


def parse_object(raw: bytes) -> dict[str, Any]:
    """An answer of another kind, such as embeddings. Raises BadUpstream for what is not a JSON object."""
    return _parse(raw, "an answer")


def choice_text(choice: Mapping[str, Any]) -> str:
    """The text of one choice, of a chunk or of a whole answer."""
    message = choice.get("delta") or choice.get("message")
    return str((message.get("content") if isinstance(message, dict) else choice.get("text")) or "")


def set_choice_text(choice: dict[str, Any], text: str) -> None:
    """Replace the text of a choice. Its log-probabilities and token ids are removed: they belong to the old text."""
    choice["logprobs"] = None
    choice.pop("token_ids", None)
    message = choice.get("delta") or choice.get("message")
    if isinstance(message, dict):
        message["content"] = text
    elif "delta" in choice:
        choice["delta"] = {"content": text}
    else:
        choice["text"] = text


def has_more_than_text(choice: Mapping[str, Any]) -> bool:
    """Whether a choice holds anything besides text: its role, tool calls, a finish reason, or fields of an engine."""
    message = choice.get("delta") or choice.get("message")
    parts = message if isinstance(message, dict) else {}
    return bool(choice.get("finish_reason")) or any(value for name, value in parts.items() if name != "content")


def first_text(answer: Mapping[str, Any]) -> str:
    """The text of a whole answer's first choice."""
    return choice_text(answer["choices"][0]) if answer["choices"] else ""


def read_usage(answer: Mapping[str, Any]) -> Usage | None:
    """The usage in a chunk or a whole answer, None where there is none."""
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return None
    return Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _parse(raw: bytes, what: str) -> dict[str, Any]:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadUpstream(f"the model server sent {what} that is not JSON: {raw[:_QUOTED_BYTES]!r}") from error
    if not isinstance(value, dict):
        raise BadUpstream(f"the model server sent {what} that is not a JSON object")
    return value


def _check_choices(value: Mapping[str, Any], what: str) -> None:
    choices = value.get("choices")
    if not isinstance(choices, list):
        raise BadUpstream(f"the model server sent {what} without a list of choices")
    for choice in choices:
        if not isinstance(choice, dict) or not isinstance(choice.get("index", 0), int):
            raise BadUpstream(f"the model server sent {what} with a choice that is not an object with an index")
