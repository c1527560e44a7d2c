"""How the pools of one policy share its budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from pilotfish.api import AutoscalingPolicy, ModelPool
from pilotfish.base.keys import Key


@dataclass(frozen=True)
class Claim:
    """What one pool would like to run: its minimum, the replicas that its load fills, and those that it has.

    `price` is that of one replica for one hour. `needed` is not rounded: 1.2 replicas leave most of a second one idle.
    """

    key: Key
    minimum: int
    needed: float
    current: int
    price: Decimal


def allotments(claims: Sequence[Claim], per_hour: Decimal) -> dict[Key, int]:
    """The most replicas of each pool so that all of them cost at most `per_hour`.

    The minimums come first, also where they cost more. Then replicas are added one by one, to the pool in which one
    serves the most unmet load for its price. What is left keeps replicas that run but are not needed now. Pools without
    a price are not limited.
    """
    paid = [claim for claim in claims if claim.price > 0]
    replicas = {claim.key: claim.minimum for claim in paid}
    left = per_hour - sum((claim.price * claim.minimum for claim in paid), Decimal(0))
    for wanted in (lambda claim: claim.needed, lambda claim: float(claim.current)):
        while True:
            open_ = [c for c in paid if c.price <= left and wanted(c) > replicas[c.key]]
            if not open_:
                break
            best = max(open_, key=lambda c: (min(1.0, wanted(c) - replicas[c.key]) / float(c.price), str(c.key)))
            replicas[best.key] += 1
            left -= best.price
    return replicas


def price_of(pool: ModelPool, policy: AutoscalingPolicy) -> Decimal:
    """The price of a replica for one hour in the budget's currency; 0 for a pool that has none in it."""
    pricing, budget = pool.spec.pricing, policy.spec.budget
    if budget is None or pricing is None or pricing.per_replica_hour is None or pricing.currency != budget.currency:
        return Decimal(0)
    return Decimal(pricing.per_replica_hour)
