"""Routers, plugins, policies, and resources that cannot be read."""

import copy

from resource_builders import CASCADE, a_context, a_plugin, a_policy, a_pool, a_router, condition, says

from pilotfish.api.status import ObjectiveStatus
from pilotfish.api.validation import Fault
from pilotfish.reconcile import invalid, plugin, policy, router
from pilotfish.reconcile.plugin import ObservedPlugin
from pilotfish.reconcile.router import ObservedRouter
from pilotfish.reconcile.served import Served

READY = {"conditions": [{"type": "EngineReady", "status": "True", "reason": "Answering", "lastTransitionTime": "t"}]}


def test_a_router_is_ready_when_some_path_answers_and_degraded_when_not_every_one_does():
    two = a_router("r", "small", "large")
    up, down = a_pool("small", status=READY), a_pool("large")
    part = router.desired_state(two, ObservedRouter(pools=(up, down)), a_context())
    none = router.desired_state(two, ObservedRouter(pools=(a_pool("small"), down)), a_context())
    whole = router.desired_state(two, ObservedRouter(pools=(up, a_pool("large", status=READY))), a_context())
    assert [says(outcome, "Ready") for outcome in (part, none, whole)] == [
        ("True", "Answering"),
        ("False", "NoPath"),
        ("True", "Answering"),
    ]
    assert [says(outcome, "Degraded")[0] for outcome in (part, none, whole)] == ["True", "True", "False"]
    assert part.status["url"] == "http://gateway/v1"


def test_a_router_names_every_reference_that_is_missing():
    names = a_router("r", "small", "gone", plugins=[{"pluginRef": {"name": "handbook"}}])
    outcome = router.desired_state(names, ObservedRouter(pools=(a_pool("small", status=READY),)), a_context())
    assert says(outcome, "Ready") == ("False", "NotFound")
    message = condition(outcome, "ResolvedRefs")["message"]
    assert "ModelPool 'gone'" in message
    assert "AdaptationPlugin 'handbook'" in message


def test_of_two_routers_with_one_name_the_older_has_it():
    older = a_router("a", "small", created="2025-01-01T00:00:00Z", servedModelNames=["chat", "x"])
    newer = a_router("b", "small", created="2026-01-01T00:00:00Z", servedModelNames=["chat", "y"])
    pools = (a_pool("small", status=READY),)
    first = router.desired_state(older, ObservedRouter(pools=pools, rivals=(newer,)), a_context())
    second = router.desired_state(newer, ObservedRouter(pools=pools, rivals=(older,)), a_context())
    assert says(first, "Accepted") == ("True", "Accepted")
    assert says(second, "Accepted") == ("False", "NameConflict")
    assert "'chat' by router 'a'" in condition(second, "Accepted")["message"]


LEARNED = {"configMapRef": {"name": "learned", "key": "scorer.npz"}}
SPEND = {"type": "Spend", "spend": {"currency": "USD", "perHour": "5"}}
PRICED = {"currency": "USD", "perReplicaHour": "1"}


def of_objective(seen, *, pricing=PRICED, artifact=None, status=None, **spec):
    strategy = copy.deepcopy(CASCADE)
    if artifact:
        strategy["cascade"]["stages"][0]["accept"]["scorer"]["artifact"] = artifact
    wants = a_router("r", **{"strategy": strategy, "objective": SPEND} | spec)
    if status:
        wants = wants.model_copy(
            update={"status": wants.model_validate(wants.to_manifest() | {"status": status}).status}
        )
    pools = (a_pool("small", pricing=pricing, status=READY), a_pool("large", pricing=pricing, status=READY))
    return router.desired_state(wants, ObservedRouter(pools=pools, served=seen), a_context()).status


def test_an_objective_that_no_gateway_tells_of_is_told_from_the_manifest():
    for seen in (None, Served()):
        assert of_objective(seen)["objective"] | {"message": ""} == {
            "type": "Spend",
            "target": "5",
            "unit": "USD per hour",
            "thresholdPermille": 600,
            "reason": "NotCalibrated",
            "message": "",
        }
    assert "pilotfish calibrate" in of_objective(None)["objective"]["message"]
    assert of_objective(None, artifact=LEARNED)["objective"]["reason"] == "WarmingUp"
    assert of_objective(None, pricing=None)["objective"]["reason"] == "NotPriced"
    direct = {"type": "Direct", "direct": {"poolRef": {"name": "small"}}}
    assert of_objective(None, strategy=direct)["objective"]["reason"] == "NoThreshold"
    assert "objective" not in of_objective(None, objective=None)


def test_what_gateways_tell_goes_into_the_status_and_stays_until_they_are_asked_again():
    told = ObjectiveStatus(
        type="Spend", target="5", current="4.9", unit="USD per hour", threshold_permille=640, reason="OnTarget"
    )
    first = of_objective(Served(320, told), artifact=LEARNED)
    assert first["escalatedPermille"] == 320
    assert first["objective"]["thresholdPermille"] == 640
    again = of_objective(None, artifact=LEARNED, status=first)
    assert (again["objective"], again["escalatedPermille"]) == (first["objective"], 320)
    assert of_objective(Served(), artifact=LEARNED, status=first)["objective"]["reason"] == "WarmingUp"


def test_a_plugin_needs_its_pools():
    wants = a_plugin(poolRefs=[{"role": "embedder", "name": "small"}])
    missing = plugin.desired_state(wants, ObservedPlugin(), a_context())
    silent = plugin.desired_state(wants, ObservedPlugin(pools=(a_pool("small"),)), a_context())
    ready = plugin.desired_state(wants, ObservedPlugin(pools=(a_pool("small", status=READY),), routers=2), a_context())
    assert [says(outcome, "Ready")[1] for outcome in (missing, silent, ready)] == ["NotFound", "NoPath", "Resolved"]
    assert ready.status["routers"] == 2


def test_a_policy_says_what_it_does_not_carry_out():
    plain = policy.desired_state(a_policy(), 3, a_context())
    more = policy.desired_state(
        a_policy(minReplicas=0, scaleToZero={"afterSeconds": 5, "holdRequestsSeconds": 5}), 0, a_context()
    )
    assert (says(plain, "Ready"), plain.status["pools"]) == (("True", "InForce"), 3)
    assert says(more, "Ready") == ("True", "PartlyInForce")
    assert "spec.scaleToZero" in condition(more, "Ready")["message"]


def test_what_our_models_refuse_is_told_in_its_status():
    raw = {"metadata": {"name": "x", "generation": 2}, "status": {"conditions": "garbage"}}
    outcome = invalid.desired_state(raw, (Fault(("spec", "tier"), "is required"),), a_context())
    assert says(outcome, "Accepted") == ("False", "InvalidSpec")
    assert condition(outcome, "Ready")["message"] == "spec.tier: is required"
