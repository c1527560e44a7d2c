"""AutoscalingPolicy: how replicas follow load, down to zero."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pilotfish.api.common import Currency, DecimalString, Label, Metadata, Model, Rule, list_map
from pilotfish.api.status import AutoscalingPolicyStatus

CRON = (
    r"^(\*|[0-9A-Za-z*,/-]+) (\*|[0-9A-Za-z*,/-]+) (\*|[0-9A-Za-z*,?/LW-]+)"
    r" (\*|[0-9A-Za-z*,/-]+) (\*|[0-9A-Za-z*,?/L#-]+)$"
)

Replicas = Annotated[int, Field(strict=True, ge=0, le=1000)]
Seconds = Annotated[int, Field(strict=True, ge=0, le=604_800)]


class SignalType(StrEnum):
    """What is measured, per replica."""

    ONGOING_REQUESTS = "OngoingRequests"
    QUEUED_REQUESTS = "QueuedRequests"
    KV_CACHE_USAGE_PERCENT = "KVCacheUsagePercent"
    TIME_TO_FIRST_TOKEN_MILLISECONDS = "TimeToFirstTokenMilliseconds"  # noqa: S105 - a signal's name


class Signal(Model):
    """A measurement and the value per replica that it should have."""

    type: SignalType
    target: Annotated[int, Field(strict=True, ge=1, le=1_000_000)]


class Behavior(Model):
    """How fast replicas follow the signals."""

    upscale_delay_seconds: Seconds = 30
    downscale_delay_seconds: Seconds = 600
    look_back_seconds: Annotated[int, Field(strict=True, ge=1, le=3600)] = 30


class ScaleToZero(Model):
    """When the last replica goes, and how long a request waits for the first one."""

    after_seconds: Annotated[int, Field(strict=True, ge=1, le=604_800)]
    hold_requests_seconds: Annotated[int, Field(strict=True, ge=1, le=3600)]


class Schedule(Model):
    """Other bounds for a while, from each time that `cron` names."""

    name: Label
    cron: Annotated[str, Field(max_length=128, pattern=CRON)]
    time_zone: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$")] = "UTC"
    duration_seconds: Annotated[int, Field(strict=True, ge=1, le=604_800)]
    min_replicas: Replicas | None = None
    max_replicas: Replicas | None = None


class Budget(Model):
    """The most that the pools of this policy may cost together."""

    currency: Currency
    per_hour: DecimalString


class AutoscalingPolicySpec(Model):
    """Bounds, signals and their targets."""

    rules: ClassVar = (
        Rule(
            message="minReplicas must not be above maxReplicas",
            cel="self.minReplicas <= self.maxReplicas",
            holds=lambda s: s.min_replicas <= s.max_replicas,
            field=("minReplicas",),
        ),
        Rule(
            message="minReplicas 0 needs scaleToZero, which says how long a request is held",
            cel="self.minReplicas > 0 || has(self.scaleToZero)",
            holds=lambda s: s.min_replicas > 0 or s.scale_to_zero is not None,
            field=("scaleToZero",),
        ),
    )
    min_replicas: Replicas
    max_replicas: Annotated[int, Field(strict=True, ge=1, le=1000)]
    signals: Annotated[tuple[Signal, ...], *list_map("type", minimum=1, maximum=4)]
    behavior: Behavior = Behavior()
    scale_to_zero: ScaleToZero | None = None
    schedules: Annotated[tuple[Schedule, ...], *list_map("name", maximum=16)] = ()
    budget: Budget | None = None

    @property
    def least_replicas(self) -> int:
        """The fewest replicas in force: the last one stays, as scale to zero is not in force."""
        return max(1, self.min_replicas)


class AutoscalingPolicy(Model):
    """How the replicas of the pools that name it follow load."""

    api_version: Literal["pilotfish.dev/v1alpha1"]
    kind: Literal["AutoscalingPolicy"]
    metadata: Metadata
    spec: AutoscalingPolicySpec
    status: AutoscalingPolicyStatus | None = None

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name
