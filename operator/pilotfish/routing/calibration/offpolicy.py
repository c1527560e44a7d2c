"""What would another router have done? Estimates from a log in which only some pools answered each request.

Inverse propensity scoring (Horvitz and Thompson, JASA 1952), self-normalised (Swaminathan and Joachims, NeurIPS
2015), and doubly robust (Dudík et al., "Doubly Robust Policy Evaluation and Learning", ICML 2011). All need every
pool that the new router would pick to have had a chance: propensities above 0, which exploration provides.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from pilotfish.routing.calibration.bounds import mean_interval
from pilotfish.routing.calibration.table import Integers
from pilotfish.routing.scorers.support import Floats


class Estimator(StrEnum):
    """How the value is estimated."""

    IPS = "IPS"
    SNIPS = "SNIPS"
    DOUBLY_ROBUST = "DoublyRobust"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its interval, and how many requests it effectively rests on."""

    estimator: Estimator
    value: float
    low: float
    high: float
    effective_requests: float


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


def ips(logged: Logged, wanted: Floats, confidence: float = 0.95) -> Estimate:
    """`wanted` [n]: with what chance the new router takes the logged action (0 or 1 for one without chance)."""
    weights = wanted / logged.propensity
    terms = weights * logged.reward
    return Estimate(Estimator.IPS, float(terms.mean()), *mean_interval(terms, confidence), _effective(weights))


def snips(logged: Logged, wanted: Floats, confidence: float = 0.95) -> Estimate:
    """IPS divided by the mean weight: a little bias for less variance. Not a number where no request fits."""
    weights = wanted / logged.propensity
    total = float(weights.mean())
    if total == 0:
        return Estimate(Estimator.SNIPS, math.nan, -math.inf, math.inf, 0.0)
    value = float((weights * logged.reward).mean()) / total
    # The interval is that of the linearised ratio (delta method).
    low, high = mean_interval(weights * (logged.reward - value) / total, confidence)
    return Estimate(Estimator.SNIPS, value, value + low, value + high, _effective(weights))


def doubly_robust(
    logged: Logged, wanted: Floats, expected: Floats, predicted: Floats, confidence: float = 0.95
) -> Estimate:
    """`expected` [n]: the reward model's value of the new router's choice; `predicted` [n]: of the logged action.

    Right if the propensities or the reward model are; learn the model from other requests than these.
    """
    weights = wanted / logged.propensity
    terms = expected + weights * (logged.reward - predicted)
    return Estimate(
        Estimator.DOUBLY_ROBUST, float(terms.mean()), *mean_interval(terms, confidence), _effective(weights)
    )


def _effective(weights: Floats) -> float:
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0
