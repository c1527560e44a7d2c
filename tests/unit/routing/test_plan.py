"""Shares, limits, load and cost, as numbers."""

from collections import Counter
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from pilotfish.api.common import PoolRef
from pilotfish.api.modelpool import Pricing
from pilotfish.api.strategy import WeightedPool
from pilotfish.routing.balance import by_load
from pilotfish.routing.cost import Usage, stage_cost
from pilotfish.routing.limits import RateLimit
from pilotfish.routing.plan import explored_candidates, weighted_choice
from pilotfish.routing.snapshot import Endpoint

weights = st.lists(st.integers(0, 5), min_size=1, max_size=5).filter(any)


@given(weights, st.sets(st.integers(0, 4)))
def test_weights_are_shares_of_those_that_answer(shares: list[int], alive: set[int]) -> None:
    pools = [WeightedPool(pool_ref=PoolRef(name=f"p{i}"), weight=weight) for i, weight in enumerate(shares)]
    answering = frozenset(f"p{i}" for i in alive)
    steps = 600
    chosen = [weighted_choice(pools, answering, (step + 0.5) / steps) for step in range(steps)]
    seen = Counter(name for name, _ in chosen)
    live = {pool.pool_ref.name: pool.weight for pool in pools if pool.weight and pool.pool_ref.name in answering}
    shared = live or {pool.pool_ref.name: pool.weight for pool in pools if pool.weight}
    total = sum(shared.values())
    assert set(seen) == set(shared)
    for name, weight in shared.items():
        assert abs(seen[name] - steps * weight / total) <= 1
    assert all(chance == shared[name] / total for name, chance in chosen)


@given(st.integers(1, 500), st.lists(st.floats(0, 10), max_size=300))
def test_no_minute_sees_more_than_twice_its_limit_and_waiting_as_told_helps(limit: int, gaps: list[float]) -> None:
    bucket = RateLimit(limit, None, 0.0)
    now, admitted = 0.0, []
    for gap in gaps:
        now += gap
        wait = bucket.admit(0, now)
        if wait:
            now += wait
            assert bucket.admit(0, now) == 0
        admitted.append(now)
    for end in admitted:
        assert sum(end - 60 < at <= end for at in admitted) <= 2 * limit


def test_tokens_are_counted_when_known_and_close_the_gate_for_as_long_as_they_need() -> None:
    limit = RateLimit(None, 600, 0.0)
    assert limit.admit(0, 0.0) == 0
    limit.settle(0, 900, 0.0)
    wait = limit.admit(0, 0.0)
    assert wait == 31
    assert limit.admit(0, wait) == 0


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(0, 100))
def test_the_least_busy_address_comes_first_and_idle_ones_take_turns(loads: list[int], turn: int) -> None:
    endpoints = [Endpoint(f"http://e{i}/v1") for i in range(len(loads))]
    in_flight = {endpoint.base_url: load for endpoint, load in zip(endpoints, loads, strict=True)}
    ordered = by_load(endpoints, in_flight, turn)
    assert [in_flight[e.base_url] for e in ordered] == sorted(loads)
    idle = dict.fromkeys(in_flight, 0)
    firsts = {by_load(endpoints, idle, t)[0].base_url for t in range(turn, turn + len(endpoints))}
    assert len(firsts) == len(endpoints)


def test_cost_is_exact_and_divides_a_replica_s_time() -> None:
    pricing = Pricing(
        currency="USD", per_replica_hour="7.20", per_million_input_tokens="3.00", per_million_output_tokens="15.00"
    )
    alone = stage_cost(pricing, Usage(1000, 200), 0.5, 1)
    assert alone == Decimal("0.003") + Decimal("0.003") + Decimal("0.001")
    assert stage_cost(pricing, Usage(), 0.5, 4) == Decimal("0.00025")


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=4, unique=True), st.integers(0, 100))
def test_exploration_passes_over_its_share_of_choices_and_never_the_last_candidate(
    names: list[str], permille: int
) -> None:
    chance = permille if len(names) > 1 else 0
    for step in range(1000):
        passed_over = step < chance
        expected = (names[1:], chance / 1000) if passed_over else (names, 1 - chance / 1000)
        assert explored_candidates(names, permille, step / 1000) == expected
