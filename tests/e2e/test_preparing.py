"""Plugins that are prepared by Jobs, on a real cluster, in front of a model that repeats the last message.

The tests depend on each other, in order.
"""

import json
import logging
import time
from typing import Any

import pytest
from realcluster import HOME, RELEASE, ROOT, TEAM, Cluster

logger = logging.getLogger(__name__)

pytestmark = pytest.mark.timeout(1800)

CLAIM = "prepared"
QUESTION = "What is PTO?"
KINDS = {"apiVersion": "pilotfish.dev/v1alpha1"}
RESTRICTED = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
UNPRIVILEGED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def apply(cluster: Cluster, *objects: dict[str, Any], namespace: str = TEAM) -> None:
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    cluster.run("kubectl", "--namespace", namespace, "apply", "-f", "-", given=given)


def claim(volume: str = "") -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    named = {"volumeName": volume, "storageClassName": ""} if volume else {}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM}, "spec": {**spec, **named}}


def terms(definition: str, *, key: str = "terms.csv", name: str = "terms") -> dict[str, Any]:
    data = {key: f"term,definition\nPTO,{definition}\n"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def plugin(name: str, policy: str) -> dict[str, Any]:
    sources = [{"name": "terms", "configMapRef": {"name": name}}]
    spec = {"type": "glossary", "failurePolicy": policy, "sources": sources}
    return {**KINDS, "kind": "AdaptationPlugin", "metadata": {"name": name}, "spec": spec}


def router(name: str, uses: str) -> dict[str, Any]:
    strategy = {"type": "Direct", "direct": {"poolRef": {"name": "echo"}}}
    spec = {"strategy": strategy, "plugins": [{"pluginRef": {"name": uses}}]}
    return {**KINDS, "kind": "ModelRouter", "metadata": {"name": name}, "spec": spec}


def echo(cluster: Cluster) -> list[dict[str, Any]]:
    """A pod with the model, its Service, and the pool."""
    container = {
        "name": "echo",
        "image": cluster.image,
        "command": ["python3", "/echo/echo.py"],
        "ports": [{"name": "http", "containerPort": 8000}],
        "readinessProbe": {"httpGet": {"path": "/v1/models", "port": "http"}},
        "securityContext": UNPRIVILEGED,
        "volumeMounts": [{"name": "echo", "mountPath": "/echo"}],
    }
    volumes = [{"name": "echo", "configMap": {"name": "echo"}}]
    script = (ROOT / "tests" / "support" / "echo.py").read_text()
    pod = {"containers": [container], "volumes": volumes, "securityContext": RESTRICTED}
    external = {"baseURL": f"http://echo.{TEAM}.svc:8000/v1", "model": "echo"}
    labels = {"app": "echo"}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "echo"}, "data": {"echo.py": script}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "echo", "labels": labels}, "spec": pod},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "echo"},
            "spec": {"selector": labels, "ports": [{"port": 8000}]},
        },
        {**KINDS, "kind": "ModelPool", "metadata": {"name": "echo"}, "spec": {"tier": "Small", "external": external}},
    ]


def open_up(cluster: Cluster) -> None:
    """Let user 1000 write to the volume: a host path belongs to root, and fsGroup does not change it."""
    container = {
        "name": "open",
        "image": cluster.image,
        "command": ["chmod", "0777", "/prepared"],
        "securityContext": {"runAsUser": 0},
        "volumeMounts": [{"name": "prepared", "mountPath": "/prepared"}],
    }
    volumes = [{"name": "prepared", "persistentVolumeClaim": {"claimName": CLAIM}}]
    spec = {"restartPolicy": "Never", "containers": [container], "volumes": volumes}
    apply(cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "open"}, "spec": spec}, namespace=HOME)
    phase = "--for=jsonpath={.status.phase}=Succeeded"
    cluster.run("kubectl", "-n", HOME, "wait", phase, "--timeout=10m", "pod/open")
    cluster.run("kubectl", "-n", HOME, "delete", "pod", "open")


def share(cluster: Cluster) -> None:
    """Claims in both namespaces, for one volume."""
    cluster.run("kubectl", "create", "namespace", HOME)
    apply(cluster, claim(), namespace=HOME)
    open_up(cluster)
    bound = json.loads(cluster.run("kubectl", "-n", HOME, "get", "pvc", CLAIM, "-o", "json"))
    volume = json.loads(cluster.run("kubectl", "get", "pv", bound["spec"]["volumeName"], "-o", "json"))
    left_out = {"claimRef", "storageClassName", "persistentVolumeReclaimPolicy"}
    spec = {name: value for name, value in volume["spec"].items() if name not in left_out}
    spec |= {"persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": TEAM, "name": CLAIM}}
    second = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"{CLAIM}-{TEAM}"}, "spec": spec}
    apply(cluster, second, claim(f"{CLAIM}-{TEAM}"))


