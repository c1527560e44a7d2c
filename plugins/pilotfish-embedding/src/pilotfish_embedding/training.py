"""How `embedding` learns: the number of neighbours and of directions that predict held-out outcomes best."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from pilotfish.base.arrays import Floats
from pilotfish.plugin_api.learning import Outcomes
from pilotfish_embedding.model import EmbeddingModel, unit_rows

FOLDS = 3
SEED = 20_231
DIMENSIONS = (8, 32, 128)
NEIGHBOURS = (20, 50, 100)
SHARPNESS = 10.0


def train(vectors: Floats, outcomes: Outcomes, ids: Sequence[str]) -> EmbeddingModel:
    """Learn from the vectors [n, d] of prompts; `ids` [n] are those of their requests.

    Raises ConfigError where the examples are too few or all equal.
    """
    outcomes.require_differences()
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
