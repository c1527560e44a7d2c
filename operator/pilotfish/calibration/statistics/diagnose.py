"""Tests for faults of scores, before a threshold is based on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

from pilotfish.base.arrays import Floats
from pilotfish.calibration.statistics.metrics import discrimination


class WarningCode(StrEnum):
    """Faults that change what a threshold is worth."""

    NO_SIGNAL = "NoSignal"
    INVERTED = "Inverted"
    NOT_FINITE = "NotFinite"
    TIES = "Ties"
    SHIFT = "Shift"
    TOO_FEW = "TooFew"
    BLIND = "Blind"
    LEARNED_FROM = "LearnedFrom"
    UNSCORED = "Unscored"
    NOTHING_LEARNED = "NothingLearned"
    PLUGINS = "Plugins"


@dataclass(frozen=True, slots=True)
class CalibrationWarning:
    """A fault, and a message with the measured value."""

    code: WarningCode
    message: str


MOST_TIED = 0.2
SHIFT_ERROR = 0.01


def signal(scores: Floats, good: Floats, *, error: float, name: str) -> list[CalibrationWarning]:
    """Test whether the score separates good answers from bad ones."""
    found = discrimination(scores, good, confidence=1 - 2 * error)
    if found is None:
        return [
            CalibrationWarning(
                WarningCode.NO_SIGNAL, f"{name}: all answers are good or all are bad, so no score can separate them"
            )
        ]
    shown = (
        f"area under the ROC curve {found.area:.3f}, {1 - 2 * error:.0%} interval {found.low:.3f} to {found.high:.3f}"
    )
    if found.high < 0.5:
        return [CalibrationWarning(WarningCode.INVERTED, f"{name}: answers with higher scores are worse ({shown})")]
    if found.low <= 0.5:
        return [
            CalibrationWarning(
                WarningCode.NO_SIGNAL,
                f"{name}: the score is not shown to separate good answers from bad ones ({shown})",
            )
        ]
    return []


def blind(scores: Floats, quality: Floats, *, error: float, name: str) -> list[CalibrationWarning]:
    """Test whether the score separates right answers of the stage from wrong ones."""
    found = discrimination(scores, quality, confidence=1 - 2 * error)
    if found is None or found.low > 0.5:
        return []
    shown = (
        f"area under the ROC curve {found.area:.3f}, {1 - 2 * error:.0%} interval {found.low:.3f} to {found.high:.3f}"
    )
    return [
        CalibrationWarning(
            WarningCode.BLIND, f"{name}: right answers are not shown to score above wrong ones ({shown})"
        )
    ]


def spread(scores: Floats, *, name: str) -> list[CalibrationWarning]:
    """Test whether so many requests have one score that a threshold cannot separate them."""
    _, counts = np.unique(scores, return_counts=True)
    share = float(counts.max() / len(scores))
    if share <= MOST_TIED:
        return []
    text = f"{name}: {share:.0%} of the scores are equal; a threshold accepts all of these requests or none"
    return [CalibrationWarning(WarningCode.TIES, text)]


def not_finite(logprobs: Sequence[float], *, name: str) -> list[CalibrationWarning]:
    """Count log-probabilities that are not finite."""
    bad = int(np.count_nonzero(~np.isfinite(np.asarray(logprobs, np.float64))))
    if not bad:
        return []
    return [
        CalibrationWarning(
            WarningCode.NOT_FINITE,
            f"{name}: {bad} of {len(logprobs)} log-probabilities are not finite; these tokens count as impossible",
        )
    ]


def shift(before: Floats, after: Floats, *, name: str) -> list[CalibrationWarning]:
    """Test whether scores are distributed differently than at calibration (two-sample Kolmogorov-Smirnov test)."""
    if len(before) < 20 or len(after) < 20:
        return []
    result = stats.ks_2samp(before, after)
    if result.pvalue >= SHIFT_ERROR:
        return []
    text = (
        f"{name}: scores have moved ({result.statistic:.2f} Kolmogorov-Smirnov, p {result.pvalue:.1g}): calibrate again"
    )
    return [CalibrationWarning(WarningCode.SHIFT, text)]
