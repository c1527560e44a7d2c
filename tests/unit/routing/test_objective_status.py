"""From a router's objective to a threshold that moves, or the reason why it stays."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resource_builders import CASCADE, a_router

from pilotfish.api.modelpool import Pricing
from pilotfish.plugin_api.artifacts import write_artifact
from pilotfish.routing.gateway_usage import Totals
from pilotfish.routing.objective_status import moved, router_objective, threshold_of
from pilotfish.routing.threshold_control import NEVER, ObjectiveReason, Scores, ThresholdBounds, ThresholdRange

LIMITS = ThresholdBounds(300, 900, 600)
LEARNED = write_artifact("logprob", ThresholdRange(Scores.of(range(1000)), LIMITS).to_arrays())
PROMISED, LOOSER, ABOVE = (
    write_artifact(
        "logprob", ThresholdRange(Scores.of(range(1000)), ThresholdBounds(least, 900, 700), loss).to_arrays()
    )
    for least, loss in ((300, 0.02), (300, 0.1), (601, 0.02))
)
PRICES = {name: Pricing(currency="USD", per_replica_hour="1") for name in ("small", "large")}
PREDICTIVE = {
    "type": "Predictive",
    "predictive": {
        "scorer": {"name": "linear"},
        "candidates": [{"poolRef": {"name": "small"}, "thresholdPermille": 400}, {"poolRef": {"name": "large"}}],
    },
}
SPEND = {"type": "Spend", "spend": {"currency": "USD", "perHour": "3600"}}
LATENCY = {"type": "Latency", "latency": {"milliseconds": 800, "quantilePermille": 900}}
QUALITY = {"type": "Quality", "quality": {"maxLossPermille": 20}}


def wants(objective, strategy=CASCADE):
    return a_router("r", strategy=strategy, objective=objective)


@given(st.integers(0, NEVER))
def test_a_moved_router_differs_in_its_threshold_alone(threshold):
    for strategy in (CASCADE, PREDICTIVE):
        before = wants(SPEND, strategy)
        after = moved(before, threshold)
        assert threshold_of(after) == threshold
        assert moved(after, threshold_of(before)) == before
        assert after.scorers == before.scorers


def test_a_router_without_an_objective_aims_at_nothing():
    assert router_objective(wants(None), LEARNED, PRICES) is None


def three_stages():
    strategy = copy.deepcopy(CASCADE)
    strategy["cascade"]["stages"].insert(0, copy.deepcopy(strategy["cascade"]["stages"][0]))
    return strategy


@pytest.mark.parametrize(
    ("objective", "strategy", "artifact", "prices", "reason", "threshold"),
    [
        (SPEND, CASCADE, None, PRICES, ObjectiveReason.NOT_CALIBRATED, 600),
        (SPEND, CASCADE, b"no artifact", PRICES, ObjectiveReason.NOT_CALIBRATED, 600),
        (SPEND, CASCADE, write_artifact("logprob", {}), PRICES, ObjectiveReason.NOT_CALIBRATED, 600),
        (SPEND, CASCADE, LEARNED, PRICES | {"small": None}, ObjectiveReason.NOT_PRICED, 600),
        (SPEND, three_stages(), LEARNED, PRICES, ObjectiveReason.NO_THRESHOLD, None),
        (QUALITY, CASCADE, PROMISED, {}, ObjectiveReason.CALIBRATED, 600),
        (QUALITY, CASCADE, None, {}, ObjectiveReason.NOT_CALIBRATED, 600),
        (QUALITY, CASCADE, LEARNED, {}, ObjectiveReason.NOT_CALIBRATED, 600),
        (QUALITY, CASCADE, LOOSER, {}, ObjectiveReason.NOT_CALIBRATED, 600),
        (QUALITY, CASCADE, ABOVE, {}, ObjectiveReason.NOT_CALIBRATED, 600),
    ],
    ids=[
        "no artifact",
        "broken artifact",
        "artifact without range",
        "no price",
        "three stages",
        "quality",
        "quality by hand",
        "quality calibrated for spend",
        "quality promised less",
        "quality below the least threshold",
    ],
)
def test_a_threshold_that_cannot_move_stays_and_says_why(objective, strategy, artifact, prices, reason, threshold):
    aim = router_objective(wants(objective, strategy), artifact, prices)
    told = aim.status(aim.begin())
    assert aim.begin() is None
    assert (told.reason, told.threshold_permille, told.current) == (reason.value, threshold, None)
    assert bool(told.message) == (reason is not ObjectiveReason.CALIBRATED)


def test_an_artifact_that_promises_no_loss_is_not_said_to_be_of_another_objective():
    """Calibrated for spend, and by a version whose artifacts had no promises."""
    unknown = ThresholdRange(Scores.of(range(1000)), LIMITS).to_arrays()
    del unknown["objective_loss"]
    for artifact in (LEARNED, write_artifact("logprob", unknown)):
        message = router_objective(wants(QUALITY), artifact, {}).message
        assert message.startswith(
            "the scorer's artifact does not record a limit on the loss: run `pilotfish calibrate`"
        )


def test_spend_over_the_target_lowers_the_threshold_to_its_bound_and_tells_what_is_spent():
    aim = router_objective(wants(SPEND), LEARNED, PRICES)
    control = aim.begin()
    assert control.threshold == LIMITS.start
    for _ in range(60):
        control = aim.step(control, Totals(requests=10, escalated=6, small_spend=1.0, large_spend=9.0), 2.0)
    told = aim.status(control)
    assert (told.threshold_permille, told.reason) == (LIMITS.least, "AtLeastThreshold")
    assert (told.target, told.current, told.unit) == ("3600", "18000", "USD per hour")


def test_too_many_slow_answers_lower_the_threshold_and_few_let_it_rise():
    aim = router_objective(wants(LATENCY), LEARNED, {})
    slower = quicker = aim.begin()
    for _ in range(30):
        slower = aim.step(slower, Totals(requests=10, escalated=5, slow=4), 2.0)
        quicker = aim.step(quicker, Totals(requests=10, escalated=5), 2.0)
    assert slower.threshold < LIMITS.start < quicker.threshold
    told = aim.status(slower)
    assert (told.target, told.current, told.unit) == ("900", "600", "permille within 800 ms")
