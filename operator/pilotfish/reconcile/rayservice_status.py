"""The state of the engines, from a RayService and the pods that KubeRay created for it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pilotfish.api.modelpool import Runtime
from pilotfish.api.reasons import Reason
from pilotfish.base.keys import Key
from pilotfish.reconcile import pods
from pilotfish.reconcile.engine_reason import exception_in, reason_from_message
from pilotfish.reconcile.outcome import Manifest, Proof
from pilotfish.render.labels import REVISION_ANNOTATION

_STARTING = frozenset({"UPDATING", "UPSCALING"})
_CLUSTER_LABEL = "ray.io/cluster"
_NODE_LABEL = "ray.io/node-type"
_FAILED = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})
_NOT_ANSWERING = frozenset({"NOT_STARTED", "DELETING", "UNHEALTHY"})
"""States of an application that does not answer. One that is being updated, or whose update failed, still answers."""


@dataclass(frozen=True)
class RayServiceStatus:
    """A RayService, None where there is none, and its pods. A replica has `nodes` workers."""

    manifest: Manifest | None
    members: tuple[Manifest, ...]
    nodes: int = 1

    @classmethod
    def of(cls, children: Mapping[Key, Manifest], pods: Iterable[Manifest], nodes: int) -> "RayServiceStatus":
        """The RayService among the objects of a pool, and the pool's pods that belong to its Ray clusters."""
        manifest = next((child for key, child in children.items() if key.kind == Runtime.RAY_SERVICE), None)
        return cls(manifest, tuple(pod for pod in pods if is_rays(pod)), nodes)

    def replicas(self, known: int, proof: Proof) -> pods.PodsView:
        """The replicas, of which `known` were ready before. None is ready before the RayService has answered.

        All that run are counted. Ready are workers of the active Ray whose Serve proxy answers, one of each replica. A
        proxy answers before the engine beside it: while Serve starts engines, no more count as ready than were.
        KubeRay's own `Ready` says that endpoints exist, not that every application is healthy, so the applications'
        states are read too. A status that is behind the spec is ignored, and during an upgrade KubeRay reports no
        states of the old Ray cluster, which still answers. A failure may be that of any pod: without a head there are
        no workers.
        """
        counted = pods.view(self._workers)
        states = {entry.get("status") for entry in self._active_applications.values()}
        ready = 0 if states & _NOT_ANSWERING else len(self.serving_workers)
        if self._is_starting:
            ready = min(ready, max(known, 1))
        failure = pods.view(self.members).failure or self._application_failure or self._not_acted_on
        if ready and not proof.answered:
            message = proof.message or "running, but has not answered yet"
            ready, failure = 0, failure or pods.ReplicaFailure(Reason.LOADING, message)
        return replace(counted, total=-(-counted.total // self.nodes), ready=ready, failure=failure)

    @property
    def replicas_wanted(self) -> int:
        """How many replicas Serve wants for the load.

        Ray makes workers for what Serve starts. Once all are started, Serve wants those that serve: workers that are no
        longer needed stay for a while.
        """
        serving = len(self.serving_workers)
        return serving if serving and not self._is_starting else -(-pods.view(self._workers).total // self.nodes)

    @property
    def active_ray(self) -> str | None:
        """The Ray that requests go to. KubeRay names it once all of its applications ran; None before that."""
        return self._active.get("rayClusterName") or None

    @property
    def serving_workers(self) -> list[Manifest]:
        """The workers of the active Ray whose Serve proxy answers."""
        name = self.active_ray
        return [
            pod
            for pod in self._workers
            if name and pod["metadata"]["labels"].get(_CLUSTER_LABEL) == name and pods.is_ready(pod)
        ]

    @property
    def worker_revision(self) -> str | None:
        """Revision of the pods of which the RayService makes workers."""
        spec = self.manifest["spec"] if self.manifest else {}
        groups = spec.get("rayClusterConfig", {}).get("workerGroupSpecs") or [{}]
        annotations = groups[0].get("template", {}).get("metadata", {}).get("annotations") or {}
        revision: str | None = annotations.get(REVISION_ANNOTATION)
        return revision

    @cached_property
    def _status(self) -> Mapping[str, Any]:
        return self.manifest.get("status", {}) if self.manifest else {}

    @property
    def _active(self) -> Mapping[str, Any]:
        active: Mapping[str, Any] = self._status.get("activeServiceStatus", {})
        return active

    @property
    def _active_applications(self) -> Mapping[str, Mapping[str, Any]]:
        return self._active.get("applicationStatuses") or {}

    @cached_property
    def _workers(self) -> list[Manifest]:
        return [
            pod
            for pod in self.members
            if pod["metadata"]["labels"].get(_NODE_LABEL) == "worker" and not pod["metadata"].get("deletionTimestamp")
        ]

    @property
    def _is_starting(self) -> bool:
        """Whether Serve is starting engines."""
        applications = self._active_applications.values()
        deployments = (each for entry in applications for each in (entry.get("serveDeploymentStatuses") or {}).values())
        return any(each.get("status") in _STARTING for each in deployments)

    @property
    def _not_acted_on(self) -> pods.ReplicaFailure | None:
        manifest = self.manifest
        if manifest and self._status.get("observedGeneration", 0) < manifest["metadata"].get("generation", 0):
            message = "KubeRay has not processed the RayService yet: check that its operator runs"
            return pods.ReplicaFailure(Reason.LOADING, message)
        return None

    @property
    def _application_failure(self) -> pods.ReplicaFailure | None:
        """Serve retries for minutes before an application fails. The first failure is reported immediately."""
        for name, entry in self._applications():
            deployments = (entry.get("serveDeploymentStatuses") or {}).values()
            messages = [each for each in (*(one.get("message") for one in deployments), entry.get("message")) if each]
            failed = entry.get("status") in _FAILED
            read = reason_from_message if failed else exception_in
            reason = next((found for message in messages if (found := read(message))), None)
            if reason is None and failed:
                first = messages[0].strip() if messages else ""
                reason = first.splitlines()[-1] if first else json.dumps(entry)
            if reason:
                return pods.ReplicaFailure(Reason.ENGINE_FAILED, f"application {name}: {reason}")
        return None

    def _applications(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for stage in ("pendingServiceStatus", "activeServiceStatus"):
            yield from (self._status.get(stage, {}).get("applicationStatuses") or {}).items()


def is_rays(pod: Manifest) -> bool:
    """Whether the pod belongs to a Ray cluster that KubeRay created."""
    return _NODE_LABEL in (pod["metadata"].get("labels") or {})
