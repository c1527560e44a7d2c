"""The parts of a CRD beside its schema: names, the columns of `kubectl get`, the scale subresource."""

from dataclasses import dataclass

CATEGORY = "pilotfish"


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`. Columns of priority 1 are shown with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True)
class Kind:
    """Names and columns of one kind."""

    name: str
    plural: str
    short: str
    columns: tuple[Column, ...]
    scale: bool = False


def _condition(name: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{name}")].{field}'


_READY = Column("Ready", _condition("Ready", "status"))
_REASON = Column("Reason", _condition("Ready", "reason"))
_MESSAGE = Column("Message", _condition("Ready", "message"), priority=1)
_AGE = Column("Age", ".metadata.creationTimestamp", "date")

KINDS = (
    Kind(
        "ModelPool",
        "modelpools",
        "mp",
        (
            _READY,
            _REASON,
            Column("Tier", ".spec.tier"),
            Column("Replicas", ".status.readyReplicas", "integer"),
            Column("Desired", ".status.desiredReplicas", "integer"),
            Column("Runtime", ".status.runtime"),
            _AGE,
            Column("Task", ".spec.task", priority=1),
            Column("Revision", ".status.revision", priority=1),
            _MESSAGE,
        ),
        scale=True,
    ),
    Kind(
        "ModelRouter",
        "modelrouters",
        "mr",
        (
            _READY,
            _REASON,
            Column("Strategy", ".spec.strategy.type"),
            Column("EscalatedPermille", ".status.escalatedPermille", "integer"),
            Column("URL", ".status.url"),
            _AGE,
            Column("Models", ".status.servedModelNames", priority=1),
            _MESSAGE,
        ),
    ),
    Kind(
        "AdaptationPlugin",
        "adaptationplugins",
        "ap",
        (
            _READY,
            _REASON,
            Column("Type", ".spec.type"),
            Column("Routers", ".status.routers", "integer"),
            _AGE,
            _MESSAGE,
        ),
    ),
    Kind(
        "AutoscalingPolicy",
        "autoscalingpolicies",
        "asp",
        (
            _READY,
            _REASON,
            Column("Min", ".spec.minReplicas", "integer"),
            Column("Max", ".spec.maxReplicas", "integer"),
            Column("Pools", ".status.pools", "integer"),
            _AGE,
            _MESSAGE,
        ),
    ),
)
