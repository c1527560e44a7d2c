"""Thresholds that keep a promise about the quality lost.

With a confidence: Learn then Test (Angelopoulos et al., "Learn then Test: Calibrating Predictive Algorithms to
Achieve Risk Control", 2021) with fixed-sequence testing. Thresholds are tried from the most cautious on, each with a
betting test of "the mean loss is over the limit", until one is not rejected; the probability that any threshold
passed wrongly is at most 1 - confidence. Risk-controlling prediction sets (Bates et al., JACM 2021) are the same for
losses that only grow; LTT needs no such thing, and the loss here is a difference of qualities that can fall as well.

In expectation: conformal risk control (Angelopoulos et al., "Conformal Risk Control", ICLR 2024) over the share of
requests that were harmed, which only grows as the threshold falls, as the method demands; of several thresholds a
request counts as harmed once it was at an earlier point of the path.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from pilotfish.base.arrays import Floats, Integers
from pilotfish.calibration.statistics.bounds import betting_p
from pilotfish.calibration.statistics.table import Simulated, Table, losses, simulate
from pilotfish.routing.threshold_control import NEVER

Thresholds = tuple[int, ...]
RESAMPLES = 400
RESAMPLE_SEED = 20_240_611
SPREAD_POINTS = 200
GRID = 24
"""Thresholds tried for each stage of a router with three pools or more, at most."""
MOST_COMBINATIONS = 4096
"""Combinations of them, at most: the more stages, the fewer thresholds for each."""


@dataclass(frozen=True, slots=True)
class Tested:
    """One point of the path: its thresholds, the mean loss seen, and the p-value of a loss over the limit."""

    thresholds: Thresholds
    loss: float
    p_value: float


def steps(scores: Integers) -> list[int]:
    """Thresholds at which what is accepted changes, most cautious first: trying them is trying all from 1000 to 0."""
    return [*sorted({int(score) for score in scores} - {0}, reverse=True), 0]


def path_of(table: Table) -> list[Thresholds]:
    """Thresholds of a router of two pools, most cautious first."""
    return [(threshold,) for threshold in steps(table.scores[:, 0])]


def learn_then_test(table: Table, path: Sequence[Thresholds], *, limit: float, error: float) -> list[Tested]:
    """The points of `path` whose loss is at most `limit`, all of them at once with probability 1 - error.

    The path must not depend on `table`'s qualities; that it visits scores that occur there does no harm, as these are
    exchangeable.
    """
    passed: list[Tested] = []
    for thresholds in path:
        lost = losses(table, simulate(table, thresholds))
        p_value = betting_p(lost, limit, low=-1.0, high=1.0, error=error)
        if p_value > error:
            break
        passed.append(Tested(thresholds, float(lost.mean()), p_value))
    return passed


def conformal(table: Table, path: Sequence[Thresholds], *, limit: float) -> list[Tested]:
    """The points of `path` up to the last at which the expected harm of one more request is at most `limit`.

    Harm is the quality lost where any is, from 0 to 1; requests that gained do not make up for it.
    """
    count = len(table)
    passed: list[Tested] = []
    harm = np.zeros(count)
    for thresholds in path:
        lost = losses(table, simulate(table, thresholds))
        harm = np.maximum(harm, lost)
        if (float(harm.sum()) + 1.0) / (count + 1) > limit:
            break
        passed.append(Tested(thresholds, float(lost.mean()), float("nan")))
    return passed


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean losses of single calibrations: 5th and 95th percentile, and the share of them over the limit."""

    low: float
    high: float
    over: float


def conformal_spread(table: Table, path: Sequence[Thresholds], *, limit: float) -> Spread:
    """What calibrations on other examples like these would lose, by the bootstrap (Efron, Annals of Statistics 1979).

    Each of RESAMPLES resamples of `table` chooses its cheapest thresholds by `conformal`; their loss is the mean over
    `table`. At most SPREAD_POINTS points of the path are tried. The resamples are drawn with RESAMPLE_SEED.
    """
    places = np.unique(np.linspace(0, len(path) - 1, SPREAD_POINTS).round().astype(int))
    simulated = [simulate(table, path[place]) for place in places]
    lost = np.array([losses(table, each) for each in simulated])
    harm = np.maximum.accumulate(np.maximum(lost, 0.0), axis=0)
    saved = np.array([saving(table, each) for each in simulated])
    count = len(table)
    drawn = np.random.default_rng(RESAMPLE_SEED).multinomial(count, np.full(count, 1 / count), RESAMPLES).T
    passed = (harm @ drawn + 1.0) / (count + 1) <= limit
    chosen = np.where(passed, saved @ drawn, -np.inf).argmax(axis=0)
    mean = np.where(passed.any(axis=0), lost.mean(axis=1)[chosen], 0.0)
    low, high = np.quantile(mean, [0.05, 0.95])
    return Spread(float(low), float(high), float((mean > limit).mean()))


def path_of_many(table: Table, limit: float, most: int = 41) -> list[Thresholds]:
    """Thresholds of a router of three pools or more, most cautious first, each the cheapest of those that lose no more.

    Learn it from other examples than those it is tested with (LTT's split fixed-sequence testing).
    """
    stages = table.scores.shape[1]
    size = min(GRID, int(MOST_COMBINATIONS ** (1 / stages) + 1e-9))
    grids = [_grid(steps(table.scores[:, stage]), size) for stage in range(stages)]
    seen = [(*_summary(table, simulate(table, thresholds)), thresholds) for thresholds in product(*grids)]
    path: list[Thresholds] = []
    for level in np.linspace(0.0, 2 * limit, most):
        cheapest = min((entry for entry in seen if entry[0] <= level), key=lambda entry: entry[1], default=None)
        if cheapest is not None and cheapest[2] not in path:
            path.append(cheapest[2])
    return path


def _grid(every: Sequence[int], size: int) -> list[int]:
    """NEVER, and of thresholds `size` - 1 evenly spread ones at most, the last among them."""
    picked = np.unique(np.linspace(0, len(every), size)[1:].round().astype(int) - 1)
    return [NEVER, *(every[place] for place in picked if place >= 0)]


def _summary(table: Table, simulated: Simulated) -> tuple[float, float]:
    return float(losses(table, simulated).mean()), float(simulated.cost.mean())


def saving(table: Table, simulated: Simulated) -> Floats:
    """What each request saved against the last pool alone, in the currency of the costs; less than 0 where it cost
    more.
    """
    return np.asarray(table.cost[:, -1] - simulated.cost, np.float64)
