"""Finite-sample bounds on a mean. They hold for any distribution and any number of independent draws.

Clopper and Pearson, Biometrika 1934, for yes or no; Hoeffding-Bentkus as in Bates et al., "Distribution-Free,
Risk-Controlling Prediction Sets", JACM 2021, for values from 0 to 1; and the betting test of Waudby-Smith and Ramdas,
"Estimating Means of Bounded Random Variables by Betting", JRSS-B 2024, which adapts to the variance and is what
thresholds are chosen with.
"""

import math

import numpy as np
from scipy import stats

from pilotfish.base.arrays import Floats

SHUFFLE_SEED = 20_240_117
"""The betting test reads examples in this random order, so that a sorted log does not change its result."""
LARGEST_STAKE = 0.75
"""Share of the capital that a single example may cost at most."""


def clopper_pearson(successes: int, trials: int, error: float) -> tuple[float, float]:
    """One-sided bounds on a probability: each of the two is wrong with at most the probability `error`."""
    if trials == 0:
        return 0.0, 1.0
    low = float(stats.beta.ppf(error, successes, trials - successes + 1)) if successes else 0.0
    high = float(stats.beta.ppf(1 - error, successes + 1, trials - successes)) if successes < trials else 1.0
    return low, high


def hoeffding_bentkus_p(mean: float, count: int, limit: float) -> float:
    """p-value of "the true mean exceeds `limit`", for `count` values from 0 to 1 with the sample mean `mean`."""
    if count == 0 or mean >= limit:
        return 1.0
    if limit >= 1.0:
        return 0.0
    divergence = _divergence(mean, limit)
    hoeffding = math.exp(-count * divergence)
    bentkus = math.e * float(stats.binom.cdf(math.ceil(count * mean), count, limit))
    return min(1.0, hoeffding, bentkus)


def _divergence(mean: float, limit: float) -> float:
    """Kullback-Leibler divergence between two coins."""
    first = mean * math.log(mean / limit) if mean > 0 else 0.0
    second = (1 - mean) * math.log((1 - mean) / (1 - limit)) if mean < 1 else 0.0
    return first + second


def betting_p(losses: Floats, limit: float, *, low: float, high: float, error: float) -> float:
    """p-value of "the true mean of `losses` is at least `limit`"; each loss lies between `low` and `high`.

    A bettor stakes on every loss being less than the limit, with stakes that depend on earlier losses alone: were the
    hypothesis true, the capital would exceed 1/p with a probability of at most p (Ville). `error` only sets the stakes.
    """
    count = len(losses)
    if count == 0:
        return 1.0
    values = (np.random.default_rng(SHUFFLE_SEED).permutation(losses) - low) / (high - low)
    target = (limit - low) / (high - low)
    if target >= 1.0:
        return 0.0
    if target <= 0.0:
        return 1.0
    seen = np.arange(1, count + 1)
    means = (0.5 + np.cumsum(values)) / (seen + 1)
    variances = (0.25 + np.cumsum((values - means) ** 2)) / (seen + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    stakes = np.minimum(np.sqrt(2 * math.log(1 / error) / (count * before)), LARGEST_STAKE / (1 - target))
    capital = float(np.max(np.cumsum(np.log1p(stakes * (target - values)))))
    return min(1.0, math.exp(-capital))


def betting_upper(losses: Floats, *, low: float, high: float, error: float) -> float:
    """An upper bound of the true mean of `losses` by the betting test: exceeded with at most the probability
    `error`.
    """
    least, most = float(losses.mean()) if len(losses) else low, high
    for _ in range(20):
        middle = (least + most) / 2
        if betting_p(losses, middle, low=low, high=high, error=error) <= error:
            most = middle
        else:
            least = middle
    return most


def examples_needed(limit: float, error: float) -> int:
    """Fewest examples with which a loss limit can be promised at all: those with which no loss was ever seen.

    Losses lie between -1 and 1. An answer to "how many do I need" that no data can beat; usually several times more
    are needed.
    """
    if not 0 < limit < 1 or not 0 < error < 1:
        raise ValueError("limit and error lie between 0 and 1")
    fewest, most = 1, 1
    while betting_p(np.zeros(most), limit, low=-1.0, high=1.0, error=error) > error:
        fewest, most = most, most * 2
    while fewest < most:
        middle = (fewest + most) // 2
        if betting_p(np.zeros(middle), limit, low=-1.0, high=1.0, error=error) <= error:
            most = middle
        else:
            fewest = middle + 1
    return most


def examples_needed_in_expectation(limit: float) -> int:
    """The same in expectation, where one more request counts as a whole answer lost (conformal risk control)."""
    if not 0 < limit < 1:
        raise ValueError("limit lies between 0 and 1")
    return math.ceil(1 / limit) - 1


def examples_for(limit: float, error: float, disagreement: float) -> int:
    """Examples for which the loss of a router that in truth loses nothing is found under the limit in half of all
    cases.

    `disagreement` is the share of requests on which accepted small answers are better or worse; by the normal
    approximation.
    """
    quantile = float(stats.norm.ppf(1 - error))
    return max(examples_needed(limit, error), math.ceil(disagreement * (quantile / limit) ** 2))


def mean_interval(values: Floats, confidence: float) -> tuple[float, float]:
    """A two-sided interval of a mean by Student's t: for display, not for promises."""
    count = len(values)
    if count < 2:
        return -math.inf, math.inf
    half = float(stats.t.ppf(0.5 + confidence / 2, count - 1)) * float(values.std(ddof=1)) / math.sqrt(count)
    mean = float(values.mean())
    return mean - half, mean + half
