"""How pools share a budget: minimums first, then what serves the most load for its price."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from pilotfish.base.keys import Key
from pilotfish.reconcile.budget import Claim, allotments


def claim(name, minimum, needed, current, price):
    return Claim(Key("ModelPool", "team", name), minimum, needed, current, Decimal(price))


def by_name(claims, per_hour):
    return {key.name: replicas for key, replicas in allotments(claims, Decimal(per_hour)).items()}


CLAIMS = st.lists(
    st.builds(
        claim,
        st.uuids().map(str),
        st.integers(0, 3),
        st.floats(0, 20),
        st.integers(0, 20),
        st.decimals("0.1", "9", places=1).map(str),
    ),
    max_size=6,
    unique_by=lambda each: each.key,
)


@given(CLAIMS, st.decimals("0", "200", places=1))
def test_the_budget_holds_above_the_minimums(claims, per_hour):
    given_ = allotments(claims, per_hour)
    assert all(given_[each.key] >= each.minimum for each in claims)
    above = sum(each.price * (given_[each.key] - each.minimum) for each in claims)
    minimums = sum(each.price * each.minimum for each in claims)
    assert above == 0 or minimums + above <= per_hour


@given(CLAIMS, st.decimals("0", "200", places=1))
def test_what_the_load_needs_comes_before_what_only_runs(claims, per_hour):
    given_ = allotments(claims, per_hour)
    left = per_hour - sum(each.price * given_[each.key] for each in claims)
    lacking = [each for each in claims if given_[each.key] < each.needed]
    assert not [each for each in lacking if each.price <= left]


def test_a_replica_goes_to_the_most_unmet_load_for_its_price():
    pools = [claim("small", 1, 4.0, 1, "1"), claim("large", 1, 2.0, 1, "4")]
    assert by_name(pools, "8") == {"small": 4, "large": 1}
    assert by_name(pools, "12") == {"small": 4, "large": 2}
    assert by_name([claim("small", 1, 1.0, 3, "1"), claim("large", 1, 2.0, 1, "4")], "10") == {"small": 2, "large": 2}


def test_a_pool_without_a_price_is_not_limited():
    assert by_name([claim("free", 1, 9.0, 1, "0"), claim("paid", 0, 2.0, 0, "1")], "1") == {"paid": 1}
