"""Status of every kind: conditions, the observed generation, and what `kubectl get` shows."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from pilotfish.api.common import Model, Opaque, Sha256, list_map, ordered_list


class ConditionType(StrEnum):
    """The types of conditions, which docs/conditions.md describes."""

    ACCEPTED = "Accepted"
    RESOLVED_REFS = "ResolvedRefs"
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    DEGRADED = "Degraded"
    PREPARED = "Prepared"
    WEIGHTS_AVAILABLE = "WeightsAvailable"
    ENGINE_READY = "EngineReady"
    SCALED = "Scaled"


class ConditionStatus(StrEnum):
    """The status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """One aspect of the state of an object, with the fields of metav1.Condition."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """The type of the condition, such as Ready."""
    status: ConditionStatus
    """The status of the condition: True, False or Unknown."""
    observed_generation: Annotated[int, Field(strict=True, ge=0)] | None = None
    """The metadata.generation of the object that the condition was computed from. If it is less than the current
    metadata.generation, the condition is out of date.
    """
    last_transition_time: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
    """The time at which `status` last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """The reason for the last change of `status`, as one word for programs, such as EngineFailed."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Details for people: the field, the cause and the fix where there is one. May be empty."""


class Status(Model):
    """The status that every kind has."""

    observed_generation: Annotated[int, Field(strict=True, ge=0)] | None = None
    """The metadata.generation of the object that the status was computed from. If it is less than the current
    metadata.generation, the operator has not processed the latest change yet.
    """
    conditions: Annotated[tuple[Condition, ...], *list_map("type", maximum=16)] = ()
    """The state of the object, one entry for each type of condition. Ready summarizes the others. All are Unknown until
    an operator processes the object.
    """


class ModelPoolStatus(Status):
    """The observed state of a pool."""

    replicas: Annotated[int, Field(strict=True, ge=0)] | None = None
    """The number of replicas that exist, including those that are starting. Read by the scale subresource."""
    ready_replicas: Annotated[int, Field(strict=True, ge=0)] | None = None
    """The number of replicas that answer."""
    desired_replicas: Annotated[int, Field(strict=True, ge=0)] | None = None
    """The number of replicas that should exist: `spec.replicas`, or what the autoscaling policy computed."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """The label selector of the pool's pods, as a string. Read by the scale subresource."""
    runtime: Literal["RayService", "Deployment", "External"] | None = None
    """The kind of object that runs the replicas, or External for a pool with `spec.external`."""
    ray_cluster: Annotated[str, Field(max_length=253)] | None = None
    """The Ray cluster that has answered and to which requests go. Absent for a pool without a RayService, and while no
    replica of its RayService answers.
    """
    revision: Annotated[str, Field(max_length=64)] | None = None
    """A hash of what the replicas run. It changes when a change of the spec replaces the replicas."""
    resolved_revision: Annotated[str, Field(max_length=253)] | None = None
    """The revision of the weights that the replicas run, such as the commit of the branch in `spec.model.revision`.
    Absent if the weights are used in place, such as on a PersistentVolumeClaim.
    """
    url: Annotated[str, Field(max_length=2048)] | None = None
    """The base URL of the pool's OpenAI-compatible API, which the gateway calls."""


class ObjectiveStatus(Model):
    """The observed state of a router's objective."""

    type: Literal["Quality", "Spend", "Latency"]
    """The type of the objective."""
    target: Annotated[str, Field(max_length=32)]
    """The target from the spec, in `unit`, as a decimal string."""
    current: Annotated[str, Field(max_length=32)] | None = None
    """The measured value, in `unit`, as a decimal string, rounded. Absent until something was measured."""
    unit: Annotated[str, Field(max_length=64)]
    """The unit of `target` and `current`."""
    threshold_permille: Annotated[int, Field(strict=True, ge=0, le=1001)] | None = None
    """The threshold in effect, in permille. At 1001 no answer of the first pool is accepted."""
    reason: Annotated[str, Field(max_length=64, pattern=r"^[A-Z][A-Za-z]*$")]
    """The reason for the threshold in effect, as one word for programs, such as OnTarget or NotCalibrated."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Details for people. May be empty."""


class ModelRouterStatus(Status):
    """The observed state of a router."""

    url: Annotated[str, Field(max_length=2048)] | None = None
    """The base URL of the gateway's OpenAI-compatible API, for clients in the cluster."""
    served_model_names: Annotated[tuple[Annotated[str, Field(max_length=253)], ...], ordered_list(maximum=16)] = ()
    """The names that clients may send in `model` to reach this router."""
    escalated_permille: Annotated[int, Field(strict=True, ge=0, le=1000)] | None = None
    """The share of requests that were escalated from the first pool, in permille, in the most recent minute that had
    requests.
    """
    objective: ObjectiveStatus | None = None
    """The state of `spec.objective`. Absent if the spec has none."""


class PreparedStatus(Model):
    """What a plugin prepared from its documents."""

    digest: Sha256
    """The SHA-256 of all that it depends on: documents, config, versions, models. It names the folder."""
    job: Annotated[str, Field(max_length=63)]
    """The Job that prepared it."""
    documents: Annotated[int, Field(strict=True, ge=0)]
    """The number of documents in it."""
    details: Opaque = {}
    """Details, which the plugin defines."""
    time: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
    """The time at which the Job ended."""


class AdaptationPluginStatus(Status):
    """The observed state of a plugin."""

    prepared: PreparedStatus | None = None
    """What the plugin prepared last, which gateways use. Absent before that, and if the plugin prepares nothing."""

    routers: Annotated[int, Field(strict=True, ge=0)] | None = None
    """The number of routers that refer to the plugin."""


class AutoscalingPolicyStatus(Status):
    """The observed state of a policy."""

    pools: Annotated[int, Field(strict=True, ge=0)] | None = None
    """The number of pools that refer to the policy."""
