"""What the pods of a pool report: which are ready, which have weights, and the first failure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pilotfish.api.reasons import Reason
from pilotfish.render import labels
from pilotfish.render.podtemplate import FETCH_MODEL

_REVISION_LIMIT = 253
_WAITING_IS_NORMAL = frozenset({"PodInitializing", "ContainerCreating"})


@dataclass(frozen=True)
class ReplicaFailure:
    """Why a replica does not come up, and the reason that conditions repeat."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class PodsView:
    """The pods of one revision, of one runtime, or all."""

    total: int
    ready: int
    weights_available: bool
    failure: ReplicaFailure | None

    def beside(self, other: "PodsView") -> "PodsView":
        """These pods and others together; their own failure comes first."""
        return PodsView(
            total=self.total + other.total,
            ready=self.ready + other.ready,
            weights_available=self.weights_available or other.weights_available,
            failure=self.failure or other.failure,
        )


def view(pods: Iterable[Mapping[str, Any]], revision: str | None = None) -> PodsView:
    """What the pods of `revision` report, or all pods where it is None. Pods that are being deleted are left out."""
    chosen = [
        pod
        for pod in pods
        if not pod["metadata"].get("deletionTimestamp") and (revision is None or _revision(pod) == revision)
    ]
    failures = [found for pod in sorted(chosen, key=_age) if (found := failure(pod))]
    return PodsView(
        total=len(chosen),
        ready=sum(is_ready(pod) for pod in chosen),
        weights_available=any(_has_weights(pod) for pod in chosen),
        failure=failures[0] if failures else None,
    )


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the pod's engine has answered: that is what its readiness probe asks."""
    return _condition(pod, "Ready").get("status") == "True"


def failure(pod: Mapping[str, Any]) -> ReplicaFailure | None:
    """What keeps the pod from serving, None where nothing does so far."""
    name = pod["metadata"]["name"]
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        message = scheduled.get("message") or scheduled.get("reason")
        return ReplicaFailure(Reason.UNSCHEDULABLE, f"pod {name}: {message}")
    status = pod.get("status", {})
    for states, reason in (("initContainerStatuses", Reason.FETCH_FAILED), ("containerStatuses", Reason.ENGINE_FAILED)):
        for state in status.get(states, []):
            if ended := _ended(state):
                return ReplicaFailure(reason if ended.ran else Reason.CONTAINER_WAITING, f"pod {name}: {ended.message}")
    if status.get("phase") == "Failed":
        message = f"{status.get('reason', '')} {status.get('message', '')}".rstrip()
        return ReplicaFailure(Reason.ENGINE_FAILED, f"pod {name}: {message}")
    return None


def weights_revision(pods: Iterable[Mapping[str, Any]], revision: str | None) -> str | None:
    """What the pods of `revision` fetched their model's weights as: the message of the container that fetched them."""
    for pod in pods:
        if _revision(pod) == revision:
            for state in pod.get("status", {}).get("initContainerStatuses", []):
                ended = state.get("state", {}).get("terminated") or {}
                if state.get("name") == FETCH_MODEL and ended.get("exitCode") == 0 and ended.get("message"):
                    return str(ended["message"]).strip()[:_REVISION_LIMIT]
    return None


@dataclass(frozen=True)
class _Ended:
    message: str
    ran: bool


def _ended(state: Mapping[str, Any]) -> _Ended | None:
    """A container's termination message if it ended with an error, else why it cannot start."""
    if state.get("ready"):
        return None
    now, last = state.get("state", {}), state.get("lastState", {})
    for stopped in (now.get("terminated"), last.get("terminated")):
        if stopped and stopped.get("exitCode") != 0:
            message = (stopped.get("message") or "").strip() or stopped.get("reason") or "stopped"
            return _Ended(f"{message.splitlines()[-1]} (exit code {stopped.get('exitCode')})", ran=True)
    waiting = now.get("waiting")
    if waiting and waiting.get("reason") not in _WAITING_IS_NORMAL:
        return _Ended(f"{waiting.get('reason')}: {waiting.get('message', '')}".rstrip(": "), ran=False)
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
