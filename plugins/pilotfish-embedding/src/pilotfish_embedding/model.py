"""What `embedding` learned: vectors of recorded prompts with their outcomes, and two heads."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pilotfish.base.arrays import Floats
from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.artifacts import require, write_artifact
from pilotfish.plugin_api.scorers import sigmoid

KIND = "embedding"
SHOWN_NEIGHBOURS = 5
LONGEST_ID = 64
"""Characters kept of a request's id."""


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """What was learned. `vectors` [n, d] are of length 1, `outcomes` [n] from 0 to 1; `direction` [d] is the linear
    head.

    The probability is sigmoid(head · (share of good neighbours, linear head, 1)). `sharpness` weighs neighbours by
    exp(sharpness · cosine).
    """

    vectors: Floats
    outcomes: Floats
    direction: Floats
    head: tuple[float, float, float]
    neighbours: int
    sharpness: float
    ids: tuple[str, ...]
    """The recorded requests behind the rows, by their ids in the log."""

    def to_bytes(self) -> bytes:
        """The artifact, vectors at half precision."""
        return write_artifact(
            KIND,
            {
                "vectors": self.vectors.astype(np.float16),
                "outcomes": self.outcomes.astype(np.float16),
                "direction": self.direction.astype(np.float32),
                "head": np.array(self.head),
                "neighbours": np.array(self.neighbours),
                "sharpness": np.array(self.sharpness),
                "ids": np.array(self.ids, f"<U{LONGEST_ID}"),
            },
        )

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """Raises ConfigError for an array that lacks or has another shape."""
        require(arrays, {"vectors": (None, None), "head": (3,), "neighbours": (), "sharpness": ()})
        count, width = arrays["vectors"].shape
        require(arrays, {"outcomes": (count,), "direction": (width,), "ids": (count,)})
        neighbours = int(arrays["neighbours"])
        if not 1 <= neighbours <= count:
            raise ConfigError("artifact", f"needs {neighbours} neighbours and has {count} prompts: calibrate again")
        first, second, third = arrays["head"].astype(np.float64).tolist()
        return cls(
            unit_rows(arrays["vectors"].astype(np.float64)),
            arrays["outcomes"].astype(np.float64),
            arrays["direction"].astype(np.float64),
            (first, second, third),
            neighbours,
            float(arrays["sharpness"]),
            tuple(str(each) for each in arrays["ids"]),
        )

    def nearest(self, vector: Floats) -> tuple[NDArray[np.int64], Floats]:
        """Places of the nearest prompts, nearest first, and their cosines with `vector`, which has length 1."""
        cosines = self.vectors @ vector
        places = np.argpartition(-cosines, self.neighbours - 1)[: self.neighbours]
        places = places[np.argsort(-cosines[places], kind="stable")]
        return places, cosines[places]

    def signals(self, vector: Floats) -> tuple[float, float]:
        """The neighbours' weighted share of good outcomes, and the linear head's value."""
        places, cosines = self.nearest(vector)
        weights = np.exp(self.sharpness * (cosines - cosines[0]))
        return float(weights @ self.outcomes[places] / weights.sum()), float(self.direction @ vector)

    def probability(self, vector: Floats) -> float:
        """How likely the candidate does as well as the reference."""
        share, linear = self.signals(vector)
        return sigmoid(self.head[0] * share + self.head[1] * linear + self.head[2])


def unit_rows(vectors: Floats) -> Floats:
    """The rows at Euclidean length 1; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), np.float64)
