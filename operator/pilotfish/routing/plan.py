"""From a router and a snapshot to the pools that a request may visit, in order."""

from collections.abc import Sequence
from dataclasses import dataclass

from pilotfish.api import ModelRouter
from pilotfish.api.strategy import Accept, Candidate, Streaming, WeightedPool


@dataclass(frozen=True, slots=True)
class Step:
    """One pool to ask. With `accept` its answer is judged; without, it is taken."""

    pool: str
    accept: Accept | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one request. Each is tried when the one before it failed or was not good enough.

    Fallback pools come last: the step before them takes any answer, so they are reached after failures, and
    where a plugin rejects its answer.
    `propensity` is the chance with which the request got this plan: 1 where nothing was drawn.
    """

    steps: tuple[Step, ...]
    streaming: Streaming = Streaming.EARLY_EXIT
    propensity: float = 1.0


def fixed_plan(router: ModelRouter) -> Plan | None:
    """The plan of a router whose steps do not depend on the request (Direct, Cascade); None for the others."""
    strategy = router.spec.strategy
    if strategy.direct:
        return with_fallback(router, [Step(strategy.direct.pool_ref.name)])
    if strategy.cascade:
        steps = [Step(stage.pool_ref.name, stage.accept) for stage in strategy.cascade.stages]
        return with_fallback(router, steps, strategy.cascade.streaming)
    return None


def with_fallback(
    router: ModelRouter,
    steps: Sequence[Step],
    streaming: Streaming = Streaming.EARLY_EXIT,
    propensity: float = 1.0,
) -> Plan:
    """The steps, and the router's fallback pools after them."""
    fallback = [Step(entry.pool_ref.name) for entry in router.spec.fallback]
    return Plan((*steps, *fallback), streaming, propensity)


def weighted_choice(pools: Sequence[WeightedPool], answering: frozenset[str], uniform: float) -> tuple[str, float]:
    """The pool at `uniform`, in [0, 1), of the weights, and the chance with which it is that one.

    Pools that do not answer have no share while any other does.
    """
    live = [pool for pool in pools if pool.weight > 0 and pool.pool_ref.name in answering]
    candidates = live or [pool for pool in pools if pool.weight > 0]
    total = sum(pool.weight for pool in candidates)
    mark = uniform * total
    chosen = candidates[-1].pool_ref.name
    for pool in candidates:
        mark -= pool.weight
        if mark < 0:
            chosen = pool.pool_ref.name
            break
    return chosen, sum(pool.weight for pool in candidates if pool.pool_ref.name == chosen) / total


def weighted_fallback(pools: Sequence[WeightedPool], answering: frozenset[str]) -> list[str]:
    """The pools that may take over from a chosen one that failed: those that answer, the largest weight first."""
    live = [pool for pool in pools if pool.weight > 0 and pool.pool_ref.name in answering]
    return [pool.pool_ref.name for pool in sorted(live, key=lambda pool: -pool.weight)]


def predictive_choice(candidates: Sequence[Candidate], permille: int) -> str:
    """The first candidate whose threshold the prompt's score reaches; the last one takes what is left."""
    for candidate in candidates:
        if candidate.threshold_permille is None or permille >= candidate.threshold_permille:
            return candidate.pool_ref.name
    return candidates[-1].pool_ref.name


def explored_candidates(names: Sequence[str], permille: int, uniform: float) -> tuple[Sequence[str], float]:
    """The candidates from the chosen one on, after exploration, and the chance with which it left them so.

    It passes over `permille` of choices that have a better candidate behind them; `uniform` is drawn from [0, 1).
    """
    chance = permille / 1000 if len(names) > 1 else 0.0
    return (names[1:], chance) if uniform < chance else (names, 1 - chance)
