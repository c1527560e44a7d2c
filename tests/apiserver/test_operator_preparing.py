"""The operator prepares plugins with Jobs, on a real API server. No kubelet runs: the test does what one would do."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from controlplane import Api, ControlPlane
from operator_cases import START_SECONDS, condition
from operatorprocess import Account, OperatorProcess


@pytest.fixture
def operator(control_plane: ControlPlane, account: Account, tmp_path: Path) -> Iterator[OperatorProcess]:
    """A running operator of an installation with a volume for what plugins prepare."""
    kubeconfig = control_plane.kubeconfig(tmp_path / "kubeconfig", token=account.token)
    settings = {"PILOTFISH_PREPARED_CLAIM": "prepared", "PILOTFISH_IMAGE": "operator.test/pilotfish:1"}
    with OperatorProcess(kubeconfig, account.namespace, tmp_path / "operator.log", **settings) as process:
        yield process


def config_map(namespace: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "terms", "namespace": namespace},
        "data": data,
    }


def glossary(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "pilotfish.dev/v1alpha1",
        "kind": "AdaptationPlugin",
        "metadata": {"name": "terms", "namespace": namespace},
        "spec": {"type": "glossary", "sources": [{"name": "terms", "configMapRef": {"name": "terms"}}]},
    }


def jobs(api: Api, namespace: str) -> list[dict[str, Any]]:
    listed = api.request("GET", api.path_of("batch/v1", "Job", namespace))["items"]
    return [
        {"apiVersion": "batch/v1", "kind": "Job", **each}
        for each in listed
        if "deletionTimestamp" not in each["metadata"]
    ]


def a_job(api: Api, namespace: str, *, beside: str = "") -> dict[str, Any]:
    """The only Job, once there is one that is another than `beside`."""
    found: list[dict[str, Any]] = []

    def made() -> bool:
        found[:] = jobs(api, namespace)
        return len(found) == 1 and found[0]["metadata"]["uid"] != beside

    api.wait("a Job", made, seconds=START_SECONDS)
    return found[0]


def end(api: Api, job: dict[str, Any], message: str, *, code: int = 0) -> None:
    """What the kubelet and the controller of Jobs report once its pod has ended."""
    template = job["spec"]["template"]
    metadata = {"name": f"{job['metadata']['name']}-x", "namespace": job["metadata"]["namespace"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "labels": template["metadata"]["labels"]}}
    pod["spec"] = template["spec"]
    api.create(pod)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    times = {"startedAt": now, "finishedAt": now}
    state = {"terminated": {"exitCode": code, "message": message, "reason": "Ended", **times}}
    image = {"image": "i", "imageID": "i", "ready": False, "restartCount": 0}
    statuses = [{"name": "prepare", "state": state, **image}]
    api.merge(
        pod, {"status": {"phase": "Failed" if code else "Succeeded", "containerStatuses": statuses}}, sub="/status"
    )
    kinds = ("FailureTarget", "Failed") if code else ("SuccessCriteriaMet", "Complete")
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": now, "reason": "Ended"} for kind in kinds]
    done = {"failed": 1} if code else {"succeeded": 1, "completionTime": now}
    api.merge(job, {"status": {"startTime": now, "conditions": conditions, **done}}, sub="/status")


def result(digest: str) -> str:
    return json.dumps({"digest": digest * 64, "folder": "/prepared/x", "documents": 1, "details": {"entries": 2}})


@pytest.mark.usefixtures("operator")
def test_a_job_prepares_a_plugin_and_another_one_when_its_documents_change(api: Api, namespace: str) -> None:
    plugin = api.create(glossary(namespace))
    api.wait(
        "the ConfigMap to be missed",
        lambda: condition(api, plugin, "Ready").get("reason") == "NotFound",
        seconds=START_SECONDS,
    )
    assert "ConfigMap 'terms'" in condition(api, plugin, "Ready")["message"]

    source = api.create(config_map(namespace, **{"terms.csv": "term,definition\nPTO,paid time off\n"}))
    first = a_job(api, namespace)
    api.wait("the Job in the status", lambda: condition(api, plugin, "Ready").get("reason") == "Preparing")
    end(api, first, result("a"))
    api.wait("the plugin to be ready", lambda: condition(api, plugin, "Ready").get("status") == "True")
    prepared = api.get(plugin)["status"]["prepared"]
    assert (prepared["digest"], prepared["documents"]) == ("a" * 64, 1)
    assert prepared["job"] == first["metadata"]["name"]

    api.delete(first)
    again = a_job(api, namespace, beside=first["metadata"]["uid"])
    assert again["metadata"]["name"] == first["metadata"]["name"]
    assert api.get(plugin)["status"]["prepared"] == prepared

    api.merge(source, {"data": {"terms.csv": "term,definition\nPTO,a printed tree\n"}})
    second = a_job(api, namespace, beside=again["metadata"]["uid"])
    assert second["metadata"]["name"] != first["metadata"]["name"]
    api.wait("the new Job in the status", lambda: condition(api, plugin, "Prepared").get("reason") == "Preparing")
    assert condition(api, plugin, "Ready")["status"] == "True"
    end(api, second, "reading\nerror: sources: no document has an entry", code=1)
    api.wait("the failure", lambda: condition(api, plugin, "Degraded").get("status") == "True")
    assert "no document has an entry" in condition(api, plugin, "Prepared")["message"]
    assert api.get(plugin)["status"]["prepared"] == prepared
