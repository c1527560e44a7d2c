"""A calibrated head: several signals, each from 0 to 1, become one probability by logistic regression."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.artifacts import require
from pilotfish.plugin_api.scorers import sigmoid

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class LogisticHead:
    """sigmoid(bias + weights · signals), the signals in the order of `names`."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    bias: float

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read `names`, `weights` and `bias`. Raises ConfigError for an array that lacks or has another shape."""
        require(arrays, {"names": (None,), "bias": ()})
        names = tuple(str(name) for name in arrays["names"])
        require(arrays, {"weights": (len(names),)})
        return cls(names, tuple(arrays["weights"].astype(np.float64).tolist()), float(arrays["bias"]))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that `from_arrays` reads."""
        return {"names": np.array(self.names), "weights": np.array(self.weights), "bias": np.array(self.bias)}

    def expect(self, names: Sequence[str]) -> None:
        """Raises ConfigError unless the head was learned for exactly these signals."""
        if self.names != tuple(names):
            raise ConfigError(
                "artifact",
                f"was learned for the signals {', '.join(self.names)}, not {', '.join(names)}: calibrate again",
            )

    def probability(self, signals: Sequence[float]) -> float:
        """The combined probability."""
        terms = (weight * signal for weight, signal in zip(self.weights, signals, strict=True))
        return sigmoid(self.bias + sum(terms))

    def interval(self, intervals: Sequence[Interval]) -> Interval:
        """The least and the most that the probability can be, each signal being anywhere in its interval."""
        low = high = self.bias
        for weight, (least, most) in zip(self.weights, intervals, strict=True):
            low += min(weight * least, weight * most)
            high += max(weight * least, weight * most)
        return sigmoid(low), sigmoid(high)

    def contributions(self, signals: Sequence[float]) -> dict[str, float]:
        """What each signal adds to the log-odds."""
        parts = zip(self.names, self.weights, signals, strict=True)
        return {name: round(weight * signal, 4) for name, weight, signal in parts}
