"""Why a request is answered as it is: every pool is asked, answers are judged whole, and nothing is passed on."""

from typing import Any

from pilotfish.base.errors import RequestError
from pilotfish.gateway.stages import Run
from pilotfish.gateway.wire.whole import answer_text
from pilotfish.plugin_api.scorers import Explaining
from pilotfish.routing.cascade import Verdict
from pilotfish.routing.plan import Plan, Step


async def explanation(run: Run, plan: Plan) -> dict[str, Any]:
    """Each stage with its answer, score and cost; which one would have answered; what the pools that it would not
    have come to had said, and at which cost; what the scores rest on.
    """
    told = [await _stage(run, step) for step in plan.steps]
    chosen = next((stage for stage in told if stage["verdict"] == Verdict.ACCEPTED.value), None)
    alternatives = [await _stage(run, step) for step in _others(run, plan)]
    return {
        "route": run.route.name,
        "strategy": run.route.strategy,
        "answered_by": chosen["pool"] if chosen else None,
        "stages": told,
        **({"alternatives": alternatives} if alternatives else {}),
        **run.trail.more(),
        **_prediction(run),
    }


def _others(run: Run, plan: Plan) -> list[Step]:
    """Pools of the strategy that the plan leaves out."""
    asked = {step.pool for step in plan.steps}
    router = run.route.router
    return [Step(name) for name in router.strategy_pools if name not in asked] if router else []


def _prediction(run: Run) -> dict[str, Any]:
    """The prediction with its thresholds, and what its score rests on where the scorer can tell."""
    router, told = run.route.router, run.trail.details.get("prediction")
    predictive = router.spec.strategy.predictive if router else None
    if told is None or predictive is None:
        return {}
    scorer = run.route.scorer(predictive.scorer)
    more = scorer.explain(question=run.request.question) if isinstance(scorer, Explaining) else {}
    thresholds = {
        candidate.pool_ref.name: candidate.threshold_permille
        for candidate in predictive.candidates
        if candidate.threshold_permille is not None
    }
    return {"prediction": {**told, "thresholds": thresholds, "details": {**told["details"], **more}}}


async def _stage(run: Run, step: Step) -> dict[str, Any]:
    answer: dict[str, Any] = {"choices": []}
    try:
        with run.enter(step) as stage:
            answer = await stage.whole(step.accept)
    except RequestError:
        return run.trail.stages[-1].as_object()
    record = run.trail.stages[-1]
    return {
        **record.as_object(),
        "answer": answer_text(answer),
        "scorer": step.accept.scorer.name if step.accept else None,
        "details": dict(record.decision.details),
    }
