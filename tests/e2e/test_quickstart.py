"""The quickstart on a real cluster, as Deployments, until nothing is left. The tests depend on each other, in order."""

import json

import pytest
from realcluster import ROOT

pytestmark = pytest.mark.timeout(3600)

AUSTRALIA = "What is the capital of Australia?"
PRIDE = "Who wrote Pride and Prejudice, and in which year was it published?"
PARCEL = "Which team answers it, billing or delivery: Where is my parcel?"


def deployment(cluster, pool="small"):
    return cluster.get("deployment", f"{pool}-pool")


def test_helm_installs_and_the_quickstart_becomes_ready(cluster):
    cluster.install("--set", "pools.runtime=Deployment")
    cluster.kubectl("apply", "-f", str(ROOT / "examples" / "quickstart"))
    cluster.wait_ready("mp/small", "mp/large", "mr/assistant", "mr/cascade")
    table = cluster.kubectl("get", "mp,mr")
    assert "Answering" in table


def test_the_small_model_answers_and_the_large_one_takes_over(cluster):
    cluster.start_asking("australia", "cascade", AUSTRALIA)
    cluster.start_asking("parcel", "cascade", PARCEL)
    small, large = cluster.answer("australia"), cluster.answer("parcel")
    assert "Canberra" in small["text"]
    assert small["headers"]["x-pilotfish-escalated"] == "false"
    assert "delivery" in large["text"]
    assert large["headers"]["x-pilotfish-escalated"] == "true"


def test_at_zero_a_pool_runs_nothing_and_is_not_ready(cluster):
    cluster.kubectl("scale", "mp/large", "--replicas=0")
    cluster.kubectl("wait", "--for=delete", "pod", "-l", "pilotfish.dev/pool=large", "--timeout=15m")
    ready = next(c for c in cluster.get("mp", "large")["status"]["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ScaledToZero")


def test_a_router_changes_and_no_engine_restarts(cluster):
    before = deployment(cluster)["spec"]["template"]
    change = {"spec": {"strategy": {"type": "Direct", "predictive": None, "direct": {"poolRef": {"name": "small"}}}}}
    cluster.kubectl("patch", "mr", "assistant", "--type=merge", "-p", json.dumps(change))
    cluster.start_asking("direct", "assistant", PRIDE)
    assert cluster.answer("direct")["headers"]["x-pilotfish-stages"] == "small"
    assert deployment(cluster)["spec"]["template"] == before


def test_engine_arguments_and_the_release_change_without_a_lost_request(cluster):
    cluster.start_asking("load", "small", "--clients", "2", "--seconds", "420", "--pause", "1")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/load", "--timeout=2m")
    before = cluster.get("mp", "small")["status"]["revision"]
    change = {"spec": {"engine": {"maxModelLength": 1024}}}
    cluster.kubectl("patch", "mp", "small", "--type=merge", "-p", json.dumps(change))
    cluster.kubectl(
        "wait",
        f"--for=jsonpath={{.metadata.generation}}={deployment(cluster)['metadata']['generation']}",
        "deployment/small-pool",
    )
    cluster.helm_upgrade("--set", "pools.runtime=Deployment", "--set", "gateway.drainSeconds=45")
    cluster.kubectl("rollout", "status", "deployment/small-pool", "--timeout=15m")
    assert cluster.get("mp", "small")["status"]["revision"] != before
    told = cluster.answer("load")
    assert told["whole"] > 0
    assert told["failures"] == []


def test_an_engine_that_cannot_start_says_why_and_the_old_one_answers_on(cluster):
    change = {"spec": {"engine": {"args": {"dtype": "float99"}}}}
    cluster.kubectl("patch", "mp", "small", "--type=merge", "-p", json.dumps(change))
    cluster.kubectl("wait", "--for=condition=Degraded", "mp/small", "--timeout=15m")
    conditions = {c["type"]: c for c in cluster.get("mp", "small")["status"]["conditions"]}
    assert "float99" in conditions["Degraded"]["message"]
    assert conditions["Ready"]["status"] == "True"
    cluster.start_asking("still", "small", AUSTRALIA)
    assert cluster.answer("still")["text"]


def test_uninstalled_the_operator_leaves_pools_that_can_be_deleted_and_nothing_else(cluster):
    cluster.uninstall()
