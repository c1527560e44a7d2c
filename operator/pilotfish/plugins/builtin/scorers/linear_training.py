"""How `linear` learns: ridge regression on n-grams and counts, then Platt's sigmoid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse, stats
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold

from pilotfish.base.arrays import Floats
from pilotfish.plugin_api.learning import Outcomes
from pilotfish.plugins.builtin.scorers.features import BUCKETS, LEXICAL, Features, features
from pilotfish.plugins.builtin.scorers.linear_model import LinearModel, standardised, weighed

FOLDS = 3
SEED = 20_231
LEXICAL_SCALE = 0.1
"""Standardised counts times this stand beside n-grams of length 1, so that one penalty suits both."""
PENALTIES = (10.0, 30.0, 100.0)
SAMPLE = 1500
"""Rows on which penalties are compared."""


@dataclass(frozen=True)
class LinearFit:
    """A `linear` model, and the mean squared error of predicted gains on prompts held out in cross-validation.

    `mean_error`: the same where every prediction is the mean gain.
    """

    model: LinearModel
    error: float
    mean_error: float

    @property
    def beats_mean(self) -> bool:
        """Whether the text of the prompts predicts better than the mean."""
        return self.error < self.mean_error


def train_linear(prompts: Sequence[str] | Sequence[Features], outcomes: Outcomes) -> LinearFit:
    """Learn `linear`. The less the prompts predict, the closer all scores are to the mean outcome.

    Raises ConfigError where the examples are too few or all alike.
    """
    outcomes.require_differences()
    found = [prompt if isinstance(prompt, Features) else features(prompt) for prompt in prompts]
    idf = _idf(found)
    lexical = np.stack([one.lexical for one in found])
    mean, scale = lexical.mean(axis=0), lexical.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    matrix = _matrix(found, idf, mean, scale)
    weights, bias, predicted = _ridge(matrix, outcomes.gain)
    slope, intercept = platt(predicted, outcomes.as_good)
    model = LinearModel(idf, weights[:BUCKETS], mean, scale, weights[BUCKETS:] * LEXICAL_SCALE, bias, slope, intercept)
    return LinearFit(model, float(((predicted - outcomes.gain) ** 2).mean()), float(outcomes.gain.var()))


def _idf(found: Sequence[Features]) -> Floats:
    seen = np.zeros(BUCKETS)
    for one in found:
        seen[one.words.buckets] += 1
        seen[one.bytes.buckets] += 1
    return np.asarray(np.log((1 + len(found)) / (1 + seen)) + 1.0, np.float64)


def _matrix(found: Sequence[Features], idf: Floats, mean: Floats, scale: Floats) -> sparse.csr_matrix:
    """Rows of n-grams and lexical counts [n, BUCKETS + counts]."""
    columns, values, ends = [], [], [0]
    for one in found:
        lexical = standardised(one.lexical, mean, scale) * LEXICAL_SCALE
        columns += [one.words.buckets, one.bytes.buckets, np.arange(BUCKETS, BUCKETS + len(LEXICAL))]
        values += [weighed(one.words, idf), weighed(one.bytes, idf), lexical]
        ends.append(ends[-1] + sum(len(part) for part in columns[-3:]))
    shape = (len(found), BUCKETS + len(LEXICAL))
    return sparse.csr_matrix((np.concatenate(values), np.concatenate(columns), np.array(ends)), shape=shape)


def _ridge(matrix: sparse.csr_matrix, gain: Floats) -> tuple[Floats, float, Floats]:
    """Weights, bias, and predictions of rows that were not learned from."""
    penalty = _best_penalty(matrix, gain)
    model = _fit(matrix, gain, penalty)
    return np.asarray(model.coef_, np.float64), float(model.intercept_), _held_out(matrix, gain, penalty)


def _best_penalty(matrix: sparse.csr_matrix, gain: Floats) -> float:
    """The penalty that predicts best what it has not seen, on SAMPLE of the rows."""
    places = np.random.default_rng(SEED).permutation(matrix.shape[0])[:SAMPLE]
    sample, wanted = matrix[places], gain[places]
    return min(PENALTIES, key=lambda penalty: float(((_held_out(sample, wanted, penalty) - wanted) ** 2).mean()))


def _fit(matrix: sparse.csr_matrix, gain: Floats, penalty: float) -> Ridge:
    return Ridge(alpha=penalty, solver="sparse_cg", tol=1e-3).fit(matrix, gain)


def _held_out(matrix: sparse.csr_matrix, gain: Floats, penalty: float) -> Floats:
    """Predictions [n] of each row by a model that has not seen it, each model moved to the mean of all rows.

    A fold with many good rows leaves fewer to learn from: without the move, predictions fall where outcomes rise, and
    a weak signal looks inverted.
    """
    predicted = np.zeros_like(gain)
    for learn, hold in KFold(FOLDS, shuffle=True, random_state=SEED).split(matrix):
        off = gain[learn].mean() - gain.mean()
        predicted[hold] = _fit(matrix[learn], gain[learn], penalty).predict(matrix[hold]) - off
    return predicted


def platt(values: Floats, good: Floats) -> tuple[float, float]:
    """Slope (above 0) and intercept of the sigmoid that turns values into probabilities of good.

    The slope is its posterior mean under a flat prior on slopes above 0, with the likelihood approximated by a normal:
    the estimate itself where the signal is clear, and close to 0 where there is none.
    """
    spread = float(values.std()) or 1.0
    scaled = ((values - values.mean()) / spread)[:, None]
    model = LogisticRegression(C=100.0).fit(scaled, good)
    estimate, probability = float(model.coef_[0, 0]), model.predict_proba(scaled)[:, 1]
    error = 1.0 / math.sqrt(float((probability * (1.0 - probability)) @ scaled[:, 0] ** 2) + 1.0 / model.C)
    slope = float(stats.truncnorm.mean(-estimate / error, np.inf, loc=estimate, scale=error)) / spread
    return slope, float(model.intercept_[0]) - slope * float(values.mean())
