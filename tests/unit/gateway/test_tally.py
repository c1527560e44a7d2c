"""What a router's requests took, counted."""

from decimal import Decimal

from pilotfish.gateway.tally import Tally
from pilotfish.gateway.wire.decision import Cost, StageRecord, Trail
from pilotfish.routing.figures import Totals


def trail(*stages: tuple[str, str, str], calls: tuple[tuple[str, str], ...] = ()) -> Trail:
    """Stages as (pool, currency, amount), calls of a scorer as (currency, amount)."""
    records = [StageRecord(pool, cost=Cost(currency, Decimal(amount))) for pool, currency, amount in stages]
    asked = [StageRecord("judge", cost=Cost(currency, Decimal(amount))) for currency, amount in calls]
    return Trail("r", "Cascade", stages=records, scorer_calls=asked)


def test_spend_is_told_apart_by_pool_and_counts_in_the_objectives_currency_alone() -> None:
    tally = Tally("small", currency="USD")
    tally.count(trail(("small", "USD", "0.5"), calls=(("USD", "0.25"), ("EUR", "8"))), 1.0)
    tally.count(trail(("small", "USD", "0.5"), ("large", "USD", "2")), 1.0)
    tally.count(trail(("large", "USD", "3")), 1.0)
    tally.count(trail(("small", "EUR", "7")), 1.0)
    assert tally.totals == Totals(requests=4, escalated=2, small_spend=1.25, large_spend=5.0)
    tally.spend(trail(("small", "USD", "0.5"), ("large", "USD", "2"), calls=(("USD", "0.25"),)))
    assert tally.totals == Totals(requests=4, escalated=2, small_spend=2.0, large_spend=7.0)


def test_a_request_is_slow_when_it_took_longer_than_the_objective_says() -> None:
    tally = Tally("small", slow_seconds=0.5)
    for seconds in (0.1, 0.5, 0.51, 9.0):
        tally.count(trail(("small", "USD", "1")), seconds)
    assert tally.totals == Totals(requests=4, slow=2)


def test_a_request_that_no_pool_answered_is_a_request() -> None:
    tally = Tally("small", currency="USD", slow_seconds=1.0)
    tally.count(trail(), 2.0)
    assert tally.totals == Totals(requests=1, slow=1)
