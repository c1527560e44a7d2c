"""From what a cluster holds to what a gateway answers from."""

import base64
from pathlib import Path

import pytest
from resource_builders import a_plugin, a_pool, a_router, an_external

from pilotfish.base.keys import Key
from pilotfish.kube.endpoints import SERVICE_LABEL, ready_addresses
from pilotfish.kube.errors import KubeError
from pilotfish.kube.secrets import api_key
from pilotfish.kube.views import Cluster, needed, snapshot_of
from pilotfish.routing.snapshot import PoolState


def raw_forms(*resources):
    found = [resource.model_dump(mode="json", by_alias=True, exclude_none=True) for resource in resources]
    for raw in found:
        raw["metadata"]["managedFields"] = [{"what": "ever"}]
    return found


def a_slice(service, *addresses, ready=True, port="http"):
    return {
        "metadata": {"namespace": "team", "name": f"{service}-x", "labels": {SERVICE_LABEL: service}},
        "endpoints": [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses],
        "ports": [{"name": port, "port": 8000}],
    }


def status(reason, truth="False", runtime="Deployment"):
    told = {"type": "Ready", "status": truth, "reason": reason, "message": "words", "lastTransitionTime": "t"}
    return {"runtime": runtime, "conditions": [told]}


def view(pool, **cluster):
    return snapshot_of(Cluster(raw_forms(pool), **cluster)).pool("team", pool.name)


def test_every_ready_pod_is_an_endpoint():
    found = view(a_pool(), slices=[a_slice("small-pool", "10.0.0.2", "10.0.0.1"), a_slice("other", "10.0.0.9")])
    assert found.state is PoolState.READY
    assert [endpoint.base_url for endpoint in found.endpoints] == ["http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"]


def on_ray(service, engine_ready):
    engine = {"type": "EngineReady", "status": engine_ready, "reason": "Answering", "lastTransitionTime": "t"}
    return {"runtime": "RayService", "url": f"http://{service}.team.svc:8000/v1", "conditions": [engine]}


@pytest.mark.parametrize(
    ("service", "engine_ready", "addresses"),
    [
        ("small-pool-serve-svc", "False", ["10.0.0.1"]),
        ("small-pool", "True", ["10.0.0.1"]),
        ("small-pool-serve-svc", "True", ["10.0.0.1", "10.0.0.2"]),
    ],
    ids=["starting", "moving", "answered"],
)
def test_a_rayservice_is_reached_once_it_has_answered(service, engine_ready, addresses):
    slices = [a_slice("small-pool", "10.0.0.1"), a_slice("small-pool-serve-svc", "10.0.0.2", port="serve")]
    found = view(a_pool(status=on_ray(service, engine_ready)), slices=slices)
    assert [endpoint.base_url for endpoint in found.endpoints] == [f"http://{each}:8000/v1" for each in addresses]
    alone = view(a_pool(status=on_ray(service, engine_ready)), slices=slices[1:])
    assert alone.can_answer is (len(addresses) == 2)


def test_a_pool_without_endpoints_says_why():
    states = {
        reason: view(a_pool(status=status(reason)), slices=[a_slice("small-pool", "10.0.0.1", ready=False)])
        for reason in ("Loading", "EngineFailed", "ScaledToZero")
    }
    assert {reason: found.state for reason, found in states.items()} == {
        "Loading": PoolState.LOADING,
        "EngineFailed": PoolState.FAILED,
        "ScaledToZero": PoolState.SCALED_TO_ZERO,
    }
    assert states["EngineFailed"].reason == "words"
    assert view(a_pool()).state is PoolState.LOADING


def with_key(**external):
    reference = {"name": "key", "key": "api"}
    base = {"baseURL": "https://api.example.com/v1", "model": "m", "apiKeySecretRef": reference}
    return a_pool("frontier", model=None, replicas=None, external=base | external)


def test_an_external_pool_has_its_key_or_says_that_it_is_missing():
    secret = {Key("Secret", "team", "key"): {"data": {"api": base64.b64encode(b"s3cret\n").decode()}}}
    there, missing = view(with_key(), secrets=secret), view(with_key())
    assert there.endpoints[0].api_key == "s3cret"
    assert "s3cret" not in repr(there)
    assert missing.state is PoolState.FAILED
    assert "spec.external.apiKeySecretRef" in missing.reason
    assert view(an_external()).state is PoolState.READY


@pytest.mark.parametrize("value", [b"\xff\xfe", b"two\nlines", b"\n", "schlüssel".encode()])
def test_a_key_that_no_header_can_carry_is_a_fault_of_its_pool_alone(value):
    secret = {"data": {"api": base64.b64encode(value).decode()}}
    resources = raw_forms(with_key(), an_external("open"))
    found = snapshot_of(Cluster(resources, secrets={Key("Secret", "team", "key"): secret}))
    assert found.pool("team", "open").state is PoolState.READY
    assert found.pool("team", "frontier").state is PoolState.FAILED
    assert "one line of printable ASCII" in found.pool("team", "frontier").reason
    with pytest.raises(KubeError, match="one line") as raised:
        api_key(secret, "key", "api")
    assert raised.value.__context__ is None, "its message contains the key"


ARTIFACT = {"configMapRef": {"name": "weights", "key": "scorer.npz"}}


def predictive():
    scorer = {"name": "linear", "artifact": ARTIFACT}
    candidates = [{"poolRef": {"name": "a"}, "thresholdPermille": 1}, {"poolRef": {"name": "b"}}]
    strategy = {"type": "Predictive", "predictive": {"scorer": scorer, "candidates": candidates}}
    return a_router("r", "a", strategy=strategy)


def test_what_is_needed_besides_is_named_and_taken_in():
    cluster = Cluster(
        raw_forms(with_key(), predictive()),
        config_maps={
            Key("ConfigMap", "team", "weights"): {"binaryData": {"scorer.npz": base64.b64encode(b"\x00\x01").decode()}}
        },
    )
    wanted = needed(cluster)
    assert wanted.secrets == {Key("Secret", "team", "key")}
    assert wanted.config_maps == {Key("ConfigMap", "team", "weights")}
    router = snapshot_of(cluster).routers[Key("ModelRouter", "team", "r")]
    assert router.artifacts == {"configmap://weights/scorer.npz": b"\x00\x01"}


def test_the_folder_of_a_plugin_is_what_its_status_names():
    prepared = {"digest": "a" * 64, "job": "j", "documents": 1, "time": "2026-07-31T12:00:00Z"}
    (raw,) = raw_forms(a_plugin())
    cluster = Cluster([{**raw, "status": {"prepared": prepared}}])
    key = Key("AdaptationPlugin", "team", "handbook")
    assert snapshot_of(cluster, prepared=Path("/p")).prepared == {key: Path("/p/team.handbook", "a" * 64)}
    assert snapshot_of(cluster).prepared == {}
    assert snapshot_of(Cluster([raw]), prepared=Path("/p")).prepared == {}


def test_what_cannot_be_read_leaves_the_rest_alone():
    broken = {"apiVersion": "pilotfish.dev/v1alpha1", "kind": "ModelPool", "metadata": {"name": "broken"}}
    resources = [*raw_forms(a_pool()), broken]
    assert set(snapshot_of(Cluster(resources)).pools) == {Key("ModelPool", "team", "small")}


def test_addresses_of_both_families():
    assert ready_addresses([a_slice("s", "fd00::1", "10.0.0.1")], "http") == ("10.0.0.1:8000", "[fd00::1]:8000")
