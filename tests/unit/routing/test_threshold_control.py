import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.routing.threshold_control import (
    NEVER,
    ControlState,
    Measurement,
    ObjectiveReason,
    PeerState,
    Scores,
    ThresholdBounds,
    begin,
    latency_step,
    spend_step,
)

SCORES = Scores.of(list(range(0, 1000, 2)))
WIDE = ThresholdBounds(0, NEVER, 500)
SMALL, LARGE = 1.0, 9.0
STEP = 2.0


def served(random, thresholds, rate, shares=None):
    """What gateways with these thresholds do in one step of requests that arrive at random."""
    counts = random.poisson(np.array(shares or [1 / len(thresholds)] * len(thresholds)) * rate * STEP)
    escalated = sum(
        int((random.choice(SCORES.ascending, count) < threshold).sum())
        for threshold, count in zip(thresholds, counts, strict=True)
    )
    requests = int(counts.sum())
    return Measurement(STEP, requests, escalated, requests * SMALL, escalated * LARGE)


def simulate(per_second, rates, *, gateways=1, delay=1, seed=0, shares=None):
    """Spend of each step, of gateways that all hear of all spending `delay` steps late, and their controls at the
    end.
    """
    random = np.random.default_rng(seed)
    controls = [begin(WIDE, SCORES) for _ in range(gateways)]
    heard = [Measurement(STEP, 0)] * delay
    spent = []
    for rate in rates:
        reading = served(random, [control.threshold for control in controls], rate, shares)
        heard.append(reading)
        spent.append(reading.small_spend + reading.large_spend)
        late = heard[-1 - delay]
        controls = [spend_step(one, late, per_second=per_second, limits=WIDE, scores=SCORES) for one in controls]
    return np.array(spent), controls


def worst_window(spent, per_second, seconds=600, after=600):
    """The greatest relative error of the spend of any window, once the first is over."""
    steps, skip = int(seconds / STEP), int(after / STEP)
    sums = np.convolve(spent[skip:], np.ones(steps), "valid")
    return float(np.abs(sums / (per_second * seconds) - 1).max())


@pytest.mark.parametrize(("gateways", "shares"), [(1, None), (3, None), (3, [0.8, 0.15, 0.05])])
def test_spend_of_any_ten_minutes_is_within_two_percent(gateways, shares):
    spent, controls = simulate(30.0, [5.0] * 1800, gateways=gateways, delay=gateways, shares=shares)
    assert worst_window(spent, 30.0) < 0.02
    assert len({control.threshold for control in controls}) == 1


def test_gateways_that_believe_differently_come_to_one_threshold_and_keep_to_the_target():
    """Each asks at its own moment, so that beliefs are stale by a part of a step."""
    random = np.random.default_rng(3)
    controls = [replace(begin(WIDE, SCORES), debt=debt, seconds=1.0) for debt in (900.0, -900.0, 0.0)]
    pending = [Measurement(0.0, 0)] * 3
    spent, apart = [], []
    for _ in range(1800):
        for turn in range(3):
            happened = served(random, [control.threshold for control in controls], 5.0 / 3)
            spent.append(happened.small_spend + happened.large_spend)
            pending = [sum_of(before, happened, seconds=STEP / 3) for before in pending]
            others = [other.belief for place, other in enumerate(controls) if place != turn]
            agreed = controls[turn].agreeing(others)
            controls[turn] = spend_step(agreed, pending[turn], per_second=30.0, limits=WIDE, scores=SCORES)
            pending[turn] = Measurement(0.0, 0)
        apart.append(max(c.debt for c in controls) - min(c.debt for c in controls))
    assert worst_window(np.array(spent).reshape(-1, 3).sum(axis=1), 30.0) < 0.02
    assert np.mean(apart[:3]) > 900
    assert np.mean(apart[100:]) < 60


def sum_of(before, more, *, seconds):
    return Measurement(
        before.seconds + seconds,
        before.requests + more.requests,
        before.escalated + more.escalated,
        before.small_spend + more.small_spend,
        before.large_spend + more.large_spend,
    )


def test_a_gateway_that_has_seen_nothing_takes_over_what_others_believe():
    fresh = begin(WIDE, SCORES)
    assert fresh.belief is None
    assert fresh.agreeing([]) == fresh
    assert fresh.agreeing([PeerState(4.0, 0.2), PeerState(8.0, 0.4)]).share == pytest.approx(0.3)
    assert fresh.agreeing([PeerState(4.0, 0.2), PeerState(8.0, 0.4)]).debt == pytest.approx(6.0)


def test_bursts_and_lulls_are_followed():
    rates = [5.0 + 3.0 * math.sin(step / 40) + (4.0 if step % 300 < 30 else 0.0) for step in range(1800)]
    spent, _ = simulate(15.0, rates)
    assert worst_window(spent, 15.0) < 0.02


