"""Conditions: every reason there is, and how a set of conditions follows from the last one.

`Ready` is computed from the conditions that it depends on and never set by hand. docs/conditions.md says for each
condition who sets it, when it is absent, and what its reasons mean.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from pilotfish.api.status import Condition, ConditionStatus, ConditionType

_MESSAGE_LIMIT = 1024


class Reason(StrEnum):
    """Why a condition is as it is."""

    ACCEPTED = "Accepted"
    """Accepted: the resource can be acted on."""
    INVALID_SPEC = "InvalidSpec"
    """Accepted: a field is wrong; the message names it and the fix."""
    UNKNOWN_SOURCE = "UnknownSource"
    """Accepted: no installed source has the address's scheme."""
    RESERVED_ENGINE_ARGUMENT = "ReservedEngineArgument"
    """Accepted: an engine argument that has a field of its own."""
    UNKNOWN_PLUGIN = "UnknownPlugin"
    """Accepted: no installed plugin or scorer has that name."""
    INVALID_PLUGIN_CONFIG = "InvalidPluginConfig"
    """Accepted: the scorer refuses its config."""
    NAME_CONFLICT = "NameConflict"
    """Accepted: an older router serves the same model name."""
    RUNTIME_UNAVAILABLE = "RuntimeUnavailable"
    """Accepted: the pool needs KubeRay, whose API is not served."""
    RESOLVED = "Resolved"
    """ResolvedRefs: everything that is referred to exists."""
    NOT_FOUND = "NotFound"
    """ResolvedRefs: something that is referred to does not exist; the message names it."""
    PENDING = "Pending"
    """Any condition: not known yet."""
    AVAILABLE = "Available"
    """WeightsAvailable: a replica has the weights."""
    FETCHING = "Fetching"
    """WeightsAvailable: weights are being fetched or converted."""
    FETCH_FAILED = "FetchFailed"
    """WeightsAvailable, Ready: weights cannot be had; the message has the reason."""
    ANSWERING = "Answering"
    """EngineReady, Ready: an answer came back."""
    LOADING = "Loading"
    """EngineReady, Ready: no replica has answered yet."""
    ENGINE_FAILED = "EngineFailed"
    """EngineReady, Ready: the engine stopped; the message has its own words."""
    UNSCHEDULABLE = "Unschedulable"
    """EngineReady, Scaled, Ready: no node takes a replica; the message has the scheduler's words."""
    CONTAINER_WAITING = "ContainerWaiting"
    """EngineReady, Ready: a container cannot start, such as for want of its image or a Secret."""
    REFUSED = "Refused"
    """Scaled, Ready: the API server refuses what the pool needs, or keeps failing at it; the message has its words."""
    SCALED = "Scaled"
    """Scaled: as many replicas answer as should."""
    SCALING = "Scaling"
    """Scaled: fewer replicas answer than should, or more."""
    SCALED_TO_ZERO = "ScaledToZero"
    """Scaled, EngineReady, Ready: no replica runs, as asked."""
    REACHABLE = "Reachable"
    """EngineReady, Ready: the external API knows the model."""
    UNREACHABLE = "Unreachable"
    """EngineReady, Ready: the external API does not answer, or not for this model."""
    NO_PATH = "NoPath"
    """Ready: no pool that the router may use answers."""
    PARTLY = "Partly"
    """Degraded: some pools that are referred to do not answer."""
    WHOLE = "Whole"
    """Degraded: nothing is amiss."""
    ROLLING_OUT = "RollingOut"
    """Reconciling: replicas of the new revision are being made."""
    ROLLOUT_FAILING = "RolloutFailing"
    """Degraded: the old revision answers, the new one does not come up; the message says why."""
    IN_FORCE = "InForce"
    """Ready: everything that the policy says is carried out."""
    PARTLY_IN_FORCE = "PartlyInForce"
    """Ready: the message names the fields that are accepted but not carried out yet."""
    SETTLED = "Settled"
    """Reconciling, Stalled: there is nothing left to do."""


@dataclass(frozen=True)
class Finding:
    """What one condition should say."""

    status: ConditionStatus
    reason: Reason
    message: str = ""

    @classmethod
    def true(cls, reason: Reason, message: str = "") -> "Finding":
        """A condition that holds."""
        return cls(ConditionStatus.TRUE, reason, message)

    @classmethod
    def false(cls, reason: Reason, message: str = "") -> "Finding":
        """A condition that does not hold."""
        return cls(ConditionStatus.FALSE, reason, message)

    @classmethod
    def unknown(cls, reason: Reason = Reason.PENDING, message: str = "") -> "Finding":
        """A condition of which nothing is known."""
        return cls(ConditionStatus.UNKNOWN, reason, message)

    @property
    def holds(self) -> bool:
        """Whether the status is True."""
        return self.status is ConditionStatus.TRUE


@dataclass
class Findings:
    """The conditions of one resource while they are being worked out."""

    by_type: dict[ConditionType, Finding] = field(default_factory=dict)

    def mark(self, kind: ConditionType, finding: Finding) -> None:
        """Say what a condition is."""
        self.by_type[kind] = finding

    def finish(self, ready: Finding, depends_on: Iterable[ConditionType], *, working: Finding | None = None) -> None:
        """Compute Ready, Reconciling and Stalled.

        `ready` holds if nothing that Ready `depends_on` says False; otherwise Ready repeats the first that does.
        Stalled repeats an Accepted or ResolvedRefs that is False: waiting alone will not mend it. `working` says what
        is still being done.
        """
        broken = [f for t in depends_on if (f := self.by_type.get(t)) and f.status is ConditionStatus.FALSE]
        final = broken[0] if broken else ready
        self.mark(ConditionType.READY, final)
        stuck = [f for t in (ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS) if (f := self.by_type.get(t))]
        stalled = next((f for f in stuck if f.status is ConditionStatus.FALSE), None)
        settled = Finding.false(Reason.SETTLED)
        self.mark(ConditionType.STALLED, Finding.true(stalled.reason, stalled.message) if stalled else settled)
        busy = working is not None and stalled is None
        self.mark(ConditionType.RECONCILING, working if busy and working else settled)

    def conditions(self, previous: Iterable[Condition], generation: int | None, now: str) -> tuple[Condition, ...]:
        """The conditions in a stable order; a transition time changes only where a status does. `now` is RFC 3339."""
        before = {condition.type: condition for condition in previous}
        return tuple(
            _condition(kind, self.by_type[kind], before.get(kind), generation, now)
            for kind in ConditionType
            if kind in self.by_type
        )


def _condition(
    kind: ConditionType, finding: Finding, before: Condition | None, generation: int | None, now: str
) -> Condition:
    unchanged = before is not None and before.status is finding.status
    return Condition(
        type=kind,
        status=finding.status,
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before and unchanged else now,
        reason=finding.reason,
        message=finding.message[:_MESSAGE_LIMIT],
    )
