"""Learning scorers from outcomes: `linear`, `embedding`, and the logistic heads of `logprob` and `combined`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse, stats
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold

from pilotfish.base.arrays import Floats, Integers
from pilotfish.base.errors import ConfigError
from pilotfish.plugins.builtin.scorers.embedding import EmbeddingModel, unit_rows
from pilotfish.plugins.builtin.scorers.features import BUCKETS, LEXICAL, Features, features
from pilotfish.plugins.builtin.scorers.heads import LogisticHead
from pilotfish.plugins.builtin.scorers.linear import LinearModel, standardised, weighed

FOLDS = 3
SEED = 20_231
FEWEST_EXAMPLES = 40
LEXICAL_SCALE = 0.1
"""Standardised counts times this stand beside n-grams of length 1, so that one penalty suits both."""
PENALTIES = (10.0, 30.0, 100.0)
SAMPLE = 1500
"""Rows on which penalties are compared."""
DIMENSIONS = (8, 32, 128)
NEIGHBOURS = (20, 50, 100)
SHARPNESS = 10.0


@dataclass(frozen=True)
class Outcomes:
    """n prompts: how well the candidate and the reference did, 0 to 1."""

    small: Floats
    large: Floats

    @property
    def gain(self) -> Floats:
        """How much better the candidate did than the reference: what prompts are ranked by."""
        return np.asarray(self.small - self.large, np.float64)

    @property
    def as_good(self) -> Floats:
        """1 where the candidate did as well as the reference."""
        return np.asarray(self.small >= self.large, np.float64)

    def rows(self, places: Integers) -> "Outcomes":
        """The same of some of the prompts."""
        return Outcomes(self.small[places], self.large[places])


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
        """Whether the prompts' words predict better than the mean does."""
        return self.error < self.mean_error


def train_linear(prompts: Sequence[str] | Sequence[Features], outcomes: Outcomes) -> LinearFit:
    """Learn `linear`. The less the prompts predict, the closer all scores are to the mean outcome.

    Raises ConfigError where the examples are too few or all alike.
    """
    _check(len(prompts), outcomes)
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


def _check(count: int, outcomes: Outcomes) -> None:
    if count < FEWEST_EXAMPLES:
        raise ConfigError("log", f"{count} prompts with outcomes; a scorer learns from {FEWEST_EXAMPLES} or more")
    if np.ptp(outcomes.gain) == 0 or np.ptp(outcomes.as_good) == 0:
        raise ConfigError("log", "the pools did alike on every prompt: there is nothing to learn")


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


def train_embedding(vectors: Floats, outcomes: Outcomes, ids: Sequence[str]) -> EmbeddingModel:
    """Learn `embedding` from the vectors [n, d] of prompts, `ids` naming their requests.

    Raises ConfigError where the examples are too few or all alike.
    """
    _check(len(vectors), outcomes)
    rows = unit_rows(np.asarray(vectors, np.float64))
    neighbours = [count for count in NEIGHBOURS if count < len(rows) // 2] or [len(rows) // 4]
    # 1 where the candidate alone did well, 0.5 where both did alike, 0 where the reference alone did.
    outcome = 0.5 + outcomes.gain / 2
    shares = {count: _neighbour_shares(rows, outcome, count) for count in neighbours}
    ranks = [rank for rank in DIMENSIONS if rank < rows.shape[1]] or [rows.shape[1]]
    linears = {rank: _held_out_directions(rows, outcomes.gain, rank) for rank in ranks}
    pairs = [(count, rank) for count in shares for rank in linears]
    count, rank = min(pairs, key=lambda pair: _log_loss(shares[pair[0]], linears[pair[1]], outcomes.as_good))
    model = _joint(shares[count], linears[rank], outcomes.as_good)
    share_weight, linear_weight = model.coef_[0]
    return EmbeddingModel(
        vectors=rows,
        outcomes=outcome,
        direction=_direction(rows, outcomes.gain, rank)[0],
        head=(float(share_weight), float(linear_weight), float(model.intercept_[0])),
        neighbours=count,
        sharpness=SHARPNESS,
        ids=tuple(ids),
    )


def _neighbour_shares(rows: Floats, outcome: Floats, count: int) -> Floats:
    """Each prompt's weighted share of good neighbours, itself left out."""
    shares = np.zeros(len(rows))
    for start in range(0, len(rows), 1024):
        cosines = rows[start : start + 1024] @ rows.T
        cosines[np.arange(len(cosines)), np.arange(start, start + len(cosines))] = -np.inf
        places = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        near = np.take_along_axis(cosines, places, axis=1)
        weights = np.exp(SHARPNESS * (near - near.max(axis=1, keepdims=True)))
        shares[start : start + 1024] = (weights * outcome[places]).sum(axis=1) / weights.sum(axis=1)
    return shares


def _direction(rows: Floats, gain: Floats, rank: int) -> tuple[Floats, float]:
    """Ridge regression on the vectors' leading `rank` directions, as one direction and a constant."""
    mean = rows.mean(axis=0)
    _, sizes, axes = np.linalg.svd(rows - mean, full_matrices=False)
    reduced = (rows - mean) @ axes[:rank].T
    shrunk = np.linalg.solve(reduced.T @ reduced + sizes[0] * np.eye(rank) * 0.1, reduced.T @ (gain - gain.mean()))
    direction = axes[:rank].T @ shrunk
    return np.asarray(direction, np.float64), float(gain.mean() - mean @ direction)


def _held_out_directions(rows: Floats, gain: Floats, rank: int) -> Floats:
    predicted = np.zeros(len(rows))
    for learn, hold in KFold(FOLDS, shuffle=True, random_state=SEED).split(rows):
        predicted[hold] = rows[hold] @ _direction(rows[learn], gain[learn], rank)[0]
    return predicted


def _joint(shares: Floats, linear: Floats, good: Floats) -> LogisticRegression:
    return LogisticRegression(C=100.0, max_iter=1000).fit(np.column_stack([shares, linear]), good)


def _log_loss(shares: Floats, linear: Floats, good: Floats) -> float:
    probabilities = _joint(shares, linear, good).predict_proba(np.column_stack([shares, linear]))[:, 1]
    return float(-np.mean(np.where(good > 0.5, np.log(probabilities), np.log1p(-probabilities))))


def train_head(names: Sequence[str], signals: Floats, good: Floats) -> LogisticHead:
    """A head over signals [n, s] from 0 to 1. Raises ConfigError where the examples are too few or all alike."""
    if len(signals) < FEWEST_EXAMPLES or np.ptp(good) == 0:
        raise ConfigError("log", f"a head learns from {FEWEST_EXAMPLES} or more answers, some good and some bad")
    model = LogisticRegression(C=1.0, max_iter=1000).fit(signals, good)
    return LogisticHead(tuple(names), tuple(float(weight) for weight in model.coef_[0]), float(model.intercept_[0]))
