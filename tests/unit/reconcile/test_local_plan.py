"""What local mode does when manifests change."""

import pytest

from pilotfish.api import AutoscalingPolicy, ModelPool
from pilotfish.base.keys import Key
from pilotfish.reconcile.local_plan import GIB, Action, Wanted, plan

API = "pilotfish.dev/v1alpha1"


def pool(name="small", **spec):
    base = {"tier": "Small", "model": {"uri": "file:///models/m"}}
    if not {"autoscalingPolicyRef", "external"} & set(spec):
        base["replicas"] = 1
    if "external" in spec:
        base.pop("model")
    return ModelPool.model_validate(
        {"apiVersion": API, "kind": "ModelPool", "metadata": {"name": name}, "spec": {**base, **spec}}
    )


def policy(maximum):
    spec = {"minReplicas": 1, "maxReplicas": maximum, "signals": [{"type": "OngoingRequests", "target": 4}]}
    return AutoscalingPolicy.model_validate(
        {"apiVersion": API, "kind": "AutoscalingPolicy", "metadata": {"name": "p"}, "spec": spec}
    )


FOLLOWING = {"autoscalingPolicyRef": {"name": "p"}}
EXTERNAL = {"external": {"baseURL": "http://127.0.0.1:1/v1", "model": "m"}}


def actions(wanted, running):
    return {step.key.name: step.action for step in plan(wanted, running).pools}


@pytest.mark.parametrize(
    ("before", "after", "action"),
    [
        (pool(), pool(), Action.KEEP),
        (pool(), pool(pricing={"currency": "USD", "perReplicaHour": "1"}), Action.KEEP),
        (pool(), pool(replicas=3), Action.RESCALE),
        (pool(), pool(**FOLLOWING), Action.RESCALE),
        (pool(), pool(engine={"maxModelLength": 512}), Action.RESTART),
        (pool(), pool(model={"uri": "file:///models/other"}), Action.RESTART),
        (pool(), pool(pod={"env": [{"name": "A", "secretKeyRef": {"name": "s", "key": "k"}}]}), Action.RESTART),
        (pool(), pool(replicas=0), Action.REST),
        (pool(replicas=0), pool(), Action.START),
        (pool(), pool(**EXTERNAL), Action.REACH),
        (pool(**EXTERNAL), pool(), Action.START),
        (None, pool(), Action.START),
        (pool(), None, Action.REMOVE),
    ],
)
def test_the_least_that_leads_to_what_is_wanted(before, after, action):
    old, new = (Wanted.of([entry] if entry else [], [policy(2)]) for entry in (before, after))
    assert actions(new, old) == {"small": action}


def test_a_policy_with_other_bounds_restarts_nothing():
    manifests = [pool(**FOLLOWING)]
    assert actions(Wanted.of(manifests, [policy(5)]), Wanted.of(manifests, [policy(2)])) == {"small": Action.RESCALE}


def test_small_models_come_up_before_large_ones_and_what_goes_goes_first():
    wanted = Wanted.of([pool("a", tier="Large"), pool("z"), pool("b")], [])
    sizes = {Key("ModelPool", "default", "z"): 1, Key("ModelPool", "default", "b"): 2}
    steps = plan(wanted, Wanted.of([pool("old")], []), sizes).pools
    assert [step.key.name for step in steps] == ["old", "z", "b", "a"]


def test_needs_are_those_of_all_replicas():
    accelerated = pool("g", accelerator={"type": "nvidia-l4", "count": 1}, replicas=2)
    planned = plan(Wanted.of([pool(), accelerated], []), Wanted({}, {}), {Key("ModelPool", "default", "small"): GIB})
    assert planned.gpus == 2
    assert planned.memory_bytes > GIB
