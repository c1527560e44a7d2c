"""KubeRay that comes while operators run, against a real API server."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from controlplane import Api, ControlPlane, install_crds, open_crd
from operator_cases import START_SECONDS, a_pool, child, condition, deployment, there, wait_settled
from operatorprocess import Account, OperatorProcess

KUBERAY = open_crd("ray.io", "v1", "RayService", "rayservices")
POOLS = 12
"""More than the operator has workers."""


@pytest.fixture
def operators(
    control_plane: ControlPlane, account: Account, api: Api, tmp_path: Path
) -> Iterator[list[OperatorProcess]]:
    """One that acts and one that stands by. KubeRay, if it came, goes at the end."""
    kubeconfig = control_plane.kubeconfig(tmp_path / "kubeconfig", token=account.token)
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                OperatorProcess(kubeconfig, account.namespace, tmp_path / f"{identity}.log", identity=identity)
            )
            for identity in ("one", "two")
        ]
    if there(api, KUBERAY):
        api.delete(KUBERAY)
        api.wait("KubeRay being gone", lambda: there(api, KUBERAY) is None)


def runs_on_ray(api: Api, pool: dict) -> bool:
    """Whether the pool's RayService was made, and the last status written: the one that has seen it."""
    name, namespace = pool["metadata"]["name"], pool["metadata"]["namespace"]
    made = there(api, child("ray.io/v1", "RayService", namespace, name))
    return bool(made) and "KubeRay has not processed" in condition(api, pool, "EngineReady").get("message", "")


def wait_for_rays(api: Api, pools: list[dict]) -> None:
    for pool in pools:
        name = pool["metadata"]["name"]
        api.wait(f"{name} being a RayService", lambda pool=pool: runs_on_ray(api, pool), seconds=START_SECONDS)


@pytest.mark.timeout(300)
def test_kuberay_that_comes_is_taken_up_and_not_doubted_at_a_restart(api, control_plane, account, operators, namespace):
    asking = api.create(a_pool(namespace, "asking", runtime="RayService"))
    api.wait(
        "KubeRay being missed",
        lambda: condition(api, asking, "Accepted").get("reason") == "RuntimeUnavailable",
        seconds=START_SECONDS,
    )
    api.wait("both watching without it", lambda: all("rayservices" in each.words for each in operators))
    install_crds(api, [KUBERAY])
    api.wait("both operators ending", lambda: not any(each.running for each in operators), seconds=90)
    assert [each.wait() for each in operators] == [0, 0]
    assert all("KubeRay was installed or removed" in each.words for each in operators)

    operators[0].start()
    pools = [asking, *(api.create(a_pool(namespace, f"p{number}")) for number in range(POOLS))]
    wait_for_rays(api, pools)
    assert operators[0].stop() == 0
    before = len(writes(control_plane, account, namespace))
    operators[0].start()
    wait_for_rays(api, [api.create(a_pool(namespace, "fence"))])
    fresh = [entry for entry in writes(control_plane, account, namespace)[before:] if "fence" not in entry]
    assert fresh == []


def test_a_pool_that_moves_to_a_ray_keeps_its_deployment_until_the_ray_answers(api, operators, namespace):
    for each in operators:
        each.stop()
    install_crds(api, [KUBERAY])
    operators[0].start()
    pool = api.create(a_pool(namespace, runtime="Deployment"))
    wait_settled(api, pool)
    api.merge(pool, {"spec": {"runtime": "RayService"}})
    wait_for_rays(api, [pool])
    api.wait("the move in the status", lambda: api.get(pool)["status"]["runtime"] == "RayService")
    assert there(api, deployment(namespace)), "no Ray answers yet"
    api.merge(pool, {"spec": {"rollout": {"type": "Recreate"}}})
    api.wait("the Deployment being gone", lambda: there(api, deployment(namespace)) is None)


def writes(control_plane: ControlPlane, account: Account, namespace: str) -> list[str]:
    """What the operators wrote in the namespace."""
    return [
        f"{request.verb} {request.resource}/{request.subresource} {request.name}"
        for request in control_plane.requests(account.user)
        if request.namespace == namespace and request.verb not in {"get", "list", "watch"}
    ]
