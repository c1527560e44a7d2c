"""The adaptation: hold a sentence, judge it, release it or not."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pilotfish.api.modelpool import Task, Tier
from pilotfish.plugin_api.adaptations import (
    AnswerStream,
    Channel,
    Conversation,
    Escalate,
    Mode,
    Refused,
    Release,
    Role,
)
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.sentences import LONGEST_SENTENCE, LOOKAHEAD, Sentence, SentenceSplitter
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish_verify.config import Action, Config, Otherwise
from pilotfish_verify.context import context_of, passages_of
from pilotfish_verify.judging import JUDGE, SCORER, Judge, Judgement

AT_ONCE = 8
"""The most sentences of one answer that are judged at the same time."""

LONGEST_NOTE = 200
"""Characters of a sentence in the notes."""

MOST_NOTES = 50
"""Sentences in the notes on all choices."""


class Verify:
    """Checks each sentence of an answer against the context of the question."""

    config_model: ClassVar = Config
    roles: ClassVar = (
        Role(JUDGE, Task.GENERATE, Tier.SMALL, optional=True),
        Role(SCORER, Task.SCORE, optional=True),
    )

    def __init__(self, config: Config) -> None:
        self._config = config
        self.mode = Mode.OBSERVE if config.action is Action.OBSERVE else Mode.GATE
        self.hold_tokens = None if config.holds_answer else LONGEST_SENTENCE + LOOKAHEAD

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of the invalid field."""
        return cls(read_config(Config, settings))

    def on_answer(
        self, *, conversation: Conversation, state: Any, models: Models, channel: Channel
    ) -> AnswerStream | None:
        """A stream for text. None for the arguments of tools, and where there is neither a context nor one required."""
        context = context_of(conversation.messages, self._config.question_marker)
        if channel.tool_call is not None or (context is None and not self._config.require_context):
            return None
        return _CheckedAnswer(self._config, context or "", models, channel, conversation.choices)


class _CheckedAnswer:
    """The text of one choice. `_held` is judged and not yet released, and was `_pushed_held` characters when pushed."""

    def __init__(self, config: Config, context: str, models: Models, channel: Channel, choices: int) -> None:
        self._config = config
        self._context = context
        self._models = models
        self._note_key = f"choice {channel.choice}" if choices > 1 else None
        self._most_notes = MOST_NOTES // choices
        self._splitter = SentenceSplitter()
        self._judge: Judge | None = None
        self._may_escalate = config.action is Action.ESCALATE and choices == 1
        self._held = ""
        self._pushed_held = 0
        self._checked = 0
        self._noted: list[dict[str, Any]] = []

    async def push(self, text: str) -> Release | Escalate | Refused:
        """Judge the sentences that are now complete."""
        return await self._handle(self._splitter.push(text), final=False)

    async def end(self, finish_reason: str | None) -> Release | Escalate | Refused:
        """Judge the last sentence."""
        return await self._handle(self._splitter.end(), final=True)

    async def _handle(self, sentences: Sequence[Sentence], *, final: bool) -> Release | Escalate | Refused:
        unsupported = [False] * len(sentences)
        for place, judgement in enumerate(await self._judgements(sentences)):
            if judgement is not None:
                unsupported[place] = 1000 * judgement.probability < self._config.threshold_permille
                self._note(sentences[place].text, judgement, unsupported=unsupported[place])
        if self._config.action is Action.OBSERVE:
            return Release("", self._notes() if final else {})
        result = self._otherwise(sentences, unsupported, final=final)
        if any(unsupported) and self._may_escalate:
            self._may_escalate = False
            return Escalate(self._config.message, result, self._notes())
        if isinstance(result, Release) and result.text:
            self._may_escalate = False
        return result

    def _otherwise(
        self, sentences: Sequence[Sentence], unsupported: Sequence[bool], *, final: bool
    ) -> Release | Refused:
        """What happens to these sentences without Escalate."""
        action = self._config.action
        refuses = self._config.otherwise is Otherwise.REFUSE if action is Action.ESCALATE else action is Action.REFUSE
        if any(unsupported) and refuses:
            return Refused(self._config.message, self._notes())
        for sentence, is_unsupported in zip(sentences, unsupported, strict=True):
            self._held += self._flagged(sentence.text) if is_unsupported else sentence.text
            self._pushed_held += len(sentence.text)
        if self._config.holds_answer and not final:
            return Release("", held=self._pushed_held + len(self._splitter.held))
        text, self._held, self._pushed_held = self._held, "", 0
        return Release(text, self._notes() if final else {}, held=len(self._splitter.held))

    def _flagged(self, sentence: str) -> str:
        """The sentence with the flag in front of the white space that ends it."""
        end = len(sentence.rstrip())
        return sentence[:end] + self._config.flag + sentence[end:]

    async def _judgements(self, sentences: Sequence[Sentence]) -> list[Judgement | None]:
        if not sentences:
            return []
        if self._judge is None:
            passages = await self._models.compute(passages_of, self._context)
            self._judge = Judge(self._config, passages, self._models)
        judge, limit = self._judge, asyncio.Semaphore(AT_ONCE)

        async def judged(sentence: Sentence) -> Judgement | None:
            async with limit:
                return None if sentence.code else await judge.judge(sentence.text)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(judged(each)) for each in sentences]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return [task.result() for task in tasks]

    def _note(self, sentence: str, judgement: Judgement, *, unsupported: bool) -> None:
        self._checked += 1
        if len(self._noted) < self._most_notes and (unsupported or self._config.note_all):
            self._noted.append(
                {
                    "sentence": sentence.strip()[:LONGEST_NOTE],
                    "supported": not unsupported,
                    "probability": round(judgement.probability, 4),
                    "signals": {name: round(value, 4) for name, value in judgement.signals.items()},
                }
            )

    def _notes(self) -> Mapping[str, Any]:
        notes = {"checked": self._checked, "sentences": list(self._noted)}
        return {self._note_key: notes} if self._note_key else notes
