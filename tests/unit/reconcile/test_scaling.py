"""The scaling rule: properties that hold for every policy and load, and a run through a day."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.api import AutoscalingPolicy
from pilotfish.reconcile.scaling import Running, ScalingMemory, bounds, decide, not_in_force
from pilotfish.reconcile.schedules import check_schedules

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def a_policy(**spec):
    base = {"minReplicas": 1, "maxReplicas": 8, "signals": [{"type": "OngoingRequests", "target": 4}]}
    return AutoscalingPolicy.model_validate(
        {
            "apiVersion": "pilotfish.dev/v1alpha1",
            "kind": "AutoscalingPolicy",
            "metadata": {"name": "p"},
            "spec": base | spec,
        }
    )


@st.composite
def policies(draw):
    least = draw(st.integers(1, 20))
    return a_policy(
        minReplicas=least,
        maxReplicas=draw(st.integers(least, 40)),
        signals=[{"type": "OngoingRequests", "target": draw(st.integers(1, 50))}],
        behavior={
            "upscaleDelaySeconds": draw(st.integers(0, 60)),
            "downscaleDelaySeconds": draw(st.integers(0, 600)),
            "lookBackSeconds": draw(st.integers(1, 60)),
        },
    )


loads = st.floats(0, 5000)


def run(policy, timeline, start):
    """Replicas after each (seconds, load) of the timeline."""
    memory, replicas, seen = ScalingMemory(), start, []
    for at, load in timeline:
        decision = decide(policy, memory.observe(at, load), Running(replicas, replicas), now=at, at=NOON)
        memory, replicas = decision.memory, decision.replicas
        seen.append(replicas)
    return seen


@given(policies(), st.lists(loads, max_size=40), st.integers(0, 100))
def test_the_bounds_hold_whatever_the_load(policy, load, start):
    limits = bounds(policy.spec, NOON)
    timeline = [(2.0 * i, value) for i, value in enumerate(load)]
    assert all(limits.minimum <= replicas <= limits.maximum for replicas in run(policy, timeline, start))


@given(policies(), loads, st.integers(1, 40))
def test_a_steady_load_is_met_and_then_nothing_moves(policy, load, start):
    behavior = policy.spec.behavior
    seconds = behavior.look_back_seconds + max(behavior.upscale_delay_seconds, behavior.downscale_delay_seconds) + 4
    seen = run(policy, [(2.0 * i, load) for i in range(seconds)], start)
    settled = seen[seconds // 2 + 2 :]
    assert len(set(settled)) == 1
    per_replica = policy.spec.signals[0].target
    limits = bounds(policy.spec, NOON)
    assert settled[-1] * per_replica >= load or settled[-1] == limits.maximum
    assert (settled[-1] - 1) * per_replica < load or settled[-1] == limits.minimum


@given(policies(), st.lists(loads, min_size=1, max_size=30), st.floats(0, 1000))
def test_more_load_never_wants_fewer_replicas(policy, load, more):
    def wanted(extra):
        memory = ScalingMemory(tuple((0.01 * i, value + extra) for i, value in enumerate(load)))
        return decide(policy, memory, Running(1, 1), now=0.5, at=NOON).wanted

    assert wanted(more) >= wanted(0.0)


@given(policies(), loads, st.integers(1, 40))
def test_nothing_moves_before_its_delay(policy, load, start):
    """The bounds come first; within them the first decision waits, unless there is no delay."""
    limits = bounds(policy.spec, NOON)
    within = min(max(start, limits.minimum), limits.maximum)
    decision = decide(policy, ScalingMemory(((0.0, load),)), Running(within, within), now=0.0, at=NOON)
    up, down = policy.spec.behavior.upscale_delay_seconds, policy.spec.behavior.downscale_delay_seconds
    if (decision.wanted > within and up) or (decision.wanted < within and down):
        assert decision.replicas == within
        assert decision.again_after == (up if decision.wanted > within else down)
    else:
        assert decision.replicas == decision.wanted
        assert decision.again_after is None


def test_an_unknown_load_leaves_the_replicas_alone():
    assert decide(a_policy(), ScalingMemory(), Running(5, 5), now=100.0, at=NOON).replicas == 5


def test_up_at_once_and_down_after_the_wait():
    policy = a_policy(
        maxReplicas=4, behavior={"upscaleDelaySeconds": 0, "downscaleDelaySeconds": 10, "lookBackSeconds": 4}
    )
    timeline = [(2.0 * i, 24.0 if 5 <= i < 15 else 1.0) for i in range(40)]
    seen = run(policy, timeline, 1)
    assert (seen[0], max(seen), seen[-1]) == (1, 4, 1)
    assert seen == sorted(seen[:20]) + sorted(seen[20:], reverse=True)
    assert seen[16] == 4
    assert seen[23] == 1


def test_what_is_not_in_force_is_named():
    signals = [{"type": "OngoingRequests", "target": 4}, {"type": "KVCacheUsagePercent", "target": 80}]
    assert not_in_force(a_policy(signals=signals).spec) == ("spec.signals[1] (KVCacheUsagePercent)",)


ZERO = {"minReplicas": 0, "scaleToZero": {"afterSeconds": 60, "holdRequestsSeconds": 120}}


def test_a_pool_goes_to_zero_when_it_was_idle_and_comes_back_at_once_for_what_waits():
    policy = a_policy(**ZERO, behavior={"upscaleDelaySeconds": 30, "downscaleDelaySeconds": 10})
    loads = [5.0] * 30 + [0.0] * 60 + [9.0] * 2
    seen = run(policy, [(2.0 * i, load) for i, load in enumerate(loads)], 1)
    assert 0 not in seen[:60]  # busy until 58 s, then idle for 60 s
    assert seen[61:90] == [0] * 29
    assert seen[90] == 3  # nine requests, four a replica


def test_the_last_replica_stays_until_it_has_answered():
    memory = ScalingMemory(((0.0, 0.0),), idle_since=-1000.0)
    assert decide(a_policy(**ZERO), memory, Running(1, 0), now=0.0, at=NOON).replicas == 1
    decision = decide(a_policy(**ZERO), memory, Running(1, 1), now=0.0, at=NOON)
    assert (decision.replicas, decision.why) == (0, "scaleToZero: no request")


def test_a_pool_without_a_report_of_its_load_does_not_go_to_zero():
    assert decide(a_policy(**ZERO), ScalingMemory(), Running(1, 1), now=1e6, at=NOON).replicas == 1


@given(st.lists(st.sampled_from([0.0, 0.0, 1.0, 30.0]), max_size=60), st.integers(0, 3))
def test_zero_is_never_chosen_while_requests_are_in_progress(loads, start):
    timeline = [(2.0 * i, load) for i, load in enumerate(loads)]
    seen = run(a_policy(**ZERO), timeline, start)
    assert all(replicas for replicas, load in zip(seen, loads, strict=True) if load)


DAY = {
    "name": "day", "cron": "0 8 * * 1-5", "timeZone": "Europe/Berlin", "durationSeconds": 36_000, "minReplicas": 3,
}  # fmt: skip


def test_a_schedule_raises_the_bounds_at_its_minute_and_says_when_it_ends():
    policy = a_policy(schedules=[DAY])
    monday = datetime(2026, 3, 2, tzinfo=UTC)
    begins, ends = monday.replace(hour=7), monday.replace(hour=17)

    def at(moment):
        return decide(policy, ScalingMemory(), Running(1, 1), now=0.0, at=moment)

    before, during, after = at(begins - timedelta(seconds=1)), at(begins), at(ends)
    assert (before.replicas, before.again_after) == (1, 1.0)
    assert (during.replicas, during.why, during.again_after) == (3, "minReplicas of schedule day", 36_000.0)
    assert after.replicas == 1
    assert at(datetime(2026, 3, 1, 12, tzinfo=UTC)).replicas == 1  # a Sunday


@pytest.mark.parametrize(
    ("day", "start_utc"),
    [(datetime(2026, 3, 28), 7), (datetime(2026, 3, 29), 6), (datetime(2026, 10, 24), 6), (datetime(2026, 10, 25), 7)],
    ids=["winter", "first day of summer time", "summer", "first day of winter time"],
)
def test_schedules_follow_the_clock_on_the_wall(day, start_utc):
    policy = a_policy(schedules=[DAY | {"cron": "0 8 * * *", "durationSeconds": 3600}])
    start = day.replace(hour=start_utc, tzinfo=UTC)
    assert bounds(policy.spec, start - timedelta(seconds=1)).schedule is None
    assert bounds(policy.spec, start).schedule == "day"
    assert bounds(policy.spec, start + timedelta(seconds=3600)).schedule is None


def test_schedules_that_match_no_time_are_named():
    policy = a_policy(
        schedules=[DAY | {"name": "a", "cron": "0 0 30 2 *"}, DAY | {"name": "b", "timeZone": "No/Where"}]
    )
    assert [fault.path for fault in check_schedules(policy.spec.schedules)] == [
        ("spec", "schedules", 0, "cron"),
        ("spec", "schedules", 1, "timeZone"),
    ]
    assert bounds(policy.spec, NOON).schedule is None
