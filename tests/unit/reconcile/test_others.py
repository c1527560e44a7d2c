"""Routers, plugins, policies, and resources that cannot be read."""

import copy

import pytest
from resource_builders import CASCADE, a_context, a_plugin, a_policy, a_pool, a_router, condition, says

from pilotfish.api.status import ObjectiveStatus
from pilotfish.api.validation import Fault
from pilotfish.reconcile import invalid, plugin, policy, router
from pilotfish.reconcile.gateway_report import RouterReport
from pilotfish.reconcile.kinds import parse_resource
from pilotfish.reconcile.plugin import ObservedPlugin
from pilotfish.reconcile.policy import ObservedPolicy
from pilotfish.reconcile.router import ObservedRouter

ANSWERED = {"type": "EngineReady", "status": "True", "reason": "Answering", "lastTransitionTime": "t"}
READY = {"readyReplicas": 1, "conditions": [ANSWERED]}


def test_a_router_is_ready_when_some_path_answers_and_degraded_when_not_every_one_does():
    two = a_router("r", "small", "large")
    up, down = a_pool("small", status=READY), a_pool("large")
    part = router.decide(two, ObservedRouter(pools=(up, down)), a_context())
    none = router.decide(two, ObservedRouter(pools=(a_pool("small"), down)), a_context())
    whole = router.decide(two, ObservedRouter(pools=(up, a_pool("large", status=READY))), a_context())
    assert [says(outcome, "Ready") for outcome in (part, none, whole)] == [
        ("True", "Answering"),
        ("False", "NoPath"),
        ("True", "Answering"),
    ]
    assert [says(outcome, "Degraded")[0] for outcome in (part, none, whole)] == ["True", "True", "False"]
    assert part.status["url"] == "http://gateway/v1"


def test_a_router_names_every_reference_that_is_missing():
    names = a_router("r", "small", "gone", plugins=[{"pluginRef": {"name": "handbook"}}])
    missing = (names.key.beside("ModelPool", "gone"), names.key.beside("AdaptationPlugin", "handbook"))
    seen = ObservedRouter(missing=missing, pools=(a_pool("small", status=READY),))
    outcome = router.decide(names, seen, a_context())
    assert says(outcome, "Ready") == ("False", "NotFound")
    message = condition(outcome, "ResolvedRefs")["message"]
    assert "ModelPool 'gone'" in message
    assert "AdaptationPlugin 'handbook'" in message


def test_of_two_routers_with_one_name_the_older_has_it():
    older = a_router("a", "small", created="2025-01-01T00:00:00Z", servedModelNames=["chat", "x"])
    newer = a_router("b", "small", created="2026-01-01T00:00:00Z", servedModelNames=["chat", "y"])
    pools = (a_pool("small", status=READY),)
    first = router.decide(older, ObservedRouter(pools=pools, rivals=(newer,)), a_context())
    second = router.decide(newer, ObservedRouter(pools=pools, rivals=(older,)), a_context())
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
    return router.decide(wants, ObservedRouter(pools=pools, report=seen), a_context()).status


def test_an_objective_that_no_gateway_tells_of_is_told_from_the_manifest():
    for seen in (None, RouterReport()):
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
    first = of_objective(RouterReport(320, told), artifact=LEARNED)
    assert first["escalatedPermille"] == 320
    assert first["objective"]["thresholdPermille"] == 640
    again = of_objective(None, artifact=LEARNED, status=first)
    assert (again["objective"], again["escalatedPermille"]) == (first["objective"], 320)
    assert of_objective(RouterReport(), artifact=LEARNED, status=first)["objective"]["reason"] == "WarmingUp"


def test_a_plugin_needs_its_pools():
    wants = a_plugin(poolRefs=[{"role": "embedder", "name": "small"}])
    gone = (wants.key.beside("ModelPool", "small"),)
    missing = plugin.decide(wants, ObservedPlugin(missing=gone), a_context())
    silent = plugin.decide(wants, ObservedPlugin(pools=(a_pool("small"),)), a_context())
    ready = plugin.decide(wants, ObservedPlugin(pools=(a_pool("small", status=READY),), routers=2), a_context())
    assert [says(outcome, "Ready")[1] for outcome in (missing, silent, ready)] == ["NotFound", "NoPath", "Resolved"]
    assert ready.status["routers"] == 2


def test_a_policy_says_what_it_does_not_carry_out():
    plain = policy.decide(a_policy(), ObservedPolicy(pools=3), a_context())
    more = policy.decide(
        a_policy(signals=[{"type": "KVCacheUsagePercent", "target": 80}]),
        ObservedPolicy(),
        a_context(),
    )
    assert (says(plain, "Ready"), plain.status["pools"]) == (("True", "InForce"), 3)
    assert says(more, "Ready") == ("True", "PartlyInForce")
    assert "KVCacheUsagePercent" in condition(more, "Ready")["message"]


def test_what_our_models_refuse_is_told_in_its_status():
    raw = {"metadata": {"name": "x", "generation": 2}, "status": {"conditions": "garbage"}}
    outcome = invalid.decide(raw, (Fault(("spec", "tier"), "is required"),), a_context())
    assert says(outcome, "Accepted") == ("False", "InvalidSpec")
    assert condition(outcome, "Ready")["message"] == "spec.tier: is required"


@pytest.mark.parametrize(
    ("spec", "field"),
    [({"nodes": 0}, "spec.nodes"), ({"runtime": "Slurm"}, "spec.runtime"), ({"model": {"uri": "x"}}, "spec.model.uri")],
)
def test_a_malformed_field_is_an_invalid_spec_whatever_the_field_is(spec, field):
    raw = a_pool().to_manifest()
    raw["spec"] |= spec
    _, faults = parse_resource(raw)
    outcome = invalid.decide(raw, faults, a_context())
    assert says(outcome, "Accepted") == ("False", "InvalidSpec")
    assert condition(outcome, "Accepted")["message"].startswith(f"{field}: ")
