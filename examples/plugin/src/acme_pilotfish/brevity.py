"""`brevity`: short prompts are easy."""

from typing import Annotated, ClassVar, Self

from pydantic import Field

from pilotfish.api.common import Model
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.scorers import Question, Score, question_text
from pilotfish.plugin_api.settings import Settings, read_config


class Config(Model):
    """The settings of `brevity`."""

    half_words: Annotated[int, Field(ge=1)] = 20
    """A prompt of this many words scores 500."""


class BrevityScorer:
    """Scores a prompt by its number of words."""

    config_model: ClassVar = Config

    def __init__(self, config: Config) -> None:
        self._half = config.half_words

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of the invalid field."""
        return cls(read_config(Config, settings))

    async def predict(self, *, question: Question, models: Models) -> Score:
        """1000 for an empty prompt, half of it for every `halfWords` words."""
        words = len(question_text(question).split())
        return Score(round(1000 * 0.5 ** (words / self._half)), {"words": words})
