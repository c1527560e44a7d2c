"""ModelPool: a table of what is there and what should be."""

import json
from dataclasses import replace

import pytest
from resource_builders import (
    a_context,
    a_pod,
    a_policy,
    a_pool,
    an_external,
    children,
    condition,
    says,
)

from pilotfish.api import ModelPool
from pilotfish.base.keys import Key
from pilotfish.plugins.installed import InstalledPlugins
from pilotfish.plugins.registry import Registry
from pilotfish.reconcile.drift import needs_apply
from pilotfish.reconcile.kinds import KINDS
from pilotfish.reconcile.outcome import ExternalCheck, ObservedPool, Proof, Sibling
from pilotfish.reconcile.pool import decide
from pilotfish.reconcile.pool_status import answers
from pilotfish.reconcile.scaling import ScalingMemory


def kinds(outcome):
    return [manifest["kind"] for manifest in outcome.manifests]


def revision_of(outcome):
    return outcome.status["revision"]


def settled(pool, **pods):
    """The outcome, and an observation in which all of it is made and the pods are as said."""
    first = decide(pool, ObservedPool(), a_context())
    seen = ObservedPool(children=children(first), pods=(a_pod(revision=revision_of(first), **pods),))
    return decide(pool, seen, a_context()), seen


def test_a_new_pool_gets_its_objects_and_waits():
    outcome = decide(a_pool(), ObservedPool(), a_context())
    assert kinds(outcome) == ["NetworkPolicy", "Service", "Deployment"]
    assert says(outcome, "Accepted") == ("True", "Accepted")
    assert says(outcome, "Ready") == ("False", "Loading")
    assert says(outcome, "Reconciling") == ("True", "Scaling")
    assert outcome.status["observedGeneration"] == 3
    assert all(m["metadata"]["ownerReferences"][0]["uid"] == "uid-small" for m in outcome.manifests)


def test_ready_means_that_a_replica_has_answered():
    outcome, _ = settled(a_pool(), ready=True)
    assert {kind: says(outcome, kind)[0] for kind in ("Ready", "EngineReady", "WeightsAvailable", "Scaled")} == {
        "Ready": "True",
        "EngineReady": "True",
        "WeightsAvailable": "True",
        "Scaled": "True",
    }
    assert says(outcome, "Reconciling") == ("False", "Settled")
    assert outcome.status["url"] == "http://small-pool.team.svc:8000/v1"


