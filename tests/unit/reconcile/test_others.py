"""Routers, plugins, policies, and resources that cannot be read."""

from resource_builders import a_context, a_plugin, a_policy, a_pool, a_router, condition, says

from pilotfish.api.validation import Fault
from pilotfish.reconcile import invalid, plugin, policy, router
from pilotfish.reconcile.plugin import ObservedPlugin
from pilotfish.reconcile.router import ObservedRouter

READY = {"conditions": [{"type": "Ready", "status": "True", "reason": "Answering", "lastTransitionTime": "t"}]}


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
