"""What the pods of a RayService report."""

from resource_builders import a_pod

from pilotfish.api.reasons import Reason
from pilotfish.reconcile.outcome import Proof
from pilotfish.reconcile.rayservice_status import RayServiceStatus

WORDS = "0/3 nodes are available: 3 node(s) had untolerated taint {nvidia.com/gpu: present}."
NOWHERE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": WORDS}


def a_head(*conditions):
    pod = a_pod("small-head", conditions=conditions)
    pod["metadata"]["labels"] |= {"ray.io/node-type": "head", "ray.io/cluster": "one"}
    del pod["metadata"]["annotations"]
    return pod


def replicas(*pods):
    return RayServiceStatus.of({}, pods, 1).replicas(0, Proof(answered=True))


def test_a_head_that_finds_no_node_is_told_and_is_no_replica():
    view = replicas(a_head(NOWHERE))
    assert view.failure.reason is Reason.UNSCHEDULABLE
    assert WORDS in view.failure.message
    assert (view.total, view.ready) == (0, 0)
    assert replicas(a_head()).failure is None


def test_a_pod_of_the_deployment_that_was_there_before_is_no_fault_of_the_ray():
    assert replicas(a_head(), a_pod(conditions=[NOWHERE])).failure is None
