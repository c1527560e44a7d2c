"""Admission reviews of resources that the schema accepts.

A fault that can never work is rejected: an invalid config of a scorer, an engine argument for which a field exists, a
router whose pools have different tasks. Something that may be added later, such as a plugin, is a warning.
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
"""The API server truncates longer warnings, and drops more of them."""


class Admission:
    """Reviews resources with the installed plugins and the existing pools."""

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
        # the schema rejects what does not parse, with the API server's message
        return () if resource is None else (*self._faults(resource), *await self._of_tasks(resource))

    async def _of_tasks(self, resource: Resource) -> Sequence[Fault]:
        if not isinstance(resource, ModelRouter):
            return ()
        found = await self._find_pools(resource.metadata.namespace or "", resource.answering_pools)
        return task_faults(resource, found)


def _declares(request: Mapping[str, Any]) -> bool:
    """Whether the spec is to be reviewed: a deletion and a change of metadata are not."""
    body, before = request.get("object"), request.get("oldObject")
    if not body or body["metadata"].get("deletionTimestamp"):
        return False
    return not before or body.get("spec") != before.get("spec")
