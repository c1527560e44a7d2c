"""What a RayService says of its engines, in its own words."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pilotfish.reconcile import pods
from pilotfish.reconcile.conditions import Reason
from pilotfish.reconcile.outcome import Proof

_FAILED = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})


def rayservice_view(child: Mapping[str, Any] | None, members: Iterable[Mapping[str, Any]]) -> pods.PodsView:
    """Replicas of the RayService. Only worker pods count, and they are ready when Serve's proxy on them has an engine.

    KubeRay's own `Ready` says that endpoints exist, not that every application is healthy: the applications' states are
    read as well. A status that lags behind the spec says nothing.
    """
    workers = [pod for pod in members if pod["metadata"].get("labels", {}).get("ray.io/node-type") == "worker"]
    counted = pods.view(workers)
    if child is None:
        return counted
    status = child.get("status", {})
    if status.get("observedGeneration", 0) < child["metadata"].get("generation", 0):
        late = pods.Fault(Reason.LOADING, "KubeRay has not acted on the RayService yet: does its operator run?")
        return replace(counted, fault=counted.fault or late)
    applications = status.get("activeServiceStatus", {}).get("applicationStatuses") or {}
    healthy = bool(applications) and all(entry.get("status") == "RUNNING" for entry in applications.values())
    return replace(counted, ready=counted.ready if healthy else 0, fault=counted.fault or _application_fault(status))


def proven(view: pods.PodsView, proof: Proof) -> pods.PodsView:
    """The view, in which no replica is ready before the RayService has answered."""
    if proof.answered or not view.ready:
        return view
    words = proof.message or "up, and not asked for an answer yet"
    return replace(view, ready=0, fault=view.fault or pods.Fault(Reason.LOADING, words))


def _application_fault(status: Mapping[str, Any]) -> pods.Fault | None:
    for stage in ("pendingServiceStatus", "activeServiceStatus"):
        for name, entry in (status.get(stage, {}).get("applicationStatuses") or {}).items():
            words = [deployment.get("message") for deployment in (entry.get("serveDeploymentStatuses") or {}).values()]
            said = next((word for word in [*words, entry.get("message")] if word), "")
            if entry.get("status") in _FAILED:
                last = said.strip().splitlines()[-1] if said.strip() else json.dumps(entry)
                return pods.Fault(Reason.ENGINE_FAILED, f"application {name}: {last}")
    return None
