"""The scorer: a prompt's vector, compared with those of recorded prompts."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from pilotfish.api.common import Label, Model
from pilotfish.base.arrays import Floats
from pilotfish.base.errors import BadUpstream, ConfigError
from pilotfish.plugin_api.artifacts import read_artifact
from pilotfish.plugin_api.learning import Examples, Learned
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.scorers import Question, Score, permille, question_text
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish_embedding.model import KIND, EmbeddingModel, unit_rows

SHOWN_NEIGHBOURS = 5


class Config(Model):
    """The `role` of the Embed pool in the manifest's poolRefs."""

    role: Label = "embedder"


class EmbeddingScorer:
    """Scores a prompt by its vector. Needs an artifact and an Embed pool."""

    def __init__(self, config: Config, model: EmbeddingModel) -> None:
        self._config = config
        self._model = model

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError where the config does not fit, or the artifact is absent or not one of this scorer's."""
        return cls(read_config(Config, settings), EmbeddingModel.from_arrays(read_artifact(settings, KIND)))

    @classmethod
    def learn(cls, *, settings: Settings, examples: Examples) -> Learned:
        """Learn from the recorded vectors. Raises ConfigError for requests without vectors, with vectors of
        different lengths, or with outcomes that are too few or all equal.
        """
        from pilotfish_embedding.training import train  # noqa: PLC0415 - a gateway does not need scikit-learn

        return Learned(train(vectors_of(examples), examples.outcomes, examples.ids).to_bytes())

    async def predict(self, *, question: Question, models: Models) -> Score:
        """The score of what the users said, and the neighbours that speak for it. Raises BadUpstream for a foreign
        vector.
        """
        vectors = await models.embed(self._config.role, [question_text(question)])
        width = self._model.vectors.shape[1]
        if len(vectors) != 1 or len(vectors[0]) != width:
            raise BadUpstream(
                f"the pool of role {self._config.role!r} gives other vectors than the artifact's {width} numbers each"
            )
        vector = unit_rows(np.asarray(vectors, np.float64))[0]
        probability = self._model.probability(vector)
        return Score(
            permille(probability), {"probability": round(probability, 4), "neighbours": self._neighbours(vector)}
        )

    def _neighbours(self, vector: Floats) -> list[dict[str, Any]]:
        places, cosines = self._model.nearest(vector)
        return [
            {
                "request": self._model.ids[place],
                "cosine": round(float(cosine), 4),
                "outcome": round(float(self._model.outcomes[place]), 4),
            }
            for place, cosine in zip(places[:SHOWN_NEIGHBOURS], cosines, strict=False)
        ]


def vectors_of(examples: Examples) -> Floats:
    """The vectors [n, d]. Raises ConfigError for a request without one, or with one of another length."""
    vectors: list[Sequence[float]] = []
    for request, vector in zip(examples.ids, examples.vectors, strict=True):
        if not vector:
            text = f"request {request!r} has no vector: record it with `pilotfish record --vectors-from POOL`"
            raise ConfigError("log", text)
        if vectors and len(vector) != len(vectors[0]):
            found = f"a vector of {len(vector)} numbers, and {examples.ids[0]!r} one of {len(vectors[0])}"
            raise ConfigError("log", f"request {request!r} has {found}: record both with the same pool")
        vectors.append(vector)
    return np.array(vectors, np.float64)
