"""The adaptation: split, answer the parts at the same time, put the answers in front of the question."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Self

from pydantic import Field

from pilotfish.api.common import Model
from pilotfish.api.modelpool import Task, Tier
from pilotfish.plugin_api.adaptations import Conversation, Rewritten, Role
from pilotfish.plugin_api.messages import BYTES_PER_TOKEN, estimate_tokens, last_user_text, with_context
from pilotfish.plugin_api.models import Models, completions
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.plugin_api.words import words
from pilotfish_decompose.parts import parts_of

SPLITTER, SOLVER = "splitter", "solver"
LEAST_TOKENS = 16
"""Tokens for each part and its answer. A window with less room is not worth the calls."""

Instruction = Annotated[str, Field(min_length=1, max_length=4000)]


class Config(Model):
    """The settings of `decompose`."""

    min_words: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 12
    """Questions of fewer words are not split, and the splitter is not asked."""
    max_parts: Annotated[int, Field(strict=True, ge=2, le=16)] = 4
    """The most parts that are answered. Further parts are left out."""
    max_split_tokens: Annotated[int, Field(strict=True, ge=LEAST_TOKENS, le=4000)] = 200
    """The most tokens that the splitter writes."""
    max_part_tokens: Annotated[int, Field(strict=True, ge=LEAST_TOKENS, le=4000)] = 160
    """The most tokens of the answer to one part."""
    part_seconds: Annotated[int, Field(strict=True, ge=1, le=600)] = 30
    """The time after which the answer to a part is not waited for. The part is left out."""
    splitter_instruction: Instruction = (
        "Split the user's question into the smaller questions that have to be answered first. Each must be answerable "
        "without the answers to the others. Write one in each line, numbered, and nothing else. Do not answer them. "
        "If the question needs a single step, write it unchanged."
    )
    """The system message for the splitter."""
    solver_instruction: Instruction = "Answer briefly. Give the result in the last sentence."
    """The system message for the solver."""
    heading: Annotated[str, Field(min_length=1, max_length=1000)] = (
        "Answers to parts of the question, which may contain errors:"
    )
    """The line in front of the answers."""


class Decompose:
    """Puts answers to the parts of a complex question into the last user turn."""

    config_model: ClassVar = Config
    roles: ClassVar = (
        Role(SPLITTER, Task.GENERATE, Tier.SMALL),
        Role(SOLVER, Task.GENERATE, Tier.SMALL),
    )

    def __init__(self, config: Config) -> None:
        self._config = config

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of the invalid field."""
        return cls(read_config(Config, settings))

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten | None:
        """The conversation with the parts and their answers in front of the question. None for a simple question.

        Raises RequestError if the pool of a role does not answer.
        """
        question = last_user_text(conversation.messages)
        room = self._room(conversation)
        if question is None or len(words(question)) < self._config.min_words or room < 2 * LEAST_TOKENS:
            return None
        parts = await self._split(question, models)
        parts = parts[: min(self._config.max_parts, room // LEAST_TOKENS)]
        if len(parts) < 2:
            return None
        answers = await self._answers(question, parts, models)
        notes = {"parts": [{"part": part, "answer": answers.get(part)} for part in parts]}
        if not answers:
            return Rewritten(conversation.messages, notes=notes)
        shown = "\n".join(_cut(f"- {part} {answer}", room // len(answers)) for part, answer in answers.items())
        return Rewritten(with_context(conversation.messages, f"{self._config.heading}\n{shown}"), notes=notes)

    def _room(self, conversation: Conversation) -> int:
        """The most tokens of all parts and answers together."""
        most = self._config.max_parts * (self._config.max_part_tokens + LEAST_TOKENS)
        if conversation.context_tokens is None:
            return most
        return min(most, conversation.context_tokens - estimate_tokens(self._config.heading) - 1)

    async def _split(self, question: str, models: Models) -> list[str]:
        messages = _messages(self._config.splitter_instruction, question)
        response = await models.complete(SPLITTER, messages, max_tokens=self._config.max_split_tokens, temperature=0)
        return parts_of(completions(response)[0], question)

    async def _answers(self, question: str, parts: Sequence[str], models: Models) -> dict[str, str]:
        """The answers that came in time, by part. If a call fails, the others are cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                asked = {part: group.create_task(self._answer(question, part, models)) for part in parts}
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return {part: answer for part, task in asked.items() if (answer := task.result())}

    async def _answer(self, question: str, part: str, models: Models) -> str:
        """The answer to one part, empty if it does not come in time."""
        # The question comes first: the model server computes this prefix once for all parts.
        messages = _messages(self._config.solver_instruction, f"{question}\n\nAnswer this part alone: {part}")
        try:
            async with asyncio.timeout(self._config.part_seconds):
                response = await models.complete(
                    SOLVER, messages, max_tokens=self._config.max_part_tokens, temperature=0
                )
        except TimeoutError:
            return ""
        return " ".join(completions(response)[0].split())


def _messages(instruction: str, content: str) -> list[Mapping[str, str]]:
    return [{"role": "system", "content": instruction}, {"role": "user", "content": content}]


def _cut(text: str, most_tokens: int) -> str:
    """The beginning of the text that `most_tokens` hold, with a mark where it was cut."""
    raw = text.encode()
    if len(raw) <= most_tokens * BYTES_PER_TOKEN:
        return text
    mark = " \u2026"
    return raw[: most_tokens * BYTES_PER_TOKEN - len(mark.encode())].decode(errors="ignore") + mark
