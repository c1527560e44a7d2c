"""`linear`: predicts from the prompt alone how well the candidate pool will do, in microseconds.

A linear model over hashed word and byte n-grams, weighed by inverse document frequency, and lexical counts; its sum
goes through Platt's sigmoid ("Probabilistic Outputs for Support Vector Machines", 1999), so that the score reads as
the permille of such prompts on which the candidate did as well as the reference. Learned by `pilotfish calibrate`;
nothing is fetched.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pilotfish.api.common import Model
from pilotfish.base.arrays import Floats
from pilotfish.plugin_api.artifacts import read_artifact, require, write_artifact
from pilotfish.plugin_api.learning import Examples, Learned
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.scorers import Question, Score, permille, question_text, sigmoid
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.plugins.builtin.scorers.features import BUCKETS, LEXICAL, Block, Features, features, names

KIND = "linear"
LARGEST_DEVIATION = 3.0
"""A lexical count further from its mean than this many standard deviations counts as this far."""
SHOWN_CONTRIBUTIONS = 8


class Config(Model):
    """`linear` has no settings: all that it learned is in its artifact."""


@dataclass(frozen=True, slots=True)
class LinearModel:
    """What was learned. The score is sigmoid(slope · (bias + contributions) + intercept).

    `idf` and `weights` have one value for each bucket, the `lexical_*` arrays one for each count of LEXICAL.
    """

    idf: Floats
    weights: Floats
    lexical_mean: Floats
    lexical_scale: Floats
    lexical_weights: Floats
    bias: float
    slope: float
    intercept: float

    def to_bytes(self) -> bytes:
        """The artifact: half precision where there are many numbers, so that it fits in a ConfigMap."""
        return write_artifact(
            KIND,
            {
                "idf": self.idf.astype(np.float16),
                "weights": self.weights.astype(np.float16),
                "lexical": np.stack([self.lexical_mean, self.lexical_scale, self.lexical_weights]),
                "head": np.array([self.bias, self.slope, self.intercept]),
            },
        )

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """Raises ConfigError for an array that lacks or has another shape."""
        require(arrays, {"idf": (BUCKETS,), "weights": (BUCKETS,), "lexical": (3, len(LEXICAL)), "head": (3,)})
        mean, scale, weights = arrays["lexical"].astype(np.float64)
        bias, slope, intercept = arrays["head"].astype(np.float64).tolist()
        return cls(
            arrays["idf"].astype(np.float64),
            arrays["weights"].astype(np.float64),
            mean,
            np.where(scale > 0, scale, 1.0),
            weights,
            bias,
            slope,
            intercept,
        )

    def contributions(self, found: Features) -> tuple[Floats, Floats, Floats]:
        """What each word n-gram, byte n-gram and lexical count adds to the sum."""
        return (
            self._block(found.words),
            self._block(found.bytes),
            standardised(found.lexical, self.lexical_mean, self.lexical_scale) * self.lexical_weights,
        )

    def _block(self, block: Block) -> Floats:
        return weighed(block, self.idf) * self.weights[block.buckets]

    def margin(self, found: Features) -> float:
        """The sum before the sigmoid."""
        return self.bias + sum(float(part.sum()) for part in self.contributions(found))

    def probability(self, margin: float) -> float:
        """The sum as a probability."""
        return sigmoid(self.slope * margin + self.intercept)


def weighed(block: Block, idf: Floats) -> Floats:
    """Values of a block's n-grams: (1 + log count) · idf, of Euclidean length 1."""
    values = (1.0 + np.log(block.counts)) * idf[block.buckets]
    length = float(np.sqrt(values @ values))
    return values / length if length > 0 else values


def standardised(lexical: Floats, mean: Floats, scale: Floats) -> Floats:
    """Lexical counts as deviations from their mean, in standard deviations, at most LARGEST_DEVIATION."""
    return np.clip((lexical - mean) / scale, -LARGEST_DEVIATION, LARGEST_DEVIATION)


class LinearScorer:
    """Scores a prompt by its n-grams and counts. Needs an artifact and has no config."""

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
