"""Explains a route: every pool is asked, answers are judged whole, and none is sent to the client."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from pilotfish.base.errors import RequestError
from pilotfish.gateway.exchange import Exchange
from pilotfish.gateway.judges import Judge
from pilotfish.gateway.report import details, stage_object
from pilotfish.gateway.stages import StageRun
from pilotfish.plugin_api.scorers import Explaining
from pilotfish.routing.cascade import Verdict
from pilotfish.routing.plan import Plan


async def explanation(exchange: Exchange, plan: Plan) -> dict[str, Any]:
    """Each stage with its answer, score and cost, and which one would have answered.

    `alternatives` are the pools of the strategy that the plan leaves out, with what they answer and at which cost.
    """
    judged = zip_longest(plan.steps, exchange.route.judges)
    last = len(plan.steps) - 1
    stages = [
        await _stage(exchange, step.pool, judge, escalates=place < last) for place, (step, judge) in enumerate(judged)
    ]
    chosen = next((stage for stage in stages if stage["verdict"] == Verdict.ACCEPTED.value), None)
    alternatives = [await _stage(exchange, pool, None) for pool in _others(exchange, plan)]
    return {
        "route": exchange.route.name,
        "strategy": exchange.route.strategy,
        "answered_by": chosen["pool"] if chosen else None,
        "stages": stages,
        **({"alternatives": alternatives} if alternatives else {}),
        **_effects(exchange),
        **details(exchange.record),
        **_prediction(exchange),
    }


def plugin_answer(exchange: Exchange) -> dict[str, Any]:
    """The explanation of a request that a plugin answers. No pool is asked."""
    route = exchange.route
    return {
        "route": route.name,
        "strategy": route.strategy,
        "answered_by": None,
        "stages": [],
        **_effects(exchange),
        **details(exchange.record),
    }


def _effects(exchange: Exchange) -> dict[str, Any]:
    """What each plugin made of what is asked, in order: of a call of a pool, with the pool. And a warning."""
    stale = exchange.route.stale
    return {
        **({"warning": stale} if stale else {}),
        **({"adaptations": exchange.record.effects} if exchange.record.effects else {}),
    }


def _others(exchange: Exchange, plan: Plan) -> list[str]:
    asked = {step.pool for step in plan.steps}
    router = exchange.route.router
    return [name for name in router.strategy_pools if name not in asked] if router else []


def _prediction(exchange: Exchange) -> dict[str, Any]:
    """The prediction with its thresholds, and what its score rests on where the scorer can explain it."""
    route, prediction = exchange.route, exchange.record.details.get("prediction")
    predictive = route.router.spec.strategy.predictive if route.router else None
    if prediction is None or predictive is None:
        return {}
    scorer: object = route.prompt_scorer
    more: Mapping[str, Any] = {}
    if isinstance(scorer, Explaining):
        more = scorer.explain(question=exchange.request.question)
    thresholds = {
        candidate.pool_ref.name: candidate.threshold_permille
        for candidate in predictive.candidates
        if candidate.threshold_permille is not None
    }
    return {"prediction": {**prediction, "thresholds": thresholds, "details": {**prediction["details"], **more}}}


async def _stage(exchange: Exchange, pool: str, judge: Judge | None, *, escalates: bool = False) -> dict[str, Any]:
    try:
        with StageRun.begin(exchange, pool, judge) as stage:
            found = await stage.explained(escalates=escalates)
    except RequestError:
        return stage_object(exchange.record.stages[-1])
    return {
        **stage_object(stage.record),
        **found,
        "scorer": stage.record.scorer,
        "details": dict(stage.record.decision.details),
    }
