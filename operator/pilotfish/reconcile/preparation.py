"""What the Job that prepares a plugin has done so far, from the Job and its pods."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pilotfish.reconcile import pods
from pilotfish.reconcile.outcome import Manifest
from pilotfish.render.preparation import JOB_NAME_LABEL, PREPARE, PROGRESS_PORT


class JobState(StrEnum):
    """How far a Job is. LOST: it is complete, and its pod, which has the result, is gone."""

    ABSENT = "Absent"
    RUNNING = "Running"
    COMPLETE = "Complete"
    FAILED = "Failed"
    LOST = "Lost"


@dataclass(frozen=True)
class JobView:
    """The state of a Job, its result as the command wrote it, and what went wrong.

    `ended` is the RFC 3339 time of its end, empty while it runs.
    """

    state: JobState
    result: Mapping[str, Any] | None = None
    message: str = ""
    ended: str = ""


def view(job: Manifest | None, of_plugin: Sequence[Manifest]) -> JobView:
    """The view of a Job. `of_plugin` are the pods of all Jobs of the plugin."""
    if job is None:
        return JobView(JobState.ABSENT)
    name = job["metadata"]["name"]
    mine = [pod for pod in of_plugin if (pod["metadata"].get("labels") or {}).get(JOB_NAME_LABEL) == name]
    latest = sorted(mine, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))
    complete, failed = _condition(job, "Complete"), _condition(job, "Failed")
    if complete:
        result = next((found for pod in latest if (found := _result(pod))), None)
        state = JobState.LOST if result is None else JobState.COMPLETE
        return JobView(state, result, ended=str(complete.get("lastTransitionTime") or ""))
    failures = [failure.message for pod in reversed(latest) if (failure := pods.failure(pod))]
    message = failures[0] if failures else ""
    if failed:
        reason = message or str(failed.get("message") or "the Job failed")
        return JobView(JobState.FAILED, message=reason, ended=str(failed.get("lastTransitionTime") or ""))
    return JobView(JobState.RUNNING, message=message)


def progress_address(of_plugin: Sequence[Manifest]) -> str | None:
    """`host:port` of the progress of the pod that runs, None where none does."""
    for pod in of_plugin:
        status = pod.get("status", {})
        if status.get("phase") == "Running" and status.get("podIP"):
            host = status["podIP"]
            return f"[{host}]:{PROGRESS_PORT}" if ":" in host else f"{host}:{PROGRESS_PORT}"
    return None


def seconds_between(before: str, after: str) -> float:
    """Seconds from one RFC 3339 time to another."""
    return (datetime.fromisoformat(after) - datetime.fromisoformat(before)).total_seconds()


def _condition(job: Manifest, kind: str) -> Mapping[str, Any] | None:
    conditions: Sequence[Mapping[str, Any]] = job.get("status", {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind and each["status"] == "True"), None)


def _result(pod: Manifest) -> Mapping[str, Any] | None:
    """What the command wrote as the termination message of its container, None where it is not a result."""
    for state in pod.get("status", {}).get("containerStatuses", []):
        ended = state.get("state", {}).get("terminated") or {}
        if state.get("name") == PREPARE and ended.get("exitCode") == 0:
            try:
                found = json.loads(ended.get("message") or "")
            except ValueError:
                return None
            return found if isinstance(found, dict) and "digest" in found else None
    return None
