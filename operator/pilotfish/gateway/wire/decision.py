"""How a decision is told: headers before the first byte, a `pilotfish` object beside `usage` at the end."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import prod
from typing import Any

from pilotfish.routing.cascade import Decision, Ground, Verdict
from pilotfish.routing.cost import Usage

TAKEN = Decision(Verdict.ACCEPTED, Ground.LAST_STAGE)


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount of money."""

    currency: str
    amount: Decimal

    def as_object(self) -> dict[str, str]:
        """As it stands in an answer: amounts are decimal texts."""
        return {"currency": self.currency, "amount": format(self.amount.quantize(Decimal("1e-9")).normalize(), "f")}


@dataclass(slots=True)
class StageRecord:
    """One stage that ran, filled in as it runs."""

    pool: str
    decision: Decision = TAKEN
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    cost: Cost | None = None
    energy_wh: float | None = None
    error: str | None = None
    answer: str | None = None
    """Its text, where all of it was read here."""

    def as_object(self) -> dict[str, Any]:
        """The stage's part of the `pilotfish` object; what is not known is left out."""
        told = {
            "pool": self.pool,
            "verdict": self.decision.verdict.value,
            "ground": self.decision.ground.value,
            "score": self.decision.score,
            "threshold": self.decision.threshold,
            "judged_tokens": self.decision.tokens if self.decision.score is not None else None,
            "prompt_tokens": self.usage.prompt_tokens,
            "completion_tokens": self.usage.completion_tokens,
            "seconds": round(self.seconds, 4),
            "cost": self.cost.as_object() if self.cost else None,
            "energy_wh": round(self.energy_wh, 6) if self.energy_wh is not None else None,
            "error": self.error,
        }
        return {name: value for name, value in told.items() if value is not None}


@dataclass(slots=True)
class Trail:
    """The stages of one request, in the order in which they ran, and what scorers asked of pools.

    `id` is one that no other request has, whatever clients send; `drawn` is the chance with which it got its plan.
    """

    route: str
    strategy: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    stages: list[StageRecord] = field(default_factory=list)
    scorer_calls: list[StageRecord] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    drawn: float = 1.0

    @property
    def propensity(self) -> float | None:
        """The chance with which the request took this way, given the answers: 1 where nothing was drawn.

        None where a stage failed: who answered in its place was not drawn.
        """
        if any(stage.error for stage in self.stages):
            return None
        return self.drawn * prod(stage.decision.propensity for stage in self.stages)

    @property
    def escalated(self) -> bool:
        """Whether another stage than the first one answers."""
        return len(self.stages) > 1

    @property
    def tokens(self) -> int:
        """What all calls read and wrote."""
        usages = [call.usage for call in (*self.stages, *self.scorer_calls)]
        return sum((usage.prompt_tokens or 0) + (usage.completion_tokens or 0) for usage in usages)

    def headers(self) -> dict[str, str]:
        """What is known before the first byte. Scores stand in the order of the stages that were judged."""
        scores = [str(stage.decision.score) for stage in self.stages if stage.decision.score is not None]
        headers = {
            "x-pilotfish-id": self.id,
            "x-pilotfish-route": self.route,
            "x-pilotfish-stages": ",".join(stage.pool for stage in self.stages),
            "x-pilotfish-escalated": "true" if self.escalated else "false",
        }
        if scores:
            headers["x-pilotfish-score"] = ",".join(scores)
        return headers

    def as_object(self) -> dict[str, Any]:
        """The `pilotfish` object of an answer."""
        total = total_cost((*self.stages, *self.scorer_calls))
        return {
            "id": self.id,
            "route": self.route,
            "strategy": self.strategy,
            "answered_by": self.stages[-1].pool if self.stages else None,
            "escalated": self.escalated,
            "stages": [stage.as_object() for stage in self.stages],
            **({"cost": total.as_object()} if total else {}),
            **self.more(),
        }

    def more(self) -> dict[str, Any]:
        """What there is to tell besides stages: scorers' calls, where there were any, and `details`."""
        calls = [call.as_object() for call in self.scorer_calls]
        return {**({"scorer_calls": calls} if calls else {}), **self.details}


def total_cost(calls: Sequence[StageRecord]) -> Cost | None:
    """The sum, where every priced call has the same currency; None where there is none or they differ."""
    costs = [call.cost for call in calls if call.cost]
    if len({cost.currency for cost in costs}) != 1:
        return None
    return Cost(costs[0].currency, sum((cost.amount for cost in costs), Decimal(0)))
