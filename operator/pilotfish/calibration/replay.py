"""`pilotfish replay` without its files: what routers would have made of recorded requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pilotfish.api import ModelRouter
from pilotfish.base.arrays import Floats, Integers
from pilotfish.base.errors import ConfigError
from pilotfish.calibration.evaluate import check_sample, evaluate, score_all, scored
from pilotfish.calibration.learning import not_learned_from
from pilotfish.calibration.log import RecordedRequest
from pilotfish.calibration.statistics.bounds import mean_interval
from pilotfish.calibration.statistics.offpolicy import (
    Estimate,
    Logged,
    decided,
    doubly_robust,
    ips,
    snips,
    unsupported,
)
from pilotfish.calibration.statistics.table import Simulated, simulate
from pilotfish.plugin_api.learning import FEWEST_EXAMPLES
from pilotfish.plugins.registry import Registry

Interval = tuple[float, float, float]
"""Mean, and the ends of its 95% interval."""
MOST_UNSUPPORTED = 0.01
"""Share of requests that an estimate may know nothing of: it is off by as much at most, as qualities go to 1."""


@dataclass(frozen=True)
class StageSummary:
    """A pool's part: the share of requests that it answered, and their mean seconds and cost up to the answer."""

    pool: str
    share: float
    seconds: float
    cost: float


@dataclass(frozen=True)
class Replayed:
    """A router on a log in which every pool answered every request."""

    router: str
    requests: int
    quality: Interval
    cost: Interval
    escalated: float
    seconds: Interval
    slowest: float
    """Seconds at the 95th percentile."""
    stages: tuple[StageSummary, ...]


def replay(
    entries: Sequence[RecordedRequest], router: ModelRouter, registry: Registry, artifacts: Mapping[int, bytes]
) -> Replayed:
    """Let the router decide on every request that has the answers of all of its pools and did not teach its scorers."""
    if not router.scorers:
        return _unscored(entries, router)
    found = evaluate(not_learned_from(entries, router, registry, artifacts), router, registry, artifacts)
    simulated = simulate(found.table, router.thresholds)
    return Replayed(
        router.name,
        len(simulated.pool),
        _interval(simulated.quality),
        _interval(1000 * simulated.cost),
        float((simulated.pool > 0).mean()),
        _interval(simulated.seconds),
        float(np.percentile(simulated.seconds, 95)),
        tuple(_stage(pool, place, simulated) for place, pool in enumerate(router.strategy_pools)),
    )


def _unscored(entries: Sequence[RecordedRequest], router: ModelRouter) -> Replayed:
    """Direct and Weighted: of a weighted router the mean over its coin, request by request."""
    pools, shares = router.strategy_pools, _shares(router)
    check_sample(entries, pools)
    rows = [[entry.stage(pool) for pool in pools] for entry in entries]
    kept = [row for row in rows if all(stage is not None and stage.quality is not None for stage in row)]
    if not kept:
        raise ConfigError(
            "log",
            f"has no request with a quality from each of the pools {', '.join(pools)}: record it with"
            " `pilotfish record`, from prompts that have a `check`",
        )

    def each(name: str) -> Floats:
        return np.array([[getattr(stage, name) or 0.0 for stage in row] for row in kept], np.float64)

    cost, seconds = each("cost"), each("seconds")
    slowest = np.percentile(seconds, 95, weights=np.broadcast_to(shares, seconds.shape), method="inverted_cdf")
    return Replayed(
        router.name,
        len(kept),
        _interval(each("quality") @ shares),
        _interval(1000 * cost @ shares),
        float(1 - shares[0]),
        _interval(seconds @ shares),
        float(slowest),
        tuple(
            StageSummary(pool, float(share), float(seconds[:, place].mean()), 1000 * float(cost[:, place].mean()))
            for place, (pool, share) in enumerate(zip(pools, shares, strict=True))
        ),
    )


def _shares(router: ModelRouter) -> Floats:
    """The probability with which a Direct or Weighted router chooses each of its pools."""
    weights = np.zeros(len(router.strategy_pools))
    for use in router.strategy_uses:
        weights[router.strategy_pools.index(use.name)] += 1 if use.weight is None else use.weight
    return np.asarray(weights / weights.sum(), np.float64)


def _stage(pool: str, place: int, simulated: Simulated) -> StageSummary:
    here = simulated.pool == place
    if not here.any():
        return StageSummary(pool, 0.0, 0.0, 0.0)
    return StageSummary(
        pool, float(here.mean()), float(simulated.seconds[here].mean()), 1000 * float(simulated.cost[here].mean())
    )


