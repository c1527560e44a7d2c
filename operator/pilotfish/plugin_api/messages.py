"""Chat messages, as adaptations that add context read and change them.

Context goes into the last message, if that is the user's. The messages before it stay as they are, so that a model
server finds their prefix in its cache.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pilotfish.plugin_api.scorers import message_text

BYTES_PER_TOKEN = 3
"""Fewer bytes than most tokens have, so that an estimate is rather too high than too low."""


def estimate_tokens(text: str | bytes) -> int:
    """The number of tokens of a text, estimated from its length in UTF-8 without a tokenizer."""
    encoded = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    return -(-len(encoded) // BYTES_PER_TOKEN)


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """The text of the last message, without surrounding space. None if that is not the user's, or has no text."""
    if not messages or messages[-1].get("role") != "user":
        return None
    return message_text(messages[-1]).strip() or None


def with_context(messages: Sequence[Mapping[str, Any]], context: str) -> tuple[Mapping[str, Any], ...]:
    """The messages with `context` and an empty line in front of the last message's content."""
    *history, last = messages
    content = last.get("content")
    if isinstance(content, str):
        return (*history, {**last, "content": f"{context}\n\n{content}"})
    return (*history, {**last, "content": [{"type": "text", "text": context}, *(content or ())]})