def test_no_spree_follows_a_quiet_night():
    night, day = [0.02] * 3000, [5.0] * 600
    spent, _ = simulate(30.0, [*night, *day])
    assert spent[3000:].sum() < 30.0 * (600 * STEP + 60) * 1.02


def test_costs_that_change_are_learned():
    random = np.random.default_rng(1)
    control, spent = begin(WIDE, SCORES), []
    for step in range(1500):
        reading = served(random, [control.threshold], 5.0)
        if step > 700:
            reading = replace(reading, large_spend=reading.large_spend * 1.5)
        spent.append(reading.small_spend + reading.large_spend)
        control = spend_step(control, reading, per_second=30.0, limits=WIDE, scores=SCORES)
    assert abs(np.sum(spent[900:]) / (30.0 * 600 * STEP) - 1) < 0.02


@st.composite
def readings(draw):
    requests = draw(st.integers(0, 500))
    escalated = draw(st.integers(0, requests))
    spends = st.floats(0, 1e6)
    seconds = draw(st.floats(0, 1000))
    return Measurement(seconds, requests, escalated, draw(spends), draw(spends), draw(st.integers(0, requests)))


@given(
    st.lists(readings(), max_size=12),
    st.tuples(st.integers(0, 1001), st.integers(0, 1001), st.integers(0, 1001)).map(sorted),
    st.floats(1e-6, 1e6),
)
def test_the_threshold_never_leaves_its_bounds(happened, bounds, per_second):
    limits = ThresholdBounds(bounds[0], bounds[2], bounds[1])
    by_spend = by_latency = begin(limits, SCORES)
    for reading in happened:
        by_spend = spend_step(by_spend, reading, per_second=per_second, limits=limits, scores=SCORES)
        by_latency = latency_step(by_latency, reading, quantile=0.95, limits=limits, scores=SCORES)
        for control in (by_spend, by_latency):
            assert limits.least <= control.threshold <= limits.most
            assert math.isfinite(control.share)


@given(st.floats(0, 1))
def test_a_share_becomes_the_least_threshold_that_gives_it(share):
    threshold = SCORES.threshold(share)
    assert SCORES.escalated(threshold) >= share - 1e-9
    assert threshold == 0 or SCORES.escalated(threshold - 1) < share


def test_what_is_out_of_reach_is_said():
    rich = ControlState(500)
    for _ in range(50):
        rich = spend_step(rich, Measurement(2.0, 10, 5, 10.0, 45.0), per_second=1000.0, limits=WIDE, scores=SCORES)
    assert (rich.threshold, rich.reason) == (999, ObjectiveReason.AT_MOST)
    poor = begin(ThresholdBounds(300, 800, 500), SCORES)
    for _ in range(50):
        poor = spend_step(
            poor,
            Measurement(2.0, 10, 5, 10.0, 45.0),
            per_second=0.1,
            limits=ThresholdBounds(300, 800, 500),
            scores=SCORES,
        )
    assert (poor.threshold, poor.reason) == (300, ObjectiveReason.AT_LEAST)


def test_latency_settles_where_the_quantile_is_met():
    """A fifth of large answers and no small one is too slow; 5% may be, so a quarter may be large."""
    random = np.random.default_rng(2)
    control, shares = begin(WIDE, SCORES), []
    for _ in range(2000):
        reading = served(random, [control.threshold], 10.0)
        slow = int(random.binomial(reading.escalated, 0.2))
        shares.append(reading.escalated / max(1, reading.requests))
        control = latency_step(control, replace(reading, slow=slow), quantile=0.95, limits=WIDE, scores=SCORES)
    assert abs(np.mean(shares[500:]) - 0.25) < 0.03
    assert np.std(shares[500:]) < 0.2


def test_limits_out_of_order_are_refused():
    with pytest.raises(ValueError, match="least <= start <= most"):
        ThresholdBounds(500, 400, 450)


@pytest.mark.parametrize(
    ("slow_each", "why"),
    [(20, ObjectiveReason.ON_TARGET), (5, ObjectiveReason.OVER_TARGET), (10_000, ObjectiveReason.UNDER_TARGET)],
)
def test_a_few_requests_a_reading_do_not_make_latency_s_reason_flap(slow_each, why):
    """Two requests a reading, of which one in `slow_each` is slow: no reading alone has the 5% that may be."""
    control, told = begin(WIDE, SCORES), []
    for turn in range(400):
        slow = sum((2 * turn + each) % slow_each == 0 for each in range(2))
        control = latency_step(control, Measurement(STEP, 2, slow=slow), quantile=0.95, limits=WIDE, scores=SCORES)
        told.append(control.reason)
        control = replace(control, share=0.5)  # away from its bounds, which have reasons of their own
    assert set(told[200:]) == {why}
