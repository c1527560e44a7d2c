"""What `linear` learned: weights of hashed n-grams and lexical counts, and the score that they give a prompt."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pilotfish.base.arrays import Floats
from pilotfish.plugin_api.artifacts import require, write_artifact
from pilotfish.plugin_api.scorers import sigmoid
from pilotfish.plugins.builtin.scorers.features import BUCKETS, LEXICAL, Block, Features

KIND = "linear"
LARGEST_DEVIATION = 3.0
"""A lexical count further from its mean than this many standard deviations counts as this far."""


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
