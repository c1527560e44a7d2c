"""What a router's requests took, counted."""

from decimal import Decimal

from pilotfish.gateway.records import Cost, RequestRecord, StageRecord
from pilotfish.gateway.usage_counters import UsageCounters
from pilotfish.routing.gateway_usage import Totals


def record(*stages: tuple[str, str, str], calls: tuple[tuple[str, str], ...] = ()) -> RequestRecord:
    """Stages as (pool, currency, amount), calls of a scorer as (currency, amount)."""
    records = [StageRecord(pool, cost=Cost(currency, Decimal(amount))) for pool, currency, amount in stages]
    asked = [StageRecord("judge", cost=Cost(currency, Decimal(amount))) for currency, amount in calls]
    return RequestRecord("r", "Cascade", stages=records, scorer_calls=asked)


def test_spend_is_counted_by_pool_and_in_the_objectives_currency_alone() -> None:
    counters = UsageCounters("small", currency="USD")
    counters.count(record(("small", "USD", "0.5"), calls=(("USD", "0.25"), ("EUR", "8"))), 1.0)
    counters.count(record(("small", "USD", "0.5"), ("large", "USD", "2")), 1.0)
    counters.count(record(("large", "USD", "3")), 1.0)
    counters.count(record(("small", "EUR", "7")), 1.0)
    assert counters.totals == Totals(requests=4, escalated=2, small_spend=1.25, large_spend=5.0)
    counters.spend(record(("small", "USD", "0.5"), ("large", "USD", "2"), calls=(("USD", "0.25"),)))
    assert counters.totals == Totals(requests=4, escalated=2, small_spend=2.0, large_spend=7.0)


def test_a_request_is_slow_when_it_took_longer_than_the_objective_says() -> None:
    counters = UsageCounters("small", slow_seconds=0.5)
    for seconds in (0.1, 0.5, 0.51, 9.0):
        counters.count(record(("small", "USD", "1")), seconds)
    assert counters.totals == Totals(requests=4, slow=2)


def test_a_request_that_no_pool_answered_is_a_request() -> None:
    counters = UsageCounters("small", currency="USD", slow_seconds=1.0)
    counters.count(record(), 2.0)
    assert counters.totals == Totals(requests=1, slow=1)
