"""What the pods of a pool say: who is ready, who has weights, and the first fault in its own words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pilotfish.reconcile.conditions import Reason
from pilotfish.render import labels
from pilotfish.render.podtemplate import FETCH_MODEL

_REVISION_LIMIT = 253
_WAITING_IS_NORMAL = frozenset({"PodInitializing", "ContainerCreating"})


@dataclass(frozen=True)
class Fault:
    """Why a replica does not come up, and how that is told."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class PodsView:
    """The pods of one revision, of one runtime, or all."""

    total: int
    ready: int
    weights_available: bool
    fault: Fault | None

    def beside(self, other: "PodsView") -> "PodsView":
        """These pods and others together; their own fault is told first."""
        return PodsView(
            total=self.total + other.total,
            ready=self.ready + other.ready,
            weights_available=self.weights_available or other.weights_available,
            fault=self.fault or other.fault,
        )


def view(pods: Iterable[Mapping[str, Any]], revision: str | None = None) -> PodsView:
    """What the pods of `revision` say; of all pods where it is None. Pods that are going are left out."""
    chosen = [
        pod
        for pod in pods
        if not pod["metadata"].get("deletionTimestamp") and (revision is None or _revision(pod) == revision)
    ]
    faults = [found for pod in sorted(chosen, key=_age) if (found := fault(pod))]
    return PodsView(
        total=len(chosen),
        ready=sum(is_ready(pod) for pod in chosen),
        weights_available=any(_has_weights(pod) for pod in chosen),
        fault=faults[0] if faults else None,
    )


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the pod's engine has answered: that is what its readiness probe asks."""
    return _condition(pod, "Ready").get("status") == "True"


def fault(pod: Mapping[str, Any]) -> Fault | None:
    """What keeps the pod from serving, None when nothing is wrong so far."""
    name = pod["metadata"]["name"]
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return Fault(Reason.UNSCHEDULABLE, f"pod {name}: {scheduled.get('message') or scheduled.get('reason')}")
    status = pod.get("status", {})
    for state in status.get("initContainerStatuses", []):
        if words := _words(state):
            return Fault(Reason.FETCH_FAILED if words.ran else Reason.CONTAINER_WAITING, f"pod {name}: {words.text}")
    for state in status.get("containerStatuses", []):
        if words := _words(state):
            return Fault(Reason.ENGINE_FAILED if words.ran else Reason.CONTAINER_WAITING, f"pod {name}: {words.text}")
    if status.get("phase") == "Failed":
        return Fault(
            Reason.ENGINE_FAILED, f"pod {name}: {status.get('reason', '')} {status.get('message', '')}".rstrip()
        )
    return None


def weights_revision(pods: Iterable[Mapping[str, Any]], revision: str | None) -> str | None:
    """What the pods of `revision` fetched their model's weights as, in the words of the container that did."""
    for pod in pods:
        if _revision(pod) == revision:
            for state in pod.get("status", {}).get("initContainerStatuses", []):
                ended = state.get("state", {}).get("terminated") or {}
                if state.get("name") == FETCH_MODEL and ended.get("exitCode") == 0 and ended.get("message"):
                    return str(ended["message"]).strip()[:_REVISION_LIMIT]
    return None


@dataclass(frozen=True)
class _Words:
    text: str
    ran: bool


def _words(state: Mapping[str, Any]) -> _Words | None:
    """A container's own last words if it ended badly, else why it cannot start."""
    if state.get("ready"):
        return None
    now, last = state.get("state", {}), state.get("lastState", {})
    for ended in (now.get("terminated"), last.get("terminated")):
        if ended and ended.get("exitCode") != 0:
            said = (ended.get("message") or "").strip() or ended.get("reason") or "stopped"
            return _Words(f"{said.splitlines()[-1]} (exit code {ended.get('exitCode')})", ran=True)
    waiting = now.get("waiting")
    if waiting and waiting.get("reason") not in _WAITING_IS_NORMAL:
        return _Words(f"{waiting.get('reason')}: {waiting.get('message', '')}".rstrip(": "), ran=False)
    return None


def _has_weights(pod: Mapping[str, Any]) -> bool:
    return _condition(pod, "Initialized").get("status") == "True"


def _condition(pod: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found: Iterable[Mapping[str, Any]] = pod.get("status", {}).get("conditions", [])
    return next((condition for condition in found if condition.get("type") == kind), {})


def _revision(pod: Mapping[str, Any]) -> str | None:
    return (pod["metadata"].get("annotations") or {}).get(labels.REVISION_ANNOTATION)


def _age(pod: Mapping[str, Any]) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]
