"""AutoscalingPolicy: who follows it, and which of its fields are carried out."""

from pilotfish.api import AutoscalingPolicy
from pilotfish.api.status import AutoscalingPolicyStatus, ConditionType
from pilotfish.reconcile import scaling
from pilotfish.reconcile.conditions import Finding, Findings, Reason
from pilotfish.reconcile.outcome import Context, Outcome
from pilotfish.reconcile.pool_status import dump_status


def desired_state(policy: AutoscalingPolicy, pools: int, context: Context) -> Outcome:
    """The status of the policy that `pools` pools name."""
    findings = Findings()
    findings.mark(ConditionType.ACCEPTED, Finding.true(Reason.ACCEPTED))
    findings.mark(ConditionType.RESOLVED_REFS, Finding.true(Reason.RESOLVED))
    idle = scaling.not_in_force(policy.spec)
    ready = Finding.true(Reason.IN_FORCE)
    if idle:
        ready = Finding.true(Reason.PARTLY_IN_FORCE, f"accepted but not in force yet: {', '.join(idle)}")
    findings.finish(ready, (ConditionType.ACCEPTED,))
    return Outcome(dump_status(AutoscalingPolicyStatus, policy, findings, context, pools=pools))
