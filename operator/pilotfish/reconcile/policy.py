"""AutoscalingPolicy: how many pools use it, and which of its fields are in effect."""

from collections.abc import Iterator
from dataclasses import dataclass

from pilotfish.api import AutoscalingPolicy
from pilotfish.api.reasons import Reason
from pilotfish.api.status import AutoscalingPolicyStatus, ConditionType
from pilotfish.api.validation import Fault
from pilotfish.reconcile import scaling
from pilotfish.reconcile.conditions import ConditionSet, ConditionValue
from pilotfish.reconcile.kind import Observer, PluginCatalog
from pilotfish.reconcile.outcome import Context, Observed, Outcome
from pilotfish.reconcile.schedules import check_schedules


@dataclass(frozen=True)
class ObservedPolicy(Observed):
    """What is observed of a policy."""

    pools: int = 0
    """Pools that name it."""


async def observe(policy: AutoscalingPolicy, observer: Observer) -> ObservedPolicy:
    """Count the pools that name the policy."""
    seen = observer.observed(policy)
    return ObservedPolicy(seen.faults, seen.missing, pools=len(observer.referrers(policy.key, "ModelPool")))


def check(policy: AutoscalingPolicy, _installed: PluginCatalog) -> Iterator[Fault]:
    """Faults of schedules."""
    return check_schedules(policy.spec.schedules)


def decide(policy: AutoscalingPolicy, seen: ObservedPolicy, context: Context) -> Outcome:
    """The status of the policy."""
    conditions = ConditionSet.begin(seen)
    idle = scaling.not_in_force(policy.spec)
    ready = ConditionValue.true(Reason.IN_FORCE)
    if idle:
        message = f"accepted, but not in effect in this version: {', '.join(idle)}"
        ready = ConditionValue.true(Reason.PARTLY_IN_FORCE, message)
    conditions.finish(ready, (ConditionType.ACCEPTED,))
    return Outcome(conditions.status(AutoscalingPolicyStatus, policy, context, pools=seen.pools))