ENDED = {"ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}}
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient gpu."}


@pytest.mark.parametrize(
    ("pods", "reason", "words"),
    [
        ({"conditions": [UNSCHEDULABLE]}, "Unschedulable", "0/1 nodes are available: 1 Insufficient gpu."),
        (
            {"containers": [ENDED | {"lastState": {"terminated": {"exitCode": 1, "message": "log\nno such dtype"}}}]},
            "EngineFailed",
            "no such dtype",
        ),
        (
            {"init": [{"ready": False, "state": {"terminated": {"exitCode": 1, "message": "sha256 differs"}}}]},
            "FetchFailed",
            "sha256 differs",
        ),
        (
            {
                "containers": [
                    {"ready": False, "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}
                ]
            },
            "ContainerWaiting",
            "no such image",
        ),
        (
            {"containers": [{"ready": False, "state": {"waiting": {"reason": "PodInitializing"}}}]},
            "Loading",
            "no replica has answered yet",
        ),
    ],
)
def test_a_replica_that_does_not_come_up_is_quoted(pods, reason, words):
    outcome, _ = settled(a_pool(), **pods)
    assert says(outcome, "Ready") == ("False", reason)
    assert words in condition(outcome, "Ready")["message"]


def test_a_rollout_that_fails_leaves_the_pool_ready_and_degraded():
    pool = a_pool(engine={"args": {"dtype": "float99"}})
    outcome = decide(pool, ObservedPool(), a_context())
    old = a_pod("old", revision="before", ready=True)
    new = a_pod("new", revision=revision_of(outcome), conditions=[UNSCHEDULABLE])
    outcome = decide(pool, ObservedPool(children=children(outcome), pods=(old, new)), a_context())
    assert says(outcome, "Ready") == ("True", "Answering")
    assert says(outcome, "Degraded") == ("True", "RolloutFailing")
    assert says(outcome, "Reconciling")[0] == "True"


def test_at_zero_no_condition_says_that_the_pool_answers():
    answered, _ = settled(a_pool(), ready=True)
    before = a_pool(status=dict(answered.status))
    at_zero = decide(a_pool(replicas=0, status=dict(answered.status)), ObservedPool(), a_context())
    assert says(at_zero, "Ready") == says(at_zero, "EngineReady") == ("False", "ScaledToZero")
    assert says(at_zero, "Scaled") == ("True", "ScaledToZero")
    assert [answers(pool) for pool in (before, a_pool(replicas=0, status=at_zero.status))] == [True, False]


def test_the_same_observation_gives_the_same_outcome_and_no_drift():
    outcome, seen = settled(a_pool(), ready=True)
    again = decide(a_pool(status=dict(outcome.status)), seen, replace(a_context(), now="2030-01-01T00:00:00Z"))
    assert again.status == outcome.status
    assert not any(needs_apply(m, seen.children[Key.of(m)]) for m in again.manifests)


def test_the_number_of_replicas_does_not_change_what_a_pod_runs():
    one = decide(a_pool(replicas=1), ObservedPool(), a_context())
    five = decide(a_pool(replicas=5), ObservedPool(), a_context())
    by_policy = decide(
        a_pool(replicas=None, autoscalingPolicyRef={"name": "follow-load"}),
        ObservedPool(policy=a_policy()),
        a_context(),
    )
    assert revision_of(one) == revision_of(five) == revision_of(by_policy)
    assert [m["spec"]["replicas"] for o in (one, five) for m in o.manifests if m["kind"] == "Deployment"] == [1, 5]


def test_a_deployment_follows_its_load():
    pool = a_pool(replicas=None, autoscalingPolicyRef={"name": "follow-load"})
    policy = a_policy(behavior={"upscaleDelaySeconds": 0})
    seen = ObservedPool(policy=policy, scaling=ScalingMemory(((9.0, 40.0),)), clock=10.0)
    outcome = decide(pool, seen, a_context())
    assert outcome.status["desiredReplicas"] == 3
    assert outcome.scaling.samples == ((9.0, 40.0),)


def test_a_policy_that_is_missing_holds_the_pool_back():
    pool = a_pool(replicas=None, autoscalingPolicyRef={"name": "nobody"})
    outcome = decide(pool, ObservedPool(missing=(pool.key.beside("AutoscalingPolicy", "nobody"),)), a_context())
    assert not outcome.manifests
    assert says(outcome, "ResolvedRefs") == ("False", "NotFound")
    assert says(outcome, "Stalled") == ("True", "NotFound")
    assert "AutoscalingPolicy 'nobody'" in condition(outcome, "Ready")["message"]


def test_what_plugins_refuse_is_not_accepted_and_what_runs_is_left_alone():
    made = decide(a_pool(), ObservedPool(), a_context())
    (fault,) = KINDS.check(a_pool(model={"uri": "ftp://host/model"}), InstalledPlugins(Registry([])))
    outcome = decide(a_pool(), ObservedPool(faults=(fault,), children=children(made)), a_context())
    assert says(outcome, "Accepted") == ("False", "UnknownSource")
    assert condition(outcome, "Accepted")["message"].startswith("spec.model.uri: ")
    assert not outcome.manifests
    assert not outcome.deletions


NO_POLICY = Key("AutoscalingPolicy", "team", "follow-load")


def held_back(seen, before, context, **spec):
    """The outcome once the pool's policy has gone, after an outcome in which it was there."""
    pool = a_pool(replicas=None, autoscalingPolicyRef={"name": "follow-load"}, status=dict(before.status), **spec)
    return decide(pool, replace(seen, policy=None, missing=(NO_POLICY,)), context)


def test_a_pool_that_is_held_back_goes_on_telling_what_runs():
    pool = a_pool(replicas=None, autoscalingPolicyRef={"name": "follow-load"})
    ray = a_ray(pool, pods=tuple(ray_pod(name, "one", ready=True) for name in "ab"), policy=a_policy())
    first = decide(pool, ObservedPool(policy=a_policy(minReplicas=2)), a_context())
    pods = tuple(a_pod(name, revision=revision_of(first), ready=True) for name in "ab")
    plain = ObservedPool(children=children(first), pods=pods, policy=a_policy(minReplicas=2))
    for seen, context in ((ray, KUBERAY), (plain, a_context())):
        before = decide(pool, seen, context)
        after = held_back(seen, before, context)
        assert says(after, "Ready") == ("False", "NotFound")
        assert says(after, "EngineReady") == ("True", "Answering")
        assert says(after, "Scaled") == ("True", "Scaled")
        assert {
            "readyReplicas": 2,
            "desiredReplicas": 2,
            "runtime": before.status["runtime"],
        }.items() <= after.status.items()
        assert answers(a_pool(status=after.status))


def fetched(words, code=0):
    return {"name": "fetch-model", "ready": code == 0, "state": {"terminated": {"exitCode": code, "message": words}}}


def test_the_weights_that_a_branch_led_to_are_told_until_others_are_asked_for():
    pool = a_pool(model={"uri": "hf://org/model", "revision": "main"})
    assert "resolvedRevision" not in settled(pool, init=[fetched("no such branch", code=1)])[0].status
    loaded, seen = settled(pool, ready=True, init=[fetched("0123456789abcdef\n")])
    assert loaded.status["resolvedRevision"] == "0123456789abcdef"
    for same, pods, told in (("main", (), True), ("other", seen.pods, False)):
        after = a_pool(model={"uri": "hf://org/model", "revision": same}, status=dict(loaded.status))
        assert ("resolvedRevision" in decide(after, replace(seen, pods=pods), a_context()).status) is told


def test_what_may_surprise_is_remarked_and_accepted():
    pool = a_pool(accelerator={"type": "nvidia-l4", "count": 1}, rollout={"type": "Recreate"})
    said = condition(decide(pool, ObservedPool(), a_context()), "Accepted")
    assert said["status"] == "True"
    assert "no node labels for 'nvidia-l4'" in said["message"]
    assert "outage" in said["message"]
    known = a_context(accelerators={"nvidia-l4": {"nvidia.com/gpu.product": "NVIDIA-L4"}})
    assert "node labels" not in condition(decide(pool, ObservedPool(), known), "Accepted")["message"]


def test_the_api_servers_refusal_is_quoted():
    outcome = decide(a_pool(), ObservedPool(refusal="quota exceeded"), a_context())
    assert says(outcome, "Scaled") == ("False", "Refused")
    assert condition(outcome, "Scaled")["message"] == "quota exceeded"


def test_an_external_pool_deploys_nothing_and_says_what_its_api_said():
    silent = decide(an_external(), ObservedPool(), a_context())
    there = decide(an_external(), ObservedPool(external=ExternalCheck(True, "lists it")), a_context())
    away = decide(an_external(), ObservedPool(external=ExternalCheck(False, "no route")), a_context())
    assert not there.manifests
    assert there.requeue_after
    assert [says(outcome, "Ready")[0] for outcome in (silent, there, away)] == ["Unknown", "True", "False"]
    assert there.status["runtime"] == "External"


def test_a_pool_that_becomes_external_lets_its_objects_go():
    made = decide(a_pool("frontier"), ObservedPool(), a_context())
    outcome = decide(an_external(), ObservedPool(children=children(made)), a_context())
    assert set(outcome.deletions) == set(children(made))


def test_the_runtime_is_kept_unless_the_spec_names_another():
    made = decide(a_pool(), ObservedPool(), a_context())
    kuberay = a_context(kuberay=True)
    kept = decide(a_pool(), ObservedPool(children=children(made)), kuberay)
    fresh = decide(a_pool(), ObservedPool(), kuberay)
    moved = decide(a_pool(runtime="RayService"), ObservedPool(children=children(made)), kuberay)
    assert kept.status["runtime"] == "Deployment"
    assert fresh.status["runtime"] == moved.status["runtime"] == "RayService"
    assert not moved.deletions, "nothing answers yet in its place"


def test_without_kuberay_a_pool_of_several_nodes_says_what_it_needs():
    pool = a_pool(nodes=2, engine={"pipelineParallelSize": 2}, accelerator={"type": "nvidia-h100", "count": 1})
    outcome = decide(pool, ObservedPool(), a_context())
    assert says(outcome, "Accepted") == ("False", "RuntimeUnavailable")
    assert "spec.nodes" in condition(outcome, "Accepted")["message"]
    assert "install KubeRay" in condition(outcome, "Accepted")["message"]
    assert not outcome.manifests


def rayservice(outcome):
    return next(manifest for manifest in outcome.manifests if manifest["kind"] == "RayService")


def application(outcome):
    return json.loads(rayservice(outcome)["spec"]["serveConfigV2"])["applications"][0]


def surges(outcome):
    return {entry["max_surge_percent"] > 0 for entry in application(outcome)["deployments"]}


KUBERAY = a_context(kuberay=True)


def test_a_policys_bounds_change_a_rayservice_in_numbers_alone():
    pool = a_pool(replicas=None, autoscalingPolicyRef={"name": "follow-load"})
    few, many = (decide(pool, ObservedPool(policy=a_policy(maxReplicas=most)), KUBERAY) for most in (2, 9))
    by_hand = decide(a_pool(replicas=1), ObservedPool(), KUBERAY)
    assert revision_of(few) == revision_of(many) == revision_of(by_hand)
    clusters = [rayservice(outcome)["spec"]["rayClusterConfig"] for outcome in (few, many, by_hand)]
    assert clusters[0] == clusters[1] == clusters[2]
    configs = [application(outcome) for outcome in (few, many, by_hand)]
    assert all(config["args"] == configs[0]["args"] for config in configs)
    assert all(config["runtime_env"] == configs[0]["runtime_env"] for config in configs)
    assert configs[0]["deployments"] != configs[1]["deployments"]


def test_engine_arguments_reach_a_running_ray_and_weights_make_a_new_one():
    before = decide(a_pool(), ObservedPool(), KUBERAY)
    argument = decide(a_pool(engine={"maxModelLength": 1024}), ObservedPool(), KUBERAY)
    weights = decide(a_pool(model={"uri": "package://other/model.gguf"}), ObservedPool(), KUBERAY)
    assert application(argument)["args"] != application(before)["args"]
    assert revision_of(argument) == revision_of(before) != revision_of(weights)
    assert surges(before) == {True}
    assert surges(decide(a_pool(rollout={"type": "Recreate"}), ObservedPool(), KUBERAY)) == {False}


def test_a_pool_that_moves_to_another_runtime_answers_on_until_the_new_one_does():
    made = children(decide(a_pool(), ObservedPool(), a_context()))
    old = a_pod("old", ready=True)
    ray = a_ray(a_pool(runtime="RayService"), pods=(ray_pod("new", "one", ready=True), old))
    seen = replace(ray, children=made | dict(ray.children), proof=Proof(answered=False))
    pool = a_pool(runtime="RayService")
    waiting = decide(pool, seen, KUBERAY)
    assert not waiting.deletions
    assert says(waiting, "Ready") == ("True", "Answering")
    assert (waiting.status["readyReplicas"], says(waiting, "Reconciling")[0]) == (1, "True")
    assert waiting.status["url"] == "http://small-pool.team.svc:8000/v1"
    arrived = decide(pool, replace(seen, proof=Proof(answered=True)), KUBERAY)
    assert {key.kind for key in arrived.deletions} == {"Deployment", "Service"}
    assert "serve" in arrived.status["url"]
    at_once = decide(a_pool(runtime="RayService", rollout={"type": "Recreate"}), seen, KUBERAY)
    assert {"Deployment", "Service"} <= {key.kind for key in at_once.deletions}


def test_a_ray_that_kuberay_has_not_looked_at_yet_does_not_fail():
    made = children(decide(a_pool(), ObservedPool(), a_context()))
    pool = a_pool(runtime="RayService")
    new = {
        key: {**child, "metadata": {**child["metadata"], "generation": 1}}
        for key, child in children(decide(pool, ObservedPool(), KUBERAY)).items()
    }
    outcome = decide(pool, ObservedPool(children=made | new, pods=(a_pod(ready=True),)), KUBERAY)
    assert says(outcome, "Degraded") == ("False", "Whole")
    assert says(outcome, "Reconciling") == ("True", "RollingOut")


def test_a_ray_keeps_its_ways_until_a_deployment_answers_in_its_place():
    ray = a_ray(a_pool(runtime="RayService"), pods=(ray_pod("old", "one", ready=True),))
    pool = a_pool(runtime="Deployment")
    moving = decide(pool, ray, KUBERAY)
    assert not moving.deletions
    assert lets_its_pods_meet(moving)
    assert says(moving, "Ready") == ("True", "Answering")
    new = a_pod("new", revision=revision_of(moving), ready=True)
    arrived = decide(pool, replace(ray, pods=(*ray.pods, new)), KUBERAY)
    assert [key.kind for key in arrived.deletions] == ["RayService"]
    going = replace(ray, children={}, pods=(*ray.pods, new))
    assert lets_its_pods_meet(decide(pool, going, KUBERAY))
    assert not lets_its_pods_meet(decide(pool, replace(going, pods=(new,)), KUBERAY))


def lets_its_pods_meet(outcome):
    guard = next(manifest for manifest in outcome.manifests if manifest["kind"] == "NetworkPolicy")["spec"]
    return any(rule["from"] == [{"podSelector": guard["podSelector"]}] for rule in guard["ingress"])


def test_recreate_replaces_a_rayservice_where_surge_would_run_two():
    pool = a_pool(rollout={"type": "Recreate"}, accelerator={"type": "nvidia-l4", "count": 1})
    made = decide(pool, ObservedPool(), KUBERAY)
    changed = ModelPool.model_validate(
        pool.to_manifest() | {"spec": pool.to_manifest()["spec"] | {"pod": {"env": [{"name": "A", "value": "1"}]}}}
    )
    outcome = decide(changed, ObservedPool(children=children(made)), KUBERAY)
    assert [key.kind for key in outcome.deletions] == ["RayService"]
    assert "RayService" not in kinds(outcome)
    assert "RayService" in kinds(decide(changed, ObservedPool(), KUBERAY))


def test_a_rayservice_whose_operator_is_gone_says_so():
    made = children(decide(a_pool(), ObservedPool(), KUBERAY))
    live = {
        key: {**child, "metadata": {**child["metadata"], "generation": 2}, "status": {"observedGeneration": 1}}
        for key, child in made.items()
    }
    outcome = decide(a_pool(), ObservedPool(children=live), KUBERAY)
    assert says(outcome, "Ready")[0] == "False"
    assert "KubeRay has not processed" in condition(outcome, "Ready")["message"]


def ray_pod(name, ray, **said):
    pod = a_pod(name, **said)
    pod["metadata"]["labels"] |= {"ray.io/node-type": "worker", "ray.io/cluster": ray}
    return pod


def a_ray(pool=None, *, pods, state="RUNNING", engine="HEALTHY", message="", pending=None, policy=None):
    """What is seen of a pool whose RayService sends requests to the Ray `one`, with this state of its application."""
    pool = pool or a_pool()
    made = children(decide(pool, ObservedPool(policy=policy), KUBERAY))
    engines = {"PoolServer:small": {"status": engine, "message": message}}
    states = {"small": {"status": state, "serveDeploymentStatuses": engines}}
    told = {
        "observedGeneration": 1,
        "activeServiceStatus": {"rayClusterName": "one", "applicationStatuses": states if state else {}},
        "pendingServiceStatus": {"rayClusterName": pending} if pending else {},
    }
    live = {
        key: {**child, "metadata": {**child["metadata"], "generation": 1}, "status": told}
        for key, child in made.items()
    }
    return ObservedPool(children=live, pods=pods, proof=Proof(answered=True), policy=policy)


def test_a_rayservice_is_ready_once_it_has_answered():
    seen = a_ray(pods=(ray_pod("worker", "one", ready=True),))
    silent = decide(a_pool(), replace(seen, proof=Proof(answered=False, message="answered 500")), KUBERAY)
    proven = decide(a_pool(), seen, KUBERAY)
    assert says(silent, "Ready") == ("False", "Loading")
    assert condition(silent, "Ready")["message"] == "answered 500"
    assert silent.requeue_after
    assert "rayCluster" not in silent.status
    assert says(proven, "Ready") == ("True", "Answering")
    assert proven.requeue_after is None
    assert proven.status["rayCluster"] == "one"
    late = decide(a_pool(), replace(seen, proof=Proof(answered=True, message="late")), KUBERAY)
    assert late.status == proven.status
    assert late.requeue_after


@pytest.mark.parametrize(("engine", "ready"), [("UPSCALING", 1), ("UPDATING", 1), ("HEALTHY", 2), ("DOWNSCALING", 2)])
def test_a_worker_whose_engine_comes_up_is_not_ready_yet(engine, ready):
    seen = a_ray(pods=tuple(ray_pod(name, "one", ready=True) for name in "ab"), state="DEPLOYING", engine=engine)
    outcome = decide(a_pool(replicas=2), seen, KUBERAY)
    assert outcome.status["readyReplicas"] == ready
    after = decide(a_pool(replicas=2, status={**outcome.status, "readyReplicas": 2}), seen, KUBERAY)
    assert after.status["readyReplicas"] == 2


def test_while_a_second_ray_comes_up_the_first_answers_on():
    old, new = ray_pod("old", "one", revision="before", ready=True), ray_pod("new", "two", ready=False)
    outcome = decide(a_pool(), a_ray(pods=(old, new), state=None, pending="two"), KUBERAY)
    assert says(outcome, "Ready") == ("True", "Answering")
    assert says(outcome, "Reconciling")[0] == "True"
    assert outcome.status["readyReplicas"] == 1


def test_an_engine_that_fails_beside_one_that_answers_degrades_a_rayservice():
    words = "The deployment failed to start 1 times.\nValueError: no such dtype: float99"
    revision = revision_of(decide(a_pool(), ObservedPool(), KUBERAY))
    for state in ("DEPLOYING", "DEPLOY_FAILED"):
        seen = a_ray(pods=(ray_pod("worker", "one", revision=revision, ready=True),), state=state, message=words)
        outcome = decide(a_pool(), seen, KUBERAY)
        assert says(outcome, "Ready") == ("True", "Answering")
        assert says(outcome, "Degraded") == ("True", "RolloutFailing")
        assert "no such dtype: float99" in condition(outcome, "Degraded")["message"]


def test_what_serve_says_while_it_scales_is_no_fault():
    pods = (ray_pod("worker", "one", ready=True),)
    seen = a_ray(pods=pods, state="DEPLOYING", engine="UPSCALING", message="Upscaling from 1 to 2 replicas.")
    assert says(decide(a_pool(), seen, KUBERAY), "Degraded") == ("False", "Whole")


@pytest.mark.parametrize(
    ("engine", "serving", "idle", "desired"),
    [
        ("HEALTHY", 1, 0, 1),
        ("HEALTHY", 1, 1, 1),
        ("HEALTHY", 3, 0, 3),
        ("DOWNSCALING", 2, 1, 2),
        ("UPSCALING", 1, 1, 2),
        ("UPSCALING", 1, 5, 3),
        ("HEALTHY", 0, 0, 1),
    ],
)
def test_what_serve_wants_for_the_load_is_told_within_the_bounds(engine, serving, idle, desired):
    pool = a_pool(replicas=None, autoscalingPolicyRef={"name": "follow-load"})
    pods = tuple(ray_pod(f"{number}", "one", ready=number < serving) for number in range(serving + idle))
    seen = a_ray(pool, pods=pods, engine=engine, policy=a_policy(maxReplicas=3))
    assert decide(pool, seen, KUBERAY).status["desiredReplicas"] == desired


TO_ZERO = {"minReplicas": 0, "scaleToZero": {"afterSeconds": 60, "holdRequestsSeconds": 30}}


def test_a_pool_that_scales_to_zero_starts_with_one_replica_and_is_ready_without_any():
    pool = a_pool(replicas=None, autoscalingPolicyRef={"name": "p"})
    policy = a_policy(**TO_ZERO)
    first = decide(pool, ObservedPool(policy=policy), a_context())
    assert first.status["desiredReplicas"] == 1
    pods = (a_pod(revision=revision_of(first), ready=True),)
    idle = ScalingMemory(((99.0, 0.0),), idle_since=0.0)
    seen = ObservedPool(children=children(first), pods=pods, policy=policy, scaling=idle, clock=100.0)
    down = decide(pool, seen, a_context())
    assert down.status["desiredReplicas"] == 0
    rest = decide(pool, replace(seen, children=children(down), pods=()), a_context())
    assert (says(rest, "Ready"), says(rest, "Scaled")) == (("True", "ScaledToZero"), ("True", "ScaledToZero"))
    assert answers(a_pool(replicas=None, autoscalingPolicyRef={"name": "p"}, status=dict(rest.status)))
    waiting = replace(seen, children=children(rest), pods=(), scaling=ScalingMemory(((100.0, 40.0),)))
    up = decide(pool, waiting, a_context())
    assert up.status["desiredReplicas"] == 3
    assert says(up, "Ready") == ("False", "Loading")


def test_two_pools_stay_within_the_budget_of_their_policy():
    def priced(name, **more):
        price = {"currency": "USD", "perReplicaHour": "1.50"}
        return a_pool(name, replicas=None, autoscalingPolicyRef={"name": "p"}, pricing=price, **more)

    policy = a_policy(behavior={"upscaleDelaySeconds": 0}, budget={"currency": "USD", "perHour": "9"})
    busy, busier = ScalingMemory(((9.0, 80.0),)), ScalingMemory(((9.0, 300.0),))
    small, large = priced("small"), priced("large")
    seen = ObservedPool(policy=policy, clock=10.0)
    outcomes = [
        decide(small, replace(seen, scaling=busy, siblings=(Sibling(large, busier),)), a_context()),
        decide(large, replace(seen, scaling=busier, siblings=(Sibling(small, busy),)), a_context()),
    ]
    desired = [outcome.status["desiredReplicas"] for outcome in outcomes]
    assert sum(desired) == 6
    assert "budget.perHour" in condition(outcomes[1], "Scaled")["message"]


def test_a_rayservice_keeps_a_replica_and_says_so():
    pool = a_pool(replicas=None, runtime="RayService", autoscalingPolicyRef={"name": "p"})
    outcome = decide(pool, ObservedPool(policy=a_policy(**TO_ZERO)), KUBERAY)
    assert "minReplicas 0" in condition(outcome, "Accepted")["message"]
    assert application(outcome)["deployments"][0]["autoscaling_config"]["min_replicas"] == 1
