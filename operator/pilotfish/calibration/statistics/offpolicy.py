"""What would another router have done? Estimates from a log in which only some pools answered each request.

Inverse propensity scoring (Horvitz and Thompson, JASA 1952), self-normalised (Swaminathan and Joachims, NeurIPS
2015), and doubly robust (Dudík et al., "Doubly Robust Policy Evaluation and Learning", ICML 2011). All need every
pool that the new router would pick to have had a chance: propensities above 0, which exploration provides.

`wanted` [n] is everywhere the chance with which the new router takes the logged action (0 or 1 for one without
chance), not a number where that is not known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from pilotfish.base.arrays import Floats, Integers
from pilotfish.calibration.statistics.bounds import mean_interval


class Estimator(StrEnum):
    """How the value is estimated."""

    IPS = "IPS"
    SNIPS = "SNIPS"
    DOUBLY_ROBUST = "DoublyRobust"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its interval, how many requests it effectively rests on, and the share that it knows nothing of."""

    estimator: Estimator
    value: float
    low: float
    high: float
    effective_requests: float
    unsupported: float


@dataclass(frozen=True)
class Logged:
    """n requests: which pool answered (`action`), with what chance (`propensity`, above 0), and what came of it
    (`reward`).
    """

    action: Integers
    propensity: Floats
    reward: Floats

    def __post_init__(self) -> None:
        if (self.propensity <= 0).any() or (self.propensity > 1).any():
            raise ValueError("propensities lie above 0 and are at most 1")


def decided(scores: Integers, known: NDArray[np.bool_], thresholds: Sequence[int]) -> Floats:
    """The new router's choice [n, k], 1 at the first pool whose score [n, k - 1] reaches its threshold. A row is not a
    number from the first score on that is not `known`.
    """
    limits = np.asarray(thresholds)
    last = np.ones((len(scores), 1), bool)
    open_to = np.concatenate([~known & (limits > 0), ~last], axis=1)
    accepted = np.concatenate([scores >= limits, last], axis=1)
    first = (open_to | accepted).argmax(axis=1)
    places = np.arange(accepted.shape[1])
    chosen: Floats = (places == first[:, None]).astype(np.float64)
    unknown = open_to[np.arange(len(scores)), first]
    chosen[unknown[:, None] & (places >= first[:, None])] = np.nan
    return chosen


def unsupported(logged: Logged, wanted: Floats) -> float:
    """The least share of requests about which the log has no information: only the logged action was possible and the
    new router takes another, or the new router's action is not known.
    """
    missing = np.where(logged.propensity >= 1, 1 - wanted, 0.0)
    return float(np.where(np.isnan(wanted), 1.0, missing).mean())


def ips(logged: Logged, wanted: Floats, confidence: float = 0.95) -> Estimate:
    """The mean of the rewards, each weighed by how much likelier the new router is to come by it."""
    weights = _weights(logged, wanted)
    terms = weights * logged.reward
    low, high = mean_interval(terms, confidence)
    return Estimate(Estimator.IPS, float(terms.mean()), low, high, _effective(weights), unsupported(logged, wanted))


def snips(logged: Logged, wanted: Floats, confidence: float = 0.95) -> Estimate:
    """IPS divided by the mean weight: a little bias for less variance. Not a number where no request fits."""
    weights = _weights(logged, wanted)
    total, missing = float(weights.mean()), unsupported(logged, wanted)
    if total == 0:
        return Estimate(Estimator.SNIPS, math.nan, -math.inf, math.inf, 0.0, missing)
    value = float((weights * logged.reward).mean()) / total
    # The interval is that of the linearised ratio (delta method).
    low, high = mean_interval(weights * (logged.reward - value) / total, confidence)
    return Estimate(Estimator.SNIPS, value, value + low, value + high, _effective(weights), missing)


def doubly_robust(
    logged: Logged, wanted: Floats, expected: Floats, predicted: Floats, confidence: float = 0.95
) -> Estimate:
    """`expected` [n]: the reward model's value of the new router's choice; `predicted` [n]: of the logged action.

    Right if the propensities or the reward model are; learn the model from other requests than these.
    """
    weights = _weights(logged, wanted)
    terms = expected + weights * (logged.reward - predicted)
    low, high = mean_interval(terms, confidence)
    return Estimate(
        Estimator.DOUBLY_ROBUST, float(terms.mean()), low, high, _effective(weights), unsupported(logged, wanted)
    )


def _weights(logged: Logged, wanted: Floats) -> Floats:
    return np.asarray(np.nan_to_num(wanted) / logged.propensity, np.float64)


def _effective(weights: Floats) -> float:
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0
