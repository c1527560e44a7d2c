"""The adaptation: hold some sentences, let a small model correct them, release what it returns."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from pilotfish.api.common import Model
from pilotfish.api.modelpool import Task, Tier
from pilotfish.plugin_api.adaptations import AnswerStream, Channel, Conversation, Mode, Release, Role
from pilotfish.plugin_api.messages import estimate_tokens, last_user_text
from pilotfish.plugin_api.models import Models, completions
from pilotfish.plugin_api.sentences import LONGEST_SENTENCE, LOOKAHEAD, Sentence, SentenceSplitter
from pilotfish.plugin_api.settings import Settings, read_config

CORRECTOR = "corrector"
SPARE_TOKENS = 16
SPARE_CHARACTERS = 64
"""What a correction may have beyond `longestPermille` of the original, so that a short one can be corrected."""

FENCES = ("```", "~~~")


class Config(Model):
    """The settings of `rewrite`."""

    instruction: Annotated[str, Field(min_length=1, max_length=8000)] = (
        "You correct answers of another model. Correct errors of fact, spelling and grammar in the passage. Keep its "
        "meaning, language, style and layout. If it needs no correction, repeat it unchanged. Write the corrected "
        "passage and nothing else."
    )
    """The system message for the corrector."""
    sentences: Annotated[int, Field(strict=True, ge=1, le=50)] = 3
    """The number of sentences of a window. A code block ends a window."""
    longest_permille: Annotated[int, Field(strict=True, ge=1000, le=10_000)] = 1500
    """The largest size of a correction, in thousandths of its original. A longer one is not used."""
    longest_question: Annotated[int, Field(strict=True, ge=0, le=100_000)] = 4000
    """The most characters of the question that the corrector reads: the last ones."""
    longest_before: Annotated[int, Field(strict=True, ge=0, le=100_000)] = 1000
    """The most characters of the answer that was already released that the corrector reads: the last ones."""


class Rewrite:
    """Corrects the answer by a small model. Code blocks and the arguments of tools are never changed."""

    config_model: ClassVar = Config
    mode: ClassVar = Mode.REWRITE
    roles: ClassVar = (Role(CORRECTOR, Task.GENERATE, Tier.SMALL),)

    def __init__(self, config: Config) -> None:
        self._config = config
        self.hold_tokens = config.sentences * LONGEST_SENTENCE + LOOKAHEAD

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of the invalid field."""
        return cls(read_config(Config, settings))

    def on_answer(
        self, *, conversation: Conversation, state: Any, models: Models, channel: Channel
    ) -> AnswerStream | None:
        """A stream for the text of an answer, None for the arguments of tools."""
        if channel.tool_call is not None:
            return None
        question = (last_user_text(conversation.messages) or "")[-self._config.longest_question :]
        note_key = "windows" if conversation.choices == 1 else f"windows of choice {channel.choice}"
        return _CorrectedAnswer(self._config, question, models, note_key)


class _CorrectedAnswer:
    """The text of one choice. `_window` are complete sentences that wait for others."""

    def __init__(self, config: Config, question: str, models: Models, note_key: str) -> None:
        self._note_key = note_key
        self._config = config
        self._question = question
        self._models = models
        self._splitter = SentenceSplitter()
        self._window: list[str] = []
        self._before = ""
        self._windows: Counter[str] = Counter()

    async def push(self, text: str) -> Release:
        """Correct the windows that are now complete. Raises RequestError if the pool does not answer."""
        released = await self._corrected(self._splitter.push(text))
        return Release(released, held=sum(map(len, self._window)) + len(self._splitter.held))

    async def end(self, finish_reason: str | None) -> Release:
        """Correct the rest."""
        released = await self._corrected(self._splitter.end()) + await self._close()
        return Release(released, {self._note_key: dict(self._windows)}, held=0)

    async def _corrected(self, sentences: Sequence[Sentence]) -> str:
        parts = []
        for sentence in sentences:
            if sentence.code:
                parts += [await self._close(), self._released(sentence.text)]
                continue
            self._window.append(sentence.text)
            if len(self._window) == self._config.sentences:
                parts.append(await self._close())
        return "".join(parts)

    async def _close(self) -> str:
        """The window, corrected, or unchanged where the correction cannot be used."""
        original, self._window = "".join(self._window), []
        if not original.strip():
            return self._released(original)
        response = await self._ask(original)
        correction = completions(response)[0].strip()
        outcome = "too long" if _was_cut_off(response) else self._outcome(original.strip(), correction)
        self._windows[outcome] += 1
        return self._released(_in_place_of(original, correction) if outcome == "corrected" else original)

    def _outcome(self, original: str, correction: str) -> str:
        """What is counted in the notes. Only with "corrected" the correction is used."""
        if len(correction) > self._most(len(original)) + SPARE_CHARACTERS:
            return "too long"
        if any(fence in correction and fence not in original for fence in FENCES):
            return "with code"
        if not correction:
            return "empty"
        return "unchanged" if correction == original else "corrected"

    async def _ask(self, original: str) -> Mapping[str, Any]:
        parts = {"Question": self._question, "Answer so far": self._before.strip(), "Passage": original.strip()}
        messages = [
            {"role": "system", "content": self._config.instruction},
            {"role": "user", "content": "\n\n".join(f"{name}:\n{part}" for name, part in parts.items() if part)},
        ]
        most = self._most(estimate_tokens(original)) + SPARE_TOKENS
        return await self._models.complete(CORRECTOR, messages, max_tokens=most, temperature=0)

    def _most(self, size: int) -> int:
        return size * self._config.longest_permille // 1000

    def _released(self, text: str) -> str:
        """The text; the corrector reads its end with the next window."""
        longest = self._config.longest_before
        self._before = (self._before + text)[-longest:] if longest else ""
        return text


def _was_cut_off(response: Mapping[str, Any]) -> bool:
    return bool(response["choices"][0].get("finish_reason") == "length")


def _in_place_of(original: str, correction: str) -> str:
    """The correction with the white space around the original."""
    start, end = len(original) - len(original.lstrip()), len(original.rstrip())
    return original[:start] + correction + original[end:]
