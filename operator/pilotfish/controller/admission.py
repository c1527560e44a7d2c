"""Admission: what the API server is told of a resource that its schema accepts. One AdmissionReview in, one out.

Refused is what can never work here: a scorer's config that does not fit, an engine argument that has a field of its
own, a router whose pools differ in task. What may only be missing yet, such as a plugin, is a warning.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pilotfish.api import ModelPool, ModelRouter, Resource
from pilotfish.api.reasons import Reason
from pilotfish.api.validation import Fault
from pilotfish.reconcile.kinds import parse_resource
from pilotfish.reconcile.spec_checks import task_faults

Review = dict[str, Any]
FindPools = Callable[[str, Iterable[str]], Awaitable[Mapping[str, ModelPool]]]
"""The pools of a namespace (first) that have one of the names (second), by name."""

_MAY_COME = frozenset({Reason.UNKNOWN_PLUGIN, Reason.UNKNOWN_SOURCE})
_WARNINGS = 8
_WARNING_LENGTH = 256
"""Longer warnings, and more of them, are cut by the API server."""


class Admission:
    """Judges resources by what is installed and by the pools that are there."""

    def __init__(self, faults: Callable[[Resource], Sequence[Fault]], find_pools: FindPools) -> None:
        self._faults, self._find_pools = faults, find_pools

    async def review(self, review: Mapping[str, Any]) -> Review:
        """The answer to an AdmissionReview of admission.k8s.io/v1. Raises KubeError when pools cannot be read."""
        request = review["request"]
        faults = await self._judge(request["object"]) if _declares(request) else ()
        refused = [fault for fault in faults if fault.reason not in _MAY_COME]
        warnings = [fault for fault in faults if fault.reason in _MAY_COME]
        answer: Review = {"uid": request["uid"], "allowed": not refused}
        if refused:
            message = "; ".join(map(str, refused))
            answer["status"] = {"code": HTTPStatus.UNPROCESSABLE_ENTITY, "reason": "Invalid", "message": message}
        if warnings:
            answer["warnings"] = [str(fault)[:_WARNING_LENGTH] for fault in warnings[:_WARNINGS]]
        return {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer}

    async def _judge(self, body: Mapping[str, Any]) -> Sequence[Fault]:
        resource, _ = parse_resource(body)
        # what does not parse is the schema's to refuse, which the API server does in its own words
        return () if resource is None else (*self._faults(resource), *await self._of_tasks(resource))

    async def _of_tasks(self, resource: Resource) -> Sequence[Fault]:
        if not isinstance(resource, ModelRouter):
            return ()
        found = await self._find_pools(resource.metadata.namespace or "", resource.answering_pools)
        return task_faults(resource, found)


def _declares(request: Mapping[str, Any]) -> bool:
    """Whether a spec is declared: what is being deleted may lose its finalizers, and any object its labels."""
    body, before = request.get("object"), request.get("oldObject")
    if not body or body["metadata"].get("deletionTimestamp"):
        return False
    return not before or body.get("spec") != before.get("spec")
