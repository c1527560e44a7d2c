"""The conditions of a resource, and how a set of them follows from the last one.

`Ready` is computed from the conditions that it depends on and never set by hand. docs/conditions.md describes
them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pilotfish.api import Resource
from pilotfish.api.reasons import Reason
from pilotfish.api.status import Condition, ConditionStatus, ConditionType, Status
from pilotfish.api.validation import Fault
from pilotfish.base.keys import Key
from pilotfish.reconcile.outcome import Context, Observed

_MESSAGE_LIMIT = 1024


@dataclass(frozen=True)
class ConditionValue:
    """Status, reason and message of one condition."""

    status: ConditionStatus
    reason: Reason
    message: str = ""

    @classmethod
    def true(cls, reason: Reason, message: str = "") -> "ConditionValue":
        """Status True."""
        return cls(ConditionStatus.TRUE, reason, message)

    @classmethod
    def false(cls, reason: Reason, message: str = "") -> "ConditionValue":
        """Status False."""
        return cls(ConditionStatus.FALSE, reason, message)

    @classmethod
    def unknown(cls, reason: Reason = Reason.PENDING, message: str = "") -> "ConditionValue":
        """Status Unknown."""
        return cls(ConditionStatus.UNKNOWN, reason, message)

    @property
    def holds(self) -> bool:
        """Whether the status is True."""
        return self.status is ConditionStatus.TRUE

    @property
    def fails(self) -> bool:
        """Whether the status is False."""
        return self.status is ConditionStatus.FALSE


@dataclass
class ConditionSet:
    """The conditions of one resource while they are computed."""

    by_type: dict[ConditionType, ConditionValue] = field(default_factory=dict)

    @classmethod
    def begin(cls, seen: Observed, remarks: Iterable[str] = ()) -> "ConditionSet":
        """Set Accepted, with `remarks` as its message if it is True, and ResolvedRefs, as for every kind."""
        conditions = cls()
        conditions.mark(ConditionType.ACCEPTED, accepted(seen.faults, remarks))
        conditions.mark(ConditionType.RESOLVED_REFS, resolved(seen.missing))
        return conditions

    @property
    def can_be_acted_on(self) -> bool:
        """Whether neither Accepted nor ResolvedRefs is False."""
        return not any(value.fails for value in self._gates)

    def mark(self, kind: ConditionType, value: ConditionValue) -> None:
        """Set a condition."""
        self.by_type[kind] = value

    def finish(
        self, ready: ConditionValue, depends_on: Iterable[ConditionType], *, working: ConditionValue | None = None
    ) -> None:
        """Compute Ready, Reconciling and Stalled.

        Ready is `ready`, unless a condition that it `depends_on` is False: then Ready repeats the first of these.
        Stalled repeats an Accepted or ResolvedRefs that is False, because waiting does not help there. `working` is
        the value of Reconciling while work is under way.
        """
        failing = (value for kind in depends_on if (value := self.by_type.get(kind)) and value.fails)
        self.mark(ConditionType.READY, next(failing, ready))
        stalled = next((value for value in self._gates if value.fails), None)
        settled = ConditionValue.false(Reason.SETTLED)
        self.mark(ConditionType.STALLED, ConditionValue.true(stalled.reason, stalled.message) if stalled else settled)
        self.mark(ConditionType.RECONCILING, working if working and stalled is None else settled)

    def conditions(self, previous: Iterable[Condition], generation: int | None, now: str) -> tuple[Condition, ...]:
        """The conditions in a stable order; a transition time changes only where a status does. `now` is RFC 3339."""
        before = {condition.type: condition for condition in previous}
        return tuple(
            _condition(kind, self.by_type[kind], before.get(kind), generation, now)
            for kind in ConditionType
            if kind in self.by_type
        )

    def status(self, model: type[Status], resource: Resource, context: Context, **figures: Any) -> dict[str, Any]:
        """The status of the resource as JSON, absent fields left out."""
        previous, generation = resource.status, resource.metadata.generation
        conditions = self.conditions(previous.conditions if previous else (), generation, context.now)
        status = model(observed_generation=generation, conditions=conditions, **figures)
        return status.model_dump(mode="json", by_alias=True, exclude_none=True)

    @property
    def _gates(self) -> list[ConditionValue]:
        kinds = (ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS)
        return [self.by_type[kind] for kind in kinds if kind in self.by_type]


def accepted(faults: Sequence[Fault], remarks: Iterable[str] = ()) -> ConditionValue:
    """Accepted: True with the remarks, or False with all faults and the reason of the first."""
    if not faults:
        return ConditionValue.true(Reason.ACCEPTED, "; ".join(remarks))
    return ConditionValue.false(faults[0].reason, "; ".join(map(str, faults)))


def resolved(missing: Sequence[Key]) -> ConditionValue:
    """ResolvedRefs: True where nothing is missing, else all that is."""
    if not missing:
        return ConditionValue.true(Reason.RESOLVED)
    names = ", ".join(f"{key.kind} {key.name!r}" for key in missing)
    return ConditionValue.false(Reason.NOT_FOUND, f"not in namespace {missing[0].namespace!r}: {names}")


def condition_of(resource: Resource, kind: ConditionType) -> Condition | None:
    """A condition that the resource's status has."""
    conditions = resource.status.conditions if resource.status else ()
    return next((condition for condition in conditions if condition.type == kind), None)


def _condition(
    kind: ConditionType, value: ConditionValue, before: Condition | None, generation: int | None, now: str
) -> Condition:
    unchanged = before is not None and before.status is value.status
    return Condition(
        type=kind,
        status=value.status,
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before and unchanged else now,
        reason=value.reason,
        message=value.message[:_MESSAGE_LIMIT],
    )
