from hypothesis import given
from hypothesis import strategies as st

from pilotfish.base.keys import Key
from pilotfish.routing.gateway_usage import MOST_INSTANCES, GatewayUsage, RouterUsage, Totals, UsageDeltas

ROUTER = Key("ModelRouter", "team", "r")


def gateway(instance, requests, *, seconds=10.0, router=ROUTER):
    return GatewayUsage(
        instance=instance,
        seconds=seconds,
        routers={router: RouterUsage(totals=Totals(requests=requests, small_spend=float(requests)))},
    )


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=30))
def test_whatever_answers_are_missed_each_request_counts_once(rounds):
    """The last round is always heard."""
    ledger, total, seen = UsageDeltas(), 0, 0
    rounds[-1] = (rounds[-1][0], True)
    for at, (more, heard) in enumerate(rounds):
        total += more
        if heard:
            new = ledger.take([gateway("a", total, seconds=at)], seconds=100.0)
            seen += new[ROUTER].requests
    assert seen == total


def test_of_an_older_gateway_only_what_comes_is_counted_and_of_a_younger_one_all():
    ledger = UsageDeltas()
    assert ledger.take([gateway("old", 1000, seconds=99.0)], seconds=5.0)[ROUTER].requests == 0
    assert ledger.take([gateway("old", 1004, seconds=101.0)], seconds=7.0)[ROUTER].requests == 4
    both = [gateway("old", 1005, seconds=103.0), gateway("young", 7, seconds=1.0)]
    assert ledger.take(both, seconds=9.0)[ROUTER] == Totals(requests=8, small_spend=8.0)


def test_counters_that_begin_anew_count_from_nothing():
    ledger = UsageDeltas()
    ledger.take([gateway("a", 50)], seconds=100.0)
    assert ledger.take([gateway("a", 3)], seconds=102.0)[ROUTER].requests == 3


def test_gateways_that_are_long_gone_are_forgotten():
    ledger = UsageDeltas()
    for number in range(MOST_INSTANCES + 5):
        ledger.take([gateway(f"g{number}", 1), gateway("stays", number)], seconds=1e6)
    assert ledger.take([gateway("stays", 400)], seconds=1e6)[ROUTER].requests == 400 - (MOST_INSTANCES + 4)


def test_what_another_version_adds_is_no_fault_and_what_it_lacks_neither():
    told = {"pools": {"team/small": 3}, "instance": "a", "seconds": 1.5, "weather": "fine"}
    assert GatewayUsage.model_validate(told).instance == "a"
    assert GatewayUsage.model_validate({"pools": {}}) == GatewayUsage()
