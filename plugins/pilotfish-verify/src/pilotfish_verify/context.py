"""The context of a question: what stands in front of it in the last user message, and results of tools."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pilotfish.plugin_api.scorers import message_text
from pilotfish_verify.overlap import Passage

LEAST_PASSAGE = 300
"""Characters. Shorter paragraphs, such as headings, are one passage with the next."""

_EMPTY_LINE = re.compile(r"\n[^\S\n]*\n\s*")


def context_of(messages: Sequence[Mapping[str, Any]], marker: str) -> str | None:
    """The context in the last user message, and the results of tools after it. None if there is neither."""
    users = [place for place, message in enumerate(messages) if message.get("role") == "user"]
    if not users:
        return None
    tools = [message_text(message) for message in messages[users[-1] :] if message.get("role") == "tool"]
    parts = [_before_question(message_text(messages[users[-1]]).strip(), marker), *tools]
    return "\n\n".join(part for part in parts if part.strip()) or None


def _before_question(text: str, marker: str) -> str:
    """What stands in front of the question in a user message."""
    if marker:
        ends = list(re.finditer(rf"^{re.escape(marker)}[^\S\n]*$", text, re.MULTILINE))
    else:
        ends = list(_EMPTY_LINE.finditer(text))
    return text[: ends[-1].start()] if ends else ""


def passages_of(context: str) -> list[Passage]:
    """The passages of a context: its paragraphs, short ones joined with the next."""
    passages: list[Passage] = []
    joined = ""
    for paragraph in _EMPTY_LINE.split(context):
        joined = f"{joined}\n{paragraph}" if joined else paragraph
        if len(joined) >= LEAST_PASSAGE:
            passages.append(Passage.of(joined))
            joined = ""
    return [*passages, Passage.of(joined)] if joined.strip() else passages
