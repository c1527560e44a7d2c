"""`linear`: predicts from the prompt alone how well the candidate pool will do, in microseconds.

A linear model over hashed word and byte n-grams, weighed by inverse document frequency, and lexical counts; its sum
goes through Platt's sigmoid ("Probabilistic Outputs for Support Vector Machines", 1999), so that the score reads as
the permille of such prompts on which the candidate did as well as the reference. Learned by `pilotfish calibrate`;
nothing is fetched.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pilotfish.api.common import Model
from pilotfish.plugin_api.artifacts import read_artifact
from pilotfish.plugin_api.learning import Examples, Learned
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.scorers import Question, Score, permille, question_text
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.plugins.builtin.scorers.features import LEXICAL, features, names
from pilotfish.plugins.builtin.scorers.linear_model import KIND, LinearModel

SHOWN_CONTRIBUTIONS = 8


class Config(Model):
    """`linear` has no settings: all that it learned is in its artifact."""


class LinearScorer:
    """Scores a prompt by its n-grams and counts. Needs an artifact and has no config."""

    config_model: ClassVar = Config

    def __init__(self, model: LinearModel) -> None:
        self._model = model

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError where the artifact is absent or not one of this scorer's."""
        read_config(Config, settings)
        return cls(LinearModel.from_arrays(read_artifact(settings, KIND)))

    @classmethod
    def learn(cls, *, settings: Settings, examples: Examples) -> Learned:
        """Learn from the text of all user messages. Raises ConfigError for outcomes that are too few or all equal."""
        from pilotfish.plugins.builtin.scorers.linear_training import train_linear  # noqa: PLC0415 - needs scikit-learn

        fit = train_linear([question_text(question) for question in examples.questions], examples.outcomes)
        warning = (
            f"scorer linear predicts prompts that it did not learn from no better than their mean (squared error"
            f" {fit.error:.4f} against {fit.mean_error:.4f}, {len(examples.ids)} requests): its scores are close to one"
            " another; record more requests, or judge answers with a cascade"
        )
        return Learned(fit.model.to_bytes(), () if fit.beats_mean else (warning,))

    def probability(self, text: str) -> float:
        """How likely the candidate does as well as the reference on this prompt."""
        return self._model.probability(self._model.margin(features(text)))

    async def predict(self, *, question: Question, models: Models) -> Score:
        """The score of the text of all user messages."""
        probability = self.probability(question_text(question))
        return Score(permille(probability), {"probability": round(probability, 4)})

    def explain(self, *, question: Question) -> Mapping[str, Any]:
        """`contributions`: n-grams and counts that moved the score most, largest first, in log-odds."""
        text = question_text(question)
        found = features(text)
        words, grams, lexical = self._model.contributions(found)
        named = names(text)
        rows = [(named[int(bucket)], value) for bucket, value in zip(found.words.buckets, words, strict=True)]
        rows += [(named[int(bucket)], value) for bucket, value in zip(found.bytes.buckets, grams, strict=True)]
        rows += list(zip(LEXICAL, lexical, strict=True))
        rows.sort(key=lambda row: -abs(row[1]))
        slope = self._model.slope
        shown = {name: round(float(value) * slope, 4) for name, value in rows[:SHOWN_CONTRIBUTIONS]}
        return {"contributions": shown}
