"""What a client sees of the decisions: headers before the first byte, the `pilotfish` object at the answer's end."""

from decimal import Decimal
from typing import Any

from pilotfish.gateway.records import Cost, RequestRecord, StageRecord


def headers(record: RequestRecord) -> dict[str, str]:
    """What is known before the first byte. Scores are in the order of the stages that were judged."""
    scores = [str(stage.decision.score) for stage in record.stages if stage.decision.score is not None]
    known = {
        "x-pilotfish-id": record.id,
        "x-pilotfish-route": record.route,
        "x-pilotfish-stages": ",".join(stage.pool for stage in record.stages),
        "x-pilotfish-escalated": "true" if record.escalated else "false",
    }
    return {**known, "x-pilotfish-score": ",".join(scores)} if scores else known


def pilotfish_object(record: RequestRecord) -> dict[str, Any]:
    """The `pilotfish` object of an answer."""
    cost = record.cost
    return {
        "id": record.id,
        "route": record.route,
        "strategy": record.strategy,
        "answered_by": record.stages[-1].pool if record.stages else None,
        "escalated": record.escalated,
        "stages": [stage_object(stage) for stage in record.stages],
        **({"cost": cost_object(cost)} if cost else {}),
        **details(record),
    }


def details(record: RequestRecord) -> dict[str, Any]:
    """Everything besides stages and cost: calls of scorers and plugins, where there were any, and details."""
    calls = {"scorer_calls": record.scorer_calls, "plugin_calls": record.plugin_calls}
    return {**{name: [stage_object(call) for call in made] for name, made in calls.items() if made}, **record.details}


def stage_object(stage: StageRecord) -> dict[str, Any]:
    """One stage of the `pilotfish` object, without what is not known."""
    known = {
        "pool": stage.pool,
        "verdict": stage.decision.verdict,
        "ground": stage.decision.ground,
        "score": stage.decision.score,
        "threshold": stage.decision.threshold,
        "judged_tokens": stage.decision.tokens if stage.decision.score is not None else None,
        "prompt_tokens": stage.usage.prompt_tokens,
        "completion_tokens": stage.usage.completion_tokens,
        "seconds": round(stage.seconds, 4),
        "cost": cost_object(stage.cost) if stage.cost else None,
        "energy_wh": round(stage.energy_wh, 6) if stage.energy_wh is not None else None,
        "error": stage.error,
        "plugin": stage.plugin,
        "reason": stage.reason,
        "notes": stage.notes or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def cost_object(cost: Cost) -> dict[str, str]:
    """Currency and amount, a decimal string."""
    return {"currency": cost.currency, "amount": format(cost.amount.quantize(Decimal("1e-9")).normalize(), "f")}