def _interval(values: Floats) -> Interval:
    return float(values.mean()), *mean_interval(values, 0.95)


def estimate(
    entries: Sequence[RecordedRequest], router: ModelRouter, registry: Registry, artifacts: Mapping[int, bytes]
) -> tuple[Estimate, ...]:
    """The router's mean quality from a log of single answers with propensities: IPS, self-normalised, doubly robust.

    Requests that its scorers learned from do not count. The last is left out unless it is known of nearly all requests
    what the router would do. Raises ConfigError where too few requests carry an action, its propensity and its quality,
    or more than `MOST_UNSUPPORTED` of them had no chance of the answer that the router would give.
    """
    fresh = not_learned_from(entries, router, registry, artifacts)
    usable = [entry for entry in fresh if entry.propensity is not None and _quality(entry) is not None]
    if len(usable) < FEWEST_EXAMPLES:
        raise ConfigError(
            "log", f"{len(usable)} requests have action, propensity and quality, but {FEWEST_EXAMPLES} are needed"
        )
    pools, rows = router.strategy_pools, np.arange(len(usable))
    scores, chances = _chances(usable, router, registry, artifacts)
    # An action that is none of the router's pools stands in a place of its own, which the router never takes.
    action = np.array([pools.index(entry.action) if entry.action in pools else len(pools) for entry in usable])
    wanted = np.column_stack([chances, np.zeros(len(usable))])[rows, action]
    reward = np.array([_quality(entry) for entry in usable], np.float64)
    logged = Logged(action, np.array([entry.propensity for entry in usable], np.float64), reward)
    _require_support(unsupported(logged, wanted), len(usable), router)
    found = (ips(logged, wanted), snips(logged, wanted))
    undecided = np.isnan(chances).any(axis=1)
    if undecided.mean() > MOST_UNSUPPORTED:
        return found
    model = _reward_model(scores, action, reward, len(pools) + 1)
    expected = (np.nan_to_num(chances) * model[:, :-1]).sum(axis=1)
    return (*found, doubly_robust(logged, wanted, expected, model[rows, action]))


def _chances(
    entries: Sequence[RecordedRequest], router: ModelRouter, registry: Registry, artifacts: Mapping[int, bytes]
) -> tuple[Integers, Floats]:
    """Scores [n, k - 1] and the chance [n, k] with which the router takes each of its pools; not a number where it
    rests on the score of a stage that was not asked, or failed.
    """
    if not router.scorers:
        shares = _shares(router)
        return np.zeros((len(entries), 0), np.int64), np.tile(shares, (len(entries), 1))
    judged = scored(entries)
    scores = score_all(judged, router, registry, artifacts)
    known = np.ones(scores.shape, bool)
    if router.spec.strategy.cascade:
        known = np.array([[entry.stage(pool) is not None for pool in router.strategy_pools[:-1]] for entry in judged])
    return scores, decided(scores, known, router.thresholds)


def _require_support(missing: float, requests: int, router: ModelRouter) -> None:
    if missing > MOST_UNSUPPORTED:
        raise ConfigError(
            "log",
            f"has no information about what router {router.name!r} does with {missing:.0%} of {requests} requests:"
            " their answer was the only possible one, or the score that decides is missing. Set spec.exploration of the"
            " router that writes the log, which covers thresholds above its own, or record every pool's answers with"
            " `pilotfish record`",
        )


def _quality(entry: RecordedRequest) -> float | None:
    stage = entry.stage(entry.action) if entry.action else None
    return stage.quality if stage else None


def _reward_model(scores: Integers, action: Integers, reward: Floats, pools: int, folds: int = 5) -> Floats:
    """Expected quality [n, pools] by ridge regression on the scores, each request predicted by a fit without its
    fold.
    """
    features = np.column_stack([np.ones(len(scores)), scores / 1000])
    model = np.full((len(scores), pools), reward.mean())
    fold = np.random.default_rng(1).permutation(len(scores)) % folds
    penalty = np.diag([1e-6] + [1.0] * scores.shape[1])
    for held in range(folds):
        for pool in range(pools):
            seen = (fold != held) & (action == pool)
            if seen.sum() > 1:
                known = features[seen]
                weights = np.linalg.solve(known.T @ known + penalty, known.T @ reward[seen])
                model[fold == held, pool] = features[fold == held] @ weights
    return np.clip(model, 0.0, 1.0)
