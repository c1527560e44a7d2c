"""`spelling`: replaces words of answers while they arrive."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from pilotfish.api.common import Model
from pilotfish.plugin_api.adaptations import Channel, Conversation, Mode, Release
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.settings import Settings, read_config

WORD = re.compile(r"\w+")
UNFINISHED_WORD = re.compile(r"\w*\Z")


class Config(Model):
    """The settings of `spelling`."""

    words: Annotated[dict[str, str], Field(min_length=1, max_length=1000)]
    """What replaces a word, by the word."""


class Spelling:
    """Replaces words of answers."""

    config_model: ClassVar = Config
    mode: ClassVar = Mode.REWRITE

    def __init__(self, config: Config) -> None:
        self._words = config.words

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of the invalid field."""
        return cls(read_config(Config, settings))

    def on_answer(
        self, *, conversation: Conversation, state: Any, models: Models, channel: Channel
    ) -> "SpellingStream | None":
        """A stream for the text of a choice, None for arguments of tool calls."""
        return SpellingStream(self._words) if channel.tool_call is None else None


class SpellingStream:
    """Holds back the last word, because the next text may continue it."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words = words
        self._held = ""

    async def push(self, text: str) -> Release:
        """Everything before the last word."""
        text = self._held + text
        self._held = UNFINISHED_WORD.findall(text)[0]
        return Release(self._replaced(text.removesuffix(self._held)))

    async def end(self, finish_reason: str | None) -> Release:
        """The last word."""
        return Release(self._replaced(self._held))

    def _replaced(self, text: str) -> str:
        return WORD.sub(lambda word: self._words.get(word[0], word[0]), text)
