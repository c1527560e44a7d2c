"""Why a request is answered as it is: every stage is run to its end and judged, and nothing is passed on."""

from contextlib import AsyncExitStack
from typing import Any

from pilotfish.base.errors import RequestError
from pilotfish.gateway.stages import Run
from pilotfish.gateway.wire.whole import answer_text
from pilotfish.routing.cascade import Verdict
from pilotfish.routing.plan import Plan, Step


async def explanation(run: Run, plan: Plan) -> dict[str, Any]:
    """Each stage with its answer, score and cost; which one would have answered; what each alternative costs alone."""
    told = [await _stage(run, step) for step in plan.steps]
    chosen = next((stage for stage in told if stage["verdict"] == Verdict.ACCEPTED.value), None)
    return {
        "route": run.route.name,
        "strategy": run.route.strategy,
        "answered_by": chosen["pool"] if chosen else None,
        "stages": told,
        **run.trail.details,
    }


async def _stage(run: Run, step: Step) -> dict[str, Any]:
    answer: dict[str, Any] = {"choices": []}
    try:
        async with AsyncExitStack() as stack:
            stage = await run.enter(step, stack)
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
