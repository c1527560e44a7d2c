"""The context of a question: what retrieval and other adaptations put into the last user message in front of it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pilotfish.plugin_api.messages import last_user_text
from pilotfish_verify.overlap import Passage

LEAST_PASSAGE = 300
"""Characters. Shorter paragraphs, such as headings, are one passage with the next."""

_EMPTY_LINE = re.compile(r"\n[^\S\n]*\n\s*")


def context_of(messages: Sequence[Mapping[str, Any]], marker: str) -> str | None:
    """The context, None if there is none: no last user message, or nothing in front of its question."""
    text = last_user_text(messages)
    if text is None:
        return None
    ends = list(re.finditer(rf"^{re.escape(marker)}[^\S\n]*$", text, re.MULTILINE)) if marker else []
    if ends:
        return text[: ends[-1].start()].strip() or None
    paragraphs = list(_EMPTY_LINE.finditer(text))
    return text[: paragraphs[-1].start()].strip() or None if paragraphs else None


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
