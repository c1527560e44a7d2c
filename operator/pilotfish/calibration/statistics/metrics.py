"""How good is a score? Cost-quality curves, the area under them, discrimination, and reliability.

APGR and CPT are those of Ong et al., "RouteLLM", ICLR 2025: c is the share of requests that the last pool gets, r(c)
the mean quality, PGR = (r - r_small) / (r_large - r_small); APGR is PGR's area over c, CPT(x) the least c with PGR at
least x.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from pilotfish.base.arrays import Floats, Integers


def quality_curve(scores: Floats, small: Floats, large: Floats) -> Floats:
    """Mean quality [n + 1] when the i least sure of n requests go to the large pool; equal scores go in no order
    (their mean).
    """
    gains = large - small
    order = np.argsort(scores, kind="stable")
    _, start, counts = np.unique(scores[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(gains[order], start)
    smoothed = np.repeat(sums / counts, counts)
    return np.asarray(small.mean() + np.concatenate([[0.0], np.cumsum(smoothed)]) / len(scores), np.float64)


def recovered(scores: Floats, small: Floats, large: Floats) -> Floats:
    """PGR [n + 1] over shares 0 to 1. Raises ValueError where the large pool is not better: there is nothing to
    recover.
    """
    gap = float(large.mean() - small.mean())
    if gap <= 0:
        raise ValueError("the last pool is not better than the first on these requests")
    return np.asarray((quality_curve(scores, small, large) - small.mean()) / gap, np.float64)


def apgr(scores: Floats, small: Floats, large: Floats) -> float:
    """Area under PGR: 0.5 for a score without signal, 1 at the very most."""
    curve = recovered(scores, small, large)
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


def cpt(scores: Floats, small: Floats, large: Floats, level: float) -> float:
    """Least share of large calls with PGR of at least `level`."""
    curve = recovered(scores, small, large)
    return float(np.argmax(curve >= level - 1e-12) / (len(curve) - 1))


@dataclass(frozen=True, slots=True)
class Discrimination:
    """Probability that a good answer scores above a bad one (half a point for ties), with a two-sided interval."""

    area: float
    low: float
    high: float


def discrimination(scores: Floats, good: Floats, confidence: float = 0.95) -> Discrimination | None:
    """Area under the ROC curve with DeLong's interval (Biometrics 1988); None where all are good or all bad."""
    positive, negative = scores[good > 0.5], scores[good <= 0.5]
    if len(positive) < 2 or len(negative) < 2:
        return None
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    split = len(positive)
    over_negative = (ranks[:split] - stats.rankdata(positive)) / len(negative)
    over_positive = 1 - (ranks[split:] - stats.rankdata(negative)) / split
    area = float(over_negative.mean())
    spread = float(np.sqrt(over_negative.var(ddof=1) / split + over_positive.var(ddof=1) / len(negative)))
    half = float(stats.norm.ppf(0.5 + confidence / 2)) * spread
    return Discrimination(area, max(0.0, area - half), min(1.0, area + half))


@dataclass(frozen=True, slots=True)
class Bin:
    """Requests of similar score: their number, mean score and share of good answers, with Wilson's interval."""

    count: int
    score: float
    good: float
    low: float
    high: float


def reliability(scores: Floats, good: Floats, bins: int = 10) -> list[Bin]:
    """Bins of about equal size, by score, for a reliability diagram. Scores and outcomes from 0 to 1."""
    parts = np.array_split(np.argsort(scores, kind="stable"), min(bins, len(scores)))
    found = []
    for part in parts:
        interval = stats.binomtest(round(float(good[part].sum())), len(part)).proportion_ci(0.95, method="wilson")
        share = float(good[part].mean())
        found.append(Bin(len(part), float(scores[part].mean()), share, float(interval.low), float(interval.high)))
    return found


def calibration_error(bins: list[Bin]) -> float:
    """Expected calibration error: the mean distance between score and outcome over the bins, by size."""
    total = sum(entry.count for entry in bins)
    return sum(entry.count * abs(entry.score - entry.good) for entry in bins) / total


def bootstrap_places(count: int, draws: int, seed: int) -> list[Integers]:
    """Places of `draws` resamples with replacement."""
    generator = np.random.default_rng(seed)
    return [generator.integers(0, count, count) for _ in range(draws)]
