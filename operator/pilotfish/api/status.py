"""Status of every kind: conditions, the observed generation, and what `kubectl get` shows."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from pilotfish.api.common import Model, list_map, ordered_list


class ConditionType(StrEnum):
    """Every condition type; docs/conditions.md says what each means."""

    ACCEPTED = "Accepted"
    RESOLVED_REFS = "ResolvedRefs"
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    DEGRADED = "Degraded"
    WEIGHTS_AVAILABLE = "WeightsAvailable"
    ENGINE_READY = "EngineReady"
    SCALED = "Scaled"


class ConditionStatus(StrEnum):
    """A condition's truth."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """One observation of an object's state, as in metav1.Condition."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    status: ConditionStatus
    observed_generation: Annotated[int, Field(strict=True, ge=0)] | None = None
    last_transition_time: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    message: Annotated[str, Field(max_length=32768)] = ""


class Status(Model):
    """What the status of every kind has."""

    observed_generation: Annotated[int, Field(strict=True, ge=0)] | None = None
    conditions: Annotated[tuple[Condition, ...], *list_map("type", maximum=16)] = ()


class ReplicaCounts(Model):
    """Replicas that answer, and those that should."""

    ready: Annotated[int, Field(strict=True, ge=0)] = 0
    desired: Annotated[int, Field(strict=True, ge=0)] = 0


class ModelPoolStatus(Status):
    """State of a pool."""

    replicas: Annotated[int, Field(strict=True, ge=0)] | None = None
    ready_replicas: Annotated[int, Field(strict=True, ge=0)] | None = None
    desired_replicas: Annotated[int, Field(strict=True, ge=0)] | None = None
    selector: Annotated[str, Field(max_length=1024)] | None = None
    runtime: Literal["RayService", "Deployment", "External"] | None = None
    revision: Annotated[str, Field(max_length=64)] | None = None
    resolved_revision: Annotated[str, Field(max_length=253)] | None = Field(
        None,
        description="What the replicas fetched the weights as, such as the commit that a branch was at. Absent where"
        " weights are used as they lie on a volume.",
    )
    url: Annotated[str, Field(max_length=2048)] | None = None


class ObjectiveStatus(Model):
    """What a router holds while it serves: the target, where it stands, the threshold, and why that one.

    `current` and `target` are in `unit`; the threshold is 1001 where nothing is accepted.
    """

    type: Literal["Quality", "Spend", "Latency"]
    target: Annotated[str, Field(max_length=32)]
    current: Annotated[str, Field(max_length=32)] | None = None
    unit: Annotated[str, Field(max_length=64)]
    threshold_permille: Annotated[int, Field(strict=True, ge=0, le=1001)] | None = None
    reason: Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z]*$")]
    message: Annotated[str, Field(max_length=1024)] = ""


class ModelRouterStatus(Status):
    """State of a router."""

    url: Annotated[str, Field(max_length=2048)] | None = None
    served_model_names: Annotated[tuple[Annotated[str, Field(max_length=253)], ...], ordered_list(maximum=16)] = ()
    escalated_permille: Annotated[int, Field(strict=True, ge=0, le=1000)] | None = None
    objective: ObjectiveStatus | None = None


class AdaptationPluginStatus(Status):
    """State of a plugin."""

    routers: Annotated[int, Field(strict=True, ge=0)] | None = None


class AutoscalingPolicyStatus(Status):
    """State of a policy."""

    pools: Annotated[int, Field(strict=True, ge=0)] | None = None
