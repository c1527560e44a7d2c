"""What is searched for: the user's last turn, with earlier ones where it says too little alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from pilotfish.plugin_api.scorers import message_text
from pilotfish_retrieval.config import Config
from pilotfish_retrieval.terms import Terms

LONGEST = 2000
"""Characters of a question that are searched: half from its start, half from its end."""
EARLIER_TURNS = 3


def last_user_turn(messages: Sequence[Mapping[str, Any]]) -> int | None:
    """The place of the user's last message. Results of tools may follow it. None if there is none, or it has no
    text.
    """
    places = [place for place, message in enumerate(messages) if message.get("role") == "user"]
    return places[-1] if places and message_text(messages[places[-1]]).strip() else None


def question_of(messages: Sequence[Mapping[str, Any]], config: Config) -> str:
    """The user's last turn. If it has fewer words than `shortQuestionWords`, up to three earlier ones precede it."""
    turns = [message_text(message).strip() for message in messages if message.get("role") == "user"]
    question = _shortened(turns.pop())
    terms = Terms(config.language)
    for earlier in reversed(turns[-EARLIER_TURNS:]):
        if len(terms.of(question)) >= config.short_question_words:
            break
        question = f"{_shortened(earlier)}\n{question}"
    return question


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}\n{text[-LONGEST // 2 :]}"
