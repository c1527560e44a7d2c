"""`pilotfish replay` without its files: what routers would have made of recorded requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pilotfish.api import ModelRouter
from pilotfish.base.errors import ConfigError
from pilotfish.calibrate.evaluate import evaluate, score_all
from pilotfish.calibrate.log import Entry
from pilotfish.calibrate.train import FEWEST_EXAMPLES
from pilotfish.plugins.registry import Registry
from pilotfish.routing.calibration.bounds import mean_interval
from pilotfish.routing.calibration.offpolicy import Estimate, Logged, doubly_robust, ips, snips
from pilotfish.routing.calibration.table import Integers, Played, Table, play
from pilotfish.routing.scorers.support import Floats

Interval = tuple[float, float, float]
"""Mean, and the ends of its 95% interval."""


@dataclass(frozen=True)
class StageTold:
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
    stages: tuple[StageTold, ...]


def replay(
    entries: Sequence[Entry], router: ModelRouter, registry: Registry, artifacts: Mapping[int, bytes]
) -> Replayed:
    """Let the router decide on every request that has the answers of all of its pools."""
    pools = router.strategy_pools
    if router.scorers:
        found = evaluate(entries, router, registry, artifacts)
        played = play(found.table, thresholds_of(router))
    else:
        played = _unscored(entries, router)
    stages = tuple(_stage(pool, place, played) for place, pool in enumerate(pools))
    return Replayed(
        router.name,
        len(played.pool),
        _interval(played.quality),
        _interval(1000 * played.cost),
        float((played.pool > 0).mean()),
        _interval(played.seconds),
        float(np.percentile(played.seconds, 95)),
        stages,
    )


def thresholds_of(router: ModelRouter) -> tuple[int, ...]:
    """The router's thresholds, in the order of its pools."""
    strategy = router.spec.strategy
    if strategy.cascade:
        return tuple(stage.accept.threshold_permille for stage in strategy.cascade.stages if stage.accept)
    if strategy.predictive:
        candidates = strategy.predictive.candidates[:-1]
        return tuple(candidate.threshold_permille or 0 for candidate in candidates)
    return ()


def _unscored(entries: Sequence[Entry], router: ModelRouter) -> Played:
    """Direct and Weighted: of a weighted router the mean over its coin, request by request."""
    weighted = router.spec.strategy.weighted
    pools = router.strategy_pools
    weights = np.array([pool.weight for pool in weighted.pools] if weighted else [1.0], np.float64)
    shares = weights / weights.sum()
    rows = [[entry.stage(pool) for pool in pools] for entry in entries]
    kept = [row for row in rows if all(stage is not None and stage.quality is not None for stage in row)]
    if not kept:
        raise ConfigError("log", f"holds no request that has a quality from each of the pools {', '.join(pools)}")

    def mean(name: str) -> Floats:
        values = np.array([[getattr(stage, name) or 0.0 for stage in row] for row in kept], np.float64)
        return np.asarray(values @ shares, np.float64)

    picked = np.random.default_rng(0).choice(len(pools), len(kept), p=shares)
    return Played(picked, mean("quality"), mean("cost"), mean("seconds"))


def _stage(pool: str, place: int, played: Played) -> StageTold:
    here = played.pool == place
    if not here.any():
        return StageTold(pool, 0.0, 0.0, 0.0)
    return StageTold(
        pool, float(here.mean()), float(played.seconds[here].mean()), 1000 * float(played.cost[here].mean())
    )


def _interval(values: Floats) -> Interval:
    return float(values.mean()), *mean_interval(values, 0.95)


def estimate(
    entries: Sequence[Entry], router: ModelRouter, registry: Registry, artifacts: Mapping[int, bytes]
) -> tuple[Estimate, ...]:
    """The router's mean quality from a log of single answers with propensities: IPS, self-normalised, doubly robust.

    Raises ConfigError where too few requests carry an action, its propensity and its quality.
    """
    pools = router.strategy_pools
    usable = [entry for entry in entries if _usable(entry, pools)]
    if len(usable) < FEWEST_EXAMPLES:
        raise ConfigError(
            "log", f"{len(usable)} requests carry action, propensity and quality; {FEWEST_EXAMPLES} are needed"
        )
    scores = score_all(usable, router, registry, artifacts)
    target = play(_blank(scores), thresholds_of(router)).pool
    action = np.array([pools.index(entry.action or "") for entry in usable])
    reward = np.array([_quality(entry) for entry in usable])
    logged = Logged(action, np.array([entry.propensity for entry in usable], np.float64), reward)
    wanted = (target == action).astype(np.float64)
    model = _reward_model(scores, action, reward, len(pools))
    rows = np.arange(len(usable))
    return (
        ips(logged, wanted),
        snips(logged, wanted),
        doubly_robust(logged, wanted, model[rows, target], model[rows, action]),
    )


def _usable(entry: Entry, pools: Sequence[str]) -> bool:
    if entry.action not in pools or entry.propensity is None:
        return False
    stage = entry.stage(entry.action or "")
    return stage is not None and stage.quality is not None


def _quality(entry: Entry) -> float:
    stage = entry.stage(entry.action or "")
    if stage is None or stage.quality is None:
        raise AssertionError("checked before")
    return stage.quality


def _blank(scores: Integers) -> Table:
    zeros = np.zeros((len(scores), scores.shape[1] + 1))
    return Table(scores, zeros, zeros, zeros)


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
