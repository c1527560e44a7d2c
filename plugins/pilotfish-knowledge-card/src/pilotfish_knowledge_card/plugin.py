"""The adaptation: ask the experts, keep what is relevant, put it in front of the question."""

import asyncio
from collections.abc import Sequence
from math import hypot
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from pilotfish.api.common import Model, Permille
from pilotfish.api.modelpool import Task, Tier
from pilotfish.plugin_api.adaptations import Conversation, Rewritten, Role
from pilotfish.plugin_api.messages import estimate_tokens, last_user_text, with_context
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish_knowledge_card.cards import Card, brief, card_text, overlap

EXPERTS = ("expert", "expert-2", "expert-3", "expert-4")
LEAST_TOKENS = 16
"""Room for less is not worth a call."""


class Config(Model):
    """The settings of `knowledge-card`."""

    max_tokens: Annotated[int, Field(strict=True, ge=LEAST_TOKENS, le=2000)] = 200
    """The most tokens that an expert writes, and that all cards together add to the prompt."""
    min_relevance_permille: Permille = 150
    """The relevance below which a card is left out: the score of the Score pool, else the cosine of vectors of the
    Embed pool, else that of the sets of words.
    """
    instruction: Annotated[str, Field(min_length=1, max_length=4000)] = (
        "Write what you know that helps to answer the question: facts and definitions, in a few short sentences. "
        "Do not repeat the question. If you know nothing about it, write nothing."
    )
    """The system message for the experts."""
    heading: Annotated[str, Field(min_length=1, max_length=1000)] = "Background, which may contain errors:"
    """The line in front of the cards."""


class KnowledgeCard:
    """Puts what experts know about the question into the last user turn."""

    config_model: ClassVar = Config
    roles: ClassVar = (
        Role(EXPERTS[0], Task.GENERATE, Tier.SMALL),
        *(Role(name, Task.GENERATE, Tier.SMALL, optional=True) for name in EXPERTS[1:]),
        Role("reranker", Task.SCORE, optional=True),
        Role("embedder", Task.EMBED, optional=True),
    )

    def __init__(self, config: Config) -> None:
        self._config = config

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of the invalid field."""
        return cls(read_config(Config, settings))

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten | None:
        """The conversation with the relevant cards in front of the question, None where there is none.

        Raises RequestError if the pool of a role does not answer.
        """
        question = last_user_text(conversation.messages)
        room = self._room(conversation)
        if question is None or room < LEAST_TOKENS:
            return None
        cards = await self._relevances(question, await self._written(question, models), models)
        relevant = [card for card in cards if 1000 * card.relevance >= self._config.min_relevance_permille]
        kept = brief(sorted(relevant, key=lambda card: -card.relevance), question, room)
        notes = {"cards": [_note(card, kept) for card in cards]}
        if not kept:
            return Rewritten(conversation.messages, notes=notes)
        context = "\n".join((self._config.heading, *(card.text for card in kept)))
        return Rewritten(with_context(conversation.messages, context), notes=notes)

    def _room(self, conversation: Conversation) -> int:
        """The most tokens of all cards together."""
        most = self._config.max_tokens
        if conversation.context_tokens is None:
            return most
        return min(most, conversation.context_tokens - estimate_tokens(self._config.heading + "\n\n\n"))

    async def _written(self, question: str, models: Models) -> dict[str, str]:
        """What each expert wrote, by its role. Where one fails, the others are cancelled."""
        messages = [
            {"role": "system", "content": self._config.instruction},
            {"role": "user", "content": question},
        ]
        parameters = {"max_tokens": self._config.max_tokens, "temperature": 0}
        try:
            async with asyncio.TaskGroup() as group:
                asked = {
                    role: group.create_task(models.complete(role, messages, **parameters))
                    for role in EXPERTS
                    if role == EXPERTS[0] or models.has(role)
                }
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        most = self._config.max_tokens
        return {role: text for role, task in asked.items() if (text := card_text(task.result(), most))}

    async def _relevances(self, question: str, written: dict[str, str], models: Models) -> list[Card]:
        """A card of each role, with its relevance."""
        strings = list(written.values())
        relevances: Sequence[float]
        if not strings:
            return []
        if models.has("reranker"):
            relevances = await models.score("reranker", question, strings)
        elif models.has("embedder"):
            first, *others = await models.embed("embedder", [question, *strings])
            relevances = [_cosine(first, other) for other in others]
        else:
            relevances = [overlap(question, text) for text in strings]
        pairs = zip(written.items(), relevances, strict=True)
        return [Card(role, text, relevance) for (role, text), relevance in pairs]


def _cosine(first: Sequence[float], second: Sequence[float]) -> float:
    """The cosine of two vectors, 0 where one has no length."""
    lengths = hypot(*first) * hypot(*second)
    return sum(one * other for one, other in zip(first, second, strict=True)) / lengths if lengths else 0.0


def _note(card: Card, kept: Sequence[Card]) -> dict[str, Any]:
    used = next((each for each in kept if each.role == card.role), None)
    text = used.text if used else ""
    return {"role": card.role, "relevance": round(card.relevance, 4), "card": text}
