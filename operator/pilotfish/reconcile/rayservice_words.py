"""What a RayService says of its engines, in its own words."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pilotfish.reconcile import pods
from pilotfish.reconcile.conditions import Reason
from pilotfish.reconcile.engine_reason import exception_in, reason_from_message
from pilotfish.reconcile.outcome import Manifest, Proof

_STARTING = frozenset({"UPDATING", "UPSCALING"})
_CLUSTER_LABEL = "ray.io/cluster"
_FAILED = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})
_DEAF = frozenset({"NOT_STARTED", "DELETING", "UNHEALTHY"})
"""States of an application in which nobody answers. One that is being deployed anew, or failed to be, answers on."""


def rayservice_view(
    child: Mapping[str, Any] | None, members: Iterable[Mapping[str, Any]], nodes: int = 1, known: int = 1
) -> pods.PodsView:
    """Replicas of the RayService, each of `nodes` workers; `known` were ready before.

    All that run are counted; ready are those of the Ray that requests go to whose Serve proxy answers, one worker of
    each replica. A proxy answers before the engine beside it is up: while Serve starts engines, none more is ready.
    KubeRay's own `Ready` says that endpoints exist, not that every application is healthy: the applications' states are
    read as well. A status that lags behind the spec says nothing, and during an upgrade KubeRay tells no states of the
    old Ray, which answers on. A fault may be any pod's: a head that finds no node keeps its workers from starting.
    """
    seen = [pod for pod in members if is_rays(pod)]
    everyone = [pod for pod in seen if _is_worker(pod)]
    status = child.get("status", {}) if child else {}
    active = status.get("activeServiceStatus", {})
    applications = (active.get("applicationStatuses") or {}).values()
    counted = pods.view(everyone)
    ready = 0 if {entry.get("status") for entry in applications} & _DEAF else len(serving_workers(child, everyone))
    if _is_starting(child):
        ready = min(ready, max(known, 1))
    fault = pods.view(seen).fault or _application_fault(status)
    if child and status.get("observedGeneration", 0) < child["metadata"].get("generation", 0):
        fault = fault or pods.Fault(
            Reason.LOADING, "KubeRay has not acted on the RayService yet: does its operator run?"
        )
    return replace(counted, total=-(-counted.total // nodes), ready=ready, fault=fault)


def replicas_wanted(child: Mapping[str, Any] | None, members: Iterable[Manifest], nodes: int) -> int:
    """How many replicas Serve wants for the load.

    Ray makes workers for what Serve starts. Once all are started, those that serve are what it wants, as workers that
    nobody needs any more stay for a while.
    """
    everyone = [pod for pod in members if _is_worker(pod)]
    serving = len(serving_workers(child, everyone))
    return serving if serving and not _is_starting(child) else -(-pods.view(everyone).total // nodes)


def active_ray(child: Mapping[str, Any] | None) -> str | None:
    """The Ray that requests go to, which KubeRay names once all of its applications ran. None before that."""
    active = (child or {}).get("status", {}).get("activeServiceStatus", {})
    name: str | None = active.get("rayClusterName")
    return name or None


def serving_workers(child: Mapping[str, Any] | None, members: Iterable[Manifest]) -> list[Manifest]:
    """The workers of the Ray that requests go to whose Serve proxy answers."""
    name = active_ray(child)
    return [
        pod
        for pod in members
        if name and _is_worker(pod) and pod["metadata"]["labels"].get(_CLUSTER_LABEL) == name and pods.view([pod]).ready
    ]


def proven(view: pods.PodsView, proof: Proof) -> pods.PodsView:
    """The view, in which no replica is ready before the RayService has answered."""
    if proof.answered or not view.ready:
        return view
    words = proof.message or "up, and not asked for an answer yet"
    return replace(view, ready=0, fault=view.fault or pods.Fault(Reason.LOADING, words))


def _is_starting(child: Mapping[str, Any] | None) -> bool:
    """Whether Serve is bringing up engines."""
    active = (child or {}).get("status", {}).get("activeServiceStatus", {})
    applications = (active.get("applicationStatuses") or {}).values()
    deployments = (each for entry in applications for each in (entry.get("serveDeploymentStatuses") or {}).values())
    return any(each.get("status") in _STARTING for each in deployments)


def is_rays(pod: Manifest) -> bool:
    """Whether the pod is a part of a Ray that KubeRay made."""
    return "ray.io/node-type" in (pod["metadata"].get("labels") or {})


def _is_worker(pod: Mapping[str, Any]) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get("ray.io/node-type") == "worker")


def _application_fault(status: Mapping[str, Any]) -> pods.Fault | None:
    """Serve retries for minutes before it gives an application up; the reason of the first failure is told at once."""
    for name, entry in _applications(status):
        words = [deployment.get("message") for deployment in (entry.get("serveDeploymentStatuses") or {}).values()]
        said = [word for word in (*words, entry.get("message")) if word]
        failed = entry.get("status") in _FAILED
        told = reason_from_message if failed else exception_in
        reason = next((found for word in said if (found := told(word))), None)
        if reason is None and failed:
            reason = said[0].strip().splitlines()[-1] if said and said[0].strip() else json.dumps(entry)
        if reason:
            return pods.Fault(Reason.ENGINE_FAILED, f"application {name}: {reason}")
    return None


def _applications(status: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for stage in ("pendingServiceStatus", "activeServiceStatus"):
        yield from (status.get(stage, {}).get("applicationStatuses") or {}).items()
