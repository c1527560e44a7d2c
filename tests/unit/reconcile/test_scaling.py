"""The scaling rule: properties that hold for every policy and load, and a run through a day."""

from hypothesis import given
from hypothesis import strategies as st

from pilotfish.api import AutoscalingPolicy
from pilotfish.reconcile.scaling import ScalingMemory, bounds, decide, not_in_force


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
        decision = decide(policy, memory.observe(at, load), replicas, at)
        memory, replicas = decision.memory, decision.replicas
        seen.append(replicas)
    return seen


@given(policies(), st.lists(loads, max_size=40), st.integers(0, 100))
def test_the_bounds_hold_whatever_the_load(policy, load, start):
    limits = bounds(policy.spec)
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
    limits = bounds(policy.spec)
    assert settled[-1] * per_replica >= load or settled[-1] == limits.maximum
    assert (settled[-1] - 1) * per_replica < load or settled[-1] == limits.minimum


@given(policies(), st.lists(loads, min_size=1, max_size=30), st.floats(0, 1000))
def test_more_load_never_wants_fewer_replicas(policy, load, more):
    def wanted(extra):
        memory = ScalingMemory(tuple((0.01 * i, value + extra) for i, value in enumerate(load)))
        return decide(policy, memory, 1, 0.5).wanted

    assert wanted(more) >= wanted(0.0)


@given(policies(), loads, st.integers(1, 40))
def test_nothing_moves_before_its_delay(policy, load, start):
    """The bounds come first; within them the first decision waits, unless there is no delay."""
    limits = bounds(policy.spec)
    within = min(max(start, limits.minimum), limits.maximum)
    decision = decide(policy, ScalingMemory(((0.0, load),)), within, 0.0)
    up, down = policy.spec.behavior.upscale_delay_seconds, policy.spec.behavior.downscale_delay_seconds
    if (decision.wanted > within and up) or (decision.wanted < within and down):
        assert decision.replicas == within
        assert decision.again_after == (up if decision.wanted > within else down)
    else:
        assert decision.replicas == decision.wanted
        assert decision.again_after is None


def test_an_unknown_load_leaves_the_replicas_alone():
    assert decide(a_policy(), ScalingMemory(), 5, 100.0).replicas == 5


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
    policy = a_policy(
        minReplicas=0,
        signals=[{"type": "OngoingRequests", "target": 4}, {"type": "KVCacheUsagePercent", "target": 80}],
        scaleToZero={"afterSeconds": 60, "holdRequestsSeconds": 60},
        schedules=[{"name": "day", "cron": "0 7 * * *", "durationSeconds": 60}],
    )
    assert not_in_force(policy.spec) == ("spec.signals[1] (KVCacheUsagePercent)", "spec.scaleToZero", "spec.schedules")
    assert bounds(policy.spec).minimum == 1
