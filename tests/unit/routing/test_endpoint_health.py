"""Ejection of addresses that fail: which come last, for how long, and how often calls may be made again."""

from hypothesis import given
from hypothesis import strategies as st

from pilotfish.routing.endpoint_health import (
    FAILURES_IN_A_ROW,
    FIRST_EJECTION_SECONDS,
    LONGEST_EJECTION_SECONDS,
    MOST_SAVED_RETRIES,
    EndpointHealth,
)
from pilotfish.routing.snapshot import Endpoint

A, B, C = (Endpoint(f"http://{name}/v1") for name in "abc")


def fail(health: EndpointHealth, endpoint: Endpoint, now: float, times: int = FAILURES_IN_A_ROW) -> None:
    for _ in range(times):
        health.failed(endpoint.base_url, now)


def test_an_address_comes_last_after_several_failures_in_a_row_and_returns():
    health = EndpointHealth()
    fail(health, A, 0.0, FAILURES_IN_A_ROW - 1)
    assert health.preferred([A, B], 0.0) == [A, B]
    fail(health, A, 0.0, 1)
    assert health.preferred([A, B], 0.0) == [B, A]
    assert health.preferred([A, B], FIRST_EJECTION_SECONDS) == [A, B]


def test_each_ejection_takes_twice_as_long_until_an_answer_comes():
    health, now, taken = EndpointHealth(), 0.0, []
    fail(health, A, now)
    for _ in range(10):
        ends = now
        while health.preferred([A, B], ends) == [B, A]:
            ends += 0.5
        taken.append(ends - now)
        now = ends
        fail(health, A, now, 1)
    assert taken[:3] == [1.0, 2.0, 4.0]
    assert max(taken) == LONGEST_EJECTION_SECONDS
    health.succeeded(A.base_url)
    fail(health, A, now, 1)
    assert health.preferred([A, B], now) == [A, B]


def test_failures_of_calls_from_before_an_ejection_do_not_lengthen_it():
    health = EndpointHealth()
    fail(health, A, 0.0, 50)
    assert health.preferred([A, B], FIRST_EJECTION_SECONDS) == [A, B]


@given(st.lists(st.sampled_from("abcdef"), max_size=6, unique=True), st.integers(0, 6))
def test_every_address_stays_and_at_most_half_come_last(names: list[str], failing: int):
    health = EndpointHealth()
    endpoints = [Endpoint(f"http://{name}/v1") for name in names]
    for endpoint in endpoints[:failing]:
        fail(health, endpoint, 0.0)
    ordered = health.preferred(endpoints, 0.5)
    assert sorted(each.base_url for each in ordered) == sorted(each.base_url for each in endpoints)
    kept = len(endpoints) - min(failing, len(endpoints) // 2)
    assert [each for each in endpoints if each in ordered[:kept]] == list(ordered[:kept])


def test_calls_are_made_again_only_for_a_share_of_all_calls():
    health = EndpointHealth()
    retried = 0
    for _ in range(1000):
        health.failed(A.base_url, 0.0)
        retried += health.may_retry(A.base_url)
    assert retried <= MOST_SAVED_RETRIES + 200
