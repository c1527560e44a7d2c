"""AutoscalingPolicy: how the number of replicas follows load."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pilotfish.api.common import CRON, Currency, DecimalString, Label, Model, Rule, list_map
from pilotfish.api.resource import AGE_COLUMN, MESSAGE_COLUMN, READY_COLUMNS, Column, Definition, Resource
from pilotfish.api.status import AutoscalingPolicyStatus

Replicas = Annotated[int, Field(strict=True, ge=0, le=1000)]
Seconds = Annotated[int, Field(strict=True, ge=0, le=604_800)]


class SignalType(StrEnum):
    """What is measured."""

    ONGOING_REQUESTS = "OngoingRequests"
    QUEUED_REQUESTS = "QueuedRequests"
    KV_CACHE_USAGE_PERCENT = "KVCacheUsagePercent"
    TIME_TO_FIRST_TOKEN_MILLISECONDS = "TimeToFirstTokenMilliseconds"  # noqa: S105 - a signal's name


class Signal(Model):
    """A measurement of a pool, and the value that each replica should have."""

    type: SignalType
    """What is measured. So far, only OngoingRequests is in effect; the others are accepted and ignored.
    - OngoingRequests: the number of requests in progress.
    - QueuedRequests: the number of requests that wait in the engine.
    - KVCacheUsagePercent: the part of the KV cache in use, in percent.
    - TimeToFirstTokenMilliseconds: the time to the first token, in milliseconds.
    """
    target: Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
    """The value per replica, in the unit of `type`. The pool gets the measured value divided by the target, rounded up,
    as its number of replicas.
    """


class Behavior(Model):
    """How fast the number of replicas follows the signals."""

    upscale_delay_seconds: Seconds = 30
    """How long the load must ask for more replicas before replicas are added, in seconds."""
    downscale_delay_seconds: Seconds = 600
    """How long the load must ask for fewer replicas before replicas are removed, in seconds."""
    look_back_seconds: Annotated[int, Field(strict=True, ge=1, le=3600)] = 30
    """The window over which a signal is averaged, in seconds."""


class ScaleToZero(Model):
    """When the last replica is removed, and how long a request waits for the first one."""

    after_seconds: Annotated[int, Field(strict=True, ge=1, le=604_800)]
    """How long a pool must be without requests before its last replica is removed, in seconds."""
    hold_requests_seconds: Annotated[int, Field(strict=True, ge=1, le=3600)]
    """How long a request to a pool without replicas waits for a replica, in seconds. After that it fails with status
    503, and Retry-After is the time that the last start took.
    """


class Schedule(Model):
    """Other bounds for a time, starting whenever a cron expression matches."""

    name: Label
    """The name of the schedule, unique in the policy."""
    cron: Annotated[str, Field(max_length=128, pattern=CRON)]
    """The times at which the schedule starts, as a cron expression with five fields: minute, hour, day of the month,
    month, day of the week. For example "0 8 * * 1-5": on weekdays at 8:00.
    """
    time_zone: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$")] = "UTC"
    """The time zone of `cron`, as a name of the IANA database, such as Europe/Berlin."""
    duration_seconds: Annotated[int, Field(strict=True, ge=1, le=604_800)]
    """How long the bounds apply after each start, in seconds."""
    min_replicas: Replicas | None = None
    """The minimum number of replicas while the schedule applies. Defaults to `spec.minReplicas`."""
    max_replicas: Replicas | None = None
    """The maximum number of replicas while the schedule applies. Defaults to `spec.maxReplicas`."""


class Budget(Model):
    """The maximum cost of all pools that use the policy. The minimums of all pools come first, also where they cost
    more. Then each replica goes to the pool in which it serves the most load for its price.
    """

    currency: Currency
    """The currency of `perHour`, as an ISO 4217 code such as USD."""
    per_hour: DecimalString
    """The maximum cost per hour of all replicas, as a decimal string such as "12.50"."""


class AutoscalingPolicySpec(Model):
    """The desired scaling: bounds on the number of replicas, and the signals that it follows."""

    rules: ClassVar = (
        Rule(
            message="minReplicas must not be above maxReplicas",
            cel="self.minReplicas <= self.maxReplicas",
            holds=lambda s: s.min_replicas <= s.max_replicas,
            field=("minReplicas",),
        ),
        Rule(
            message="minReplicas 0 needs scaleToZero: add scaleToZero, or set minReplicas to 1 or more",
            cel="self.minReplicas > 0 || has(self.scaleToZero)",
            holds=lambda s: s.min_replicas > 0 or s.scale_to_zero is not None,
            field=("scaleToZero",),
        ),
    )
    min_replicas: Replicas
    """The minimum number of replicas. 0 needs scaleToZero. For a pool with runtime RayService, 0 counts as 1."""
    max_replicas: Annotated[int, Field(strict=True, ge=1, le=1000)]
    """The maximum number of replicas. Must not be less than minReplicas."""
    signals: Annotated[tuple[Signal, ...], *list_map("type", minimum=1, maximum=4)]
    """The measurements that the number of replicas follows, 1 to 4, each type at most once."""
    behavior: Behavior = Behavior()
    """How fast the number of replicas follows the signals."""
    scale_to_zero: ScaleToZero | None = None
    """When the last replica is removed, and how long requests wait for one. Required if minReplicas is 0. A pool starts
    with one replica, which is removed only after it has answered. In effect for pools with runtime Deployment.
    """
    schedules: Annotated[tuple[Schedule, ...], *list_map("name", maximum=16)] = ()
    """Other bounds at certain times, at most 16. If several apply at a time, the first one in the list is in effect."""
    budget: Budget | None = None
    """The maximum cost of all pools that use the policy. In effect for pools with runtime Deployment that have a
    `pricing.perReplicaHour` in the budget's currency.
    """

    @property
    def least_replicas(self) -> int:
        """The minimum number of replicas of Ray Serve's autoscaler, which keeps one."""
        return max(1, self.min_replicas)


class AutoscalingPolicy(Resource):
    """An AutoscalingPolicy sets the number of replicas of the ModelPools that refer to it, following their load."""

    definition: ClassVar = Definition(
        "autoscalingpolicies",
        "asp",
        (
            *READY_COLUMNS,
            Column("Min", ".spec.minReplicas", "integer"),
            Column("Max", ".spec.maxReplicas", "integer"),
            Column("Pools", ".status.pools", "integer"),
            AGE_COLUMN,
            MESSAGE_COLUMN,
        ),
    )
    kind: Literal["AutoscalingPolicy"]
    spec: AutoscalingPolicySpec
    status: AutoscalingPolicyStatus | None = None