def gateways(cluster: Cluster) -> list[tuple[str, int]]:
    """The uid and the restarts of each gateway."""
    labels = "app.kubernetes.io/component=gateway"
    listed = json.loads(cluster.run("kubectl", "-n", HOME, "get", "pods", "-l", labels, "-o", "json"))["items"]
    return sorted((pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]) for pod in listed)


def asked(cluster: Cluster, name: str, model: str) -> str:
    cluster.start_asking(name, model, QUESTION)
    return str(cluster.answer(name)["text"])


def test_a_job_prepares_a_plugin_and_a_router_uses_it(cluster: Cluster) -> None:
    cluster.run("kubectl", "create", "namespace", TEAM)
    share(cluster)
    cluster.helm_upgrade("--set", f"prepared.claim={CLAIM}")
    cluster.run("kubectl", "label", "namespace", TEAM, "pod-security.kubernetes.io/enforce=restricted")
    cluster.kubectl("create", "configmap", "ask", f"--from-file={ROOT / 'tests' / 'e2e' / 'ask.py'}")
    apply(cluster, *echo(cluster), terms("paid time off"), plugin("terms", "Fail"), router("assistant", "terms"))
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=10m", "ap/terms", "mr/assistant")
    status = cluster.get("ap", "terms")["status"]
    assert status["prepared"]["documents"] == 1
    job = cluster.get("job", status["prepared"]["job"])
    assert job["status"]["succeeded"] == 1
    assert "paid time off" in asked(cluster, "first", "assistant")


def test_a_changed_config_map_changes_answers_without_restart_and_without_a_failed_request(cluster: Cluster) -> None:
    before, digest = gateways(cluster), cluster.get("ap", "terms")["status"]["prepared"]["digest"]
    cluster.start_asking("load", "assistant", "--clients", "2", "--seconds", "90", "--pause", "0.1")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/load", "--timeout=5m")
    began = time.monotonic()
    apply(cluster, terms("a printed tree"))
    while cluster.get("ap", "terms")["status"]["prepared"]["digest"] == digest:
        assert time.monotonic() - began < 600
        time.sleep(1)
    logger.info("prepared again after %.0f s", time.monotonic() - began)
    number = 0
    while "a printed tree" not in asked(cluster, f"again-{number}", "assistant"):
        assert time.monotonic() - began < 600
        number += 1
    logger.info("answers changed after %.0f s", time.monotonic() - began)
    told = cluster.answer("load")
    logger.info("%s", told)
    assert told["failures"] == []
    assert told["whole"] > 0
    assert gateways(cluster) == before


def test_a_plugin_that_cannot_be_prepared_shows_why_and_its_failure_policy_applies(cluster: Cluster) -> None:
    broken = [terms("x", key="notes.txt", name=name) for name in ("careful", "easy")]
    apply(cluster, *broken, plugin("careful", "Fail"), plugin("easy", "Ignore"))
    apply(cluster, router("careful", "careful"), router("easy", "easy"))
    reason = '--for=jsonpath={.status.conditions[?(@.type=="Ready")].reason}=PreparationFailed'
    cluster.kubectl("wait", reason, "--timeout=15m", "ap/careful", "ap/easy")
    table = cluster.kubectl("get", "ap", "-o", "wide")
    line = next(line for line in table.splitlines() if line.startswith("careful"))
    assert "PreparationFailed" in line
    assert "no document has an entry" in line
    assert asked(cluster, "easy", "easy") == QUESTION
    cluster.start_asking("careful", "careful", "--clients", "1", "--seconds", "1", "--pause", "0.5")
    told = cluster.answer("careful")
    assert told["whole"] == 0
    assert all("503" in each and "plugin 'careful'" in each for each in told["failures"])


def test_nothing_is_left(cluster: Cluster) -> None:
    cluster.run("helm", "uninstall", RELEASE, "-n", HOME, "--wait")
    cluster.kubectl("delete", "mp,mr,ap,asp", "--all", "--timeout=2m")
    cluster.kubectl("wait", "--for=delete", "pod", "-l", "pilotfish.dev/plugin", "--timeout=5m")
    cluster.run("kubectl", "delete", "namespace", TEAM, HOME, "--timeout=5m")
    cluster.run("kubectl", "delete", "pv", f"{CLAIM}-{TEAM}", "--timeout=2m")
