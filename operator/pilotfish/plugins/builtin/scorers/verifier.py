"""`verifier`: a pool of task Score says how well the answer fits the question.

A learned verifier that ranks answers, after Cobbe et al., "Training Verifiers to Solve Math Word Problems", 2021; as
a cascade's judge it is the scoring function of Chen et al., "FrugalGPT", 2023.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field

from pilotfish.api.common import Label, Model
from pilotfish.base.errors import BadUpstream
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.scorers import Answer, Question, Score, permille, question_text, sigmoid
from pilotfish.plugin_api.settings import Settings, read_config


class Scale(StrEnum):
    """What the pool returns: a probability, or a logit that still goes through the sigmoid."""

    PROBABILITY = "probability"
    LOGIT = "logit"


class Config(Model):
    """The pool's `role`, and the scale of what it returns."""

    role: Label = "verifier"
    scale: Scale = Scale.PROBABILITY
    longest_answer_characters: Annotated[int, Field(ge=100, le=100_000)] = 8000


class VerifierScorer:
    """Scores an answer by a Score pool. Cannot bound its score from a prefix: such a stage is held."""

    config_model: ClassVar = Config

    top_logprobs: int | None = None

    def __init__(self, config: Config) -> None:
        self._config = config

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError for a config that does not fit."""
        return cls(read_config(Config, settings))

    async def judge(self, *, question: Question, answer: Answer, models: Models) -> Score:
        """The pool's relevance of the answer to what the users said. Raises BadUpstream if it returns no number."""
        text = answer.text[: self._config.longest_answer_characters]
        values = await models.score(self._config.role, question_text(question), [text])
        if len(values) != 1 or values[0] != values[0]:
            raise BadUpstream(f"the pool of role {self._config.role!r} returned no score for the answer")
        value = sigmoid(values[0]) if self._config.scale is Scale.LOGIT else values[0]
        return Score(permille(value), {"relevance": round(float(values[0]), 4)})
