"""The operator as a process against a real API server, with the chart's rights and no others."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from controlplane import ControlPlane
from operator_cases import (
    CHILDREN,
    START_SECONDS,
    a_pool,
    child,
    condition,
    deployment,
    there,
    wait_settled,
)
from operatorprocess import Account, OperatorProcess


@pytest.fixture
def operator(control_plane: ControlPlane, account: Account, tmp_path: Path) -> Iterator[OperatorProcess]:
    """A running operator."""
    kubeconfig = control_plane.kubeconfig(tmp_path / "kubeconfig", token=account.token)
    with OperatorProcess(kubeconfig, account.namespace, tmp_path / "operator.log") as process:
        yield process


def writes(control_plane: ControlPlane, account: Account, namespace: str) -> list[str]:
    """What the operator wrote in a namespace; others may hold what earlier tests left unsettled."""
    return [
        f"{request.verb} {request.resource}/{request.subresource} {request.namespace}/{request.name}"
        for request in control_plane.requests(account.user)
        if request.namespace == namespace and request.verb not in {"get", "list", "watch"}
    ]


def test_it_makes_what_is_declared_and_mends_what_is_edited(api, operator, namespace):
    pool = api.create(a_pool(namespace))
    wait_settled(api, pool)
    made = api.get(deployment(namespace))
    assert made["metadata"]["ownerReferences"][0]["uid"] == pool["metadata"]["uid"]
    assert "finalizers" not in api.get(pool)["metadata"]
    assert condition(api, pool, "Ready")["reason"] == "Loading"

    api.merge(made, {"spec": {"replicas": 7, "template": {"spec": {"terminationGracePeriodSeconds": 30}}}})
    api.merge(made, {"metadata": {"labels": {"pilotfish.dev/pool": None}}})
    api.delete(child("v1", "Service", namespace))

    def mended() -> bool:
        now = api.get(made)
        return (
            now["spec"]["replicas"] == 1
            and now["spec"]["template"] == made["spec"]["template"]
            and now["metadata"]["labels"] == made["metadata"]["labels"]
            and there(api, child("v1", "Service", namespace)) is not None
        )

    api.wait("the edits to be reverted", mended)


def test_what_others_put_beside_our_items_goes_and_then_nothing_is_written(
    api, control_plane, account, operator, namespace
):
    """An apply leaves items of others, and the API server keeps an empty variable without its value."""
    pool = api.create(a_pool(namespace, pod={"env": [{"name": "EMPTY", "value": ""}]}))
    wait_settled(api, pool)
    made = api.get(deployment(namespace))
    template = made["spec"]["template"]
    (engine,) = template["spec"]["containers"]
    by_hand = {**engine, "env": [{"name": "A", "value": "1"}, *engine["env"]]}
    beside = {"name": "beside", "image": "beside.test/it:1"}
    api.merge(made, {"spec": {"template": {"spec": {"containers": [beside, by_hand]}}}})
    api.wait("the template being as it was", lambda: api.get(made)["spec"]["template"] == template)

    before = len(writes(control_plane, account, namespace))
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
    api.merge(made, {"status": {"conditions": [failure]}}, sub="/status")
    api.wait("the next look", lambda: "exceeded quota" in condition(api, pool, "Ready").get("message", ""))
    fresh = writes(control_plane, account, namespace)[before:]
    assert not [entry for entry in fresh if "deployments" in entry]


def test_scale_and_removal_reach_the_deployment_in_place(api, operator, namespace):
    pool = api.create(a_pool(namespace))
    wait_settled(api, pool)
    before = api.get(deployment(namespace))
    api.merge(pool, {"spec": {"replicas": 3}}, sub="/scale")
    api.wait("the scale being followed", lambda: api.get(before)["spec"]["replicas"] == 3)
    assert api.get(before)["spec"]["template"] == before["spec"]["template"]

    api.merge(pool, {"spec": {"pod": {"env": [{"name": "A", "value": "1"}]}}})
    api.wait("the variable being there", lambda: '"A"' in str(api.get(before)["spec"]["template"]).replace("'", '"'))
    api.merge(pool, {"spec": {"pod": None}})
    api.wait("the variable being gone", lambda: api.get(before)["spec"]["template"] == before["spec"]["template"])


def test_an_objective_that_cannot_be_held_is_told_in_the_routers_status(api, operator, namespace):
    for name in ("small", "large"):
        api.create(a_pool(namespace, name, pricing={"currency": "USD", "perReplicaHour": "1"}))
    accept = {"scorer": {"name": "logprob"}, "thresholdPermille": 600}
    stages = [{"poolRef": {"name": "small"}, "accept": accept}, {"poolRef": {"name": "large"}}]
    router = api.create(
        {
            "apiVersion": "pilotfish.dev/v1alpha1",
            "kind": "ModelRouter",
            "metadata": {"name": "assistant", "namespace": namespace},
            "spec": {
                "strategy": {"type": "Cascade", "cascade": {"stages": stages}},
                "objective": {"type": "Spend", "spend": {"currency": "USD", "perHour": "2.50"}},
            },
        }
    )

    def told() -> bool:
        objective = api.get(router).get("status", {}).get("objective", {})
        return (objective.get("reason"), objective.get("thresholdPermille")) == ("NotCalibrated", 600)

    api.wait("the objective in the status", told)


def test_a_restart_writes_nothing(api, control_plane, account, operator, namespace):
    pools = [api.create(a_pool(namespace, f"p{number}")) for number in range(5)]
    for pool in pools:
        wait_settled(api, pool)
    assert operator.stop() == 0
    before = writes(control_plane, account, namespace)
    operator.start()
    fence = api.create(a_pool(namespace, "fence"))
    wait_settled(api, fence)
    fresh = [entry for entry in writes(control_plane, account, namespace)[len(before) :] if "fence" not in entry]
    assert fresh == []


def test_the_rights_are_enough(api, control_plane, account, operator, namespace):
    wait_settled(api, api.create(a_pool(namespace)))
    denied = [request for request in control_plane.requests(account.user) if request.code == 403]
    assert denied == []


def test_without_the_operator_everything_can_be_deleted(api, operator, namespace):
    pool = api.create(a_pool(namespace))
    wait_settled(api, pool)
    operator.stop()
    for version, kind in CHILDREN:
        api.delete(child(version, kind, namespace))
    api.delete(pool)
    assert there(api, pool) is None


def test_pools_deleted_while_they_are_made_leave_the_operator_well(api, operator, namespace):
    for number in range(20):
        pool = api.create(a_pool(namespace, f"brief{number}"))
        api.delete(pool)
    wait_settled(api, api.create(a_pool(namespace, "last")))
    assert operator.running
    assert "unexpected" not in operator.words


def test_a_namespace_that_takes_nothing_is_told_and_holds_up_no_other(api, operator, namespace):
    """A namespace that is being deleted takes no new objects; here its deletion never finishes."""
    operator.stop()
    closed = api.namespace()
    pool = api.create(a_pool(closed))
    api.request("DELETE", f"/api/v1/namespaces/{closed}")
    operator.start()
    api.wait(
        "the refusal in the status",
        lambda: condition(api, pool, "Scaled").get("reason") == "Refused",
        seconds=START_SECONDS,
    )
    assert "being terminated" in condition(api, pool, "Scaled")["message"]
    wait_settled(api, api.create(a_pool(namespace)))


def test_somebody_elses_object_of_the_same_name_is_left_alone(api, operator, namespace):
    theirs = {
        **child("v1", "Service", namespace),
        "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]},
    }
    theirs = api.create(theirs)
    pool = api.create(a_pool(namespace))
    api.wait(
        "the clash in the status",
        lambda: condition(api, pool, "Scaled").get("reason") == "Refused",
        seconds=START_SECONDS,
    )
    assert "does not belong to this ModelPool" in condition(api, pool, "Scaled")["message"]
    assert api.get(theirs)["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"]


def test_a_router_follows_its_pools_and_names_conflict(api, operator, namespace):
    def router(name: str) -> dict:
        return {
            "apiVersion": "pilotfish.dev/v1alpha1",
            "kind": "ModelRouter",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "servedModelNames": [f"chat-{namespace}"],
                "strategy": {"type": "Direct", "direct": {"poolRef": {"name": "small"}}},
            },
        }

    first = api.create(router("a"))
    second = api.create(router("b"))
    api.wait("b being refused", lambda: condition(api, second, "Accepted").get("reason") == "NameConflict", seconds=90)
    assert condition(api, first, "ResolvedRefs")["reason"] == "NotFound"
    api.create(a_pool(namespace))
    api.wait("the pool being seen", lambda: condition(api, first, "ResolvedRefs")["status"] == "True")
    api.delete(first)
    api.wait("b taking the name", lambda: condition(api, second, "Accepted")["status"] == "True")


def test_the_schedulers_words_reach_the_pool(api, operator, namespace):
    pool = api.create(a_pool(namespace, accelerator={"type": "nvidia-l4", "count": 1}))
    wait_settled(api, pool)
    template = api.get(deployment(namespace))["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": "small-pool-0", "namespace": namespace},
        "spec": template["spec"],
    }
    pod = api.create(pod)
    words = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    api.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": pod["metadata"] | {"managedFields": None},
            "status": {"conditions": [scheduled]},
        },
        sub="/status",
    )
    api.wait("the message in the status", lambda: words in condition(api, pool, "Ready").get("message", ""))
    assert condition(api, pool, "Ready")["reason"] == "Unschedulable"
