"""AdaptationPlugin: is its type installed, its config right, and do its pools answer?"""

from dataclasses import dataclass

from pilotfish.api import AdaptationPlugin, ModelPool
from pilotfish.api.status import AdaptationPluginStatus, ConditionType
from pilotfish.api.validation import Fault
from pilotfish.reconcile.acceptance import accepted, resolved
from pilotfish.reconcile.conditions import Finding, Findings, Reason
from pilotfish.reconcile.outcome import Context, Outcome
from pilotfish.reconcile.pool_status import dump_status
from pilotfish.reconcile.router import answers


@dataclass(frozen=True)
class ObservedPlugin:
    """What is there of what a plugin names, and how many routers use it."""

    faults: tuple[Fault, ...] = ()
    pools: tuple[ModelPool, ...] = ()
    routers: int = 0


def desired_state(plugin: AdaptationPlugin, seen: ObservedPlugin, context: Context) -> Outcome:
    """The status of the plugin; nothing is deployed for it."""
    findings = Findings()
    findings.mark(ConditionType.ACCEPTED, accepted(seen.faults))
    names = dict.fromkeys(ref.name for ref in plugin.spec.pool_refs)
    there = {pool.name: pool for pool in seen.pools}
    missing = [("ModelPool", name) for name in names if name not in there]
    findings.mark(ConditionType.RESOLVED_REFS, resolved(missing, plugin.metadata.namespace or ""))
    silent = [name for name in names if name in there and not answers(there[name])]
    ready = Finding.true(Reason.RESOLVED)
    if silent:
        ready = Finding.false(Reason.NO_PATH, f"pools that do not answer: {', '.join(silent)}")
    findings.finish(ready, (ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS))
    return Outcome(dump_status(AdaptationPluginStatus, plugin, findings, context, routers=seen.routers))
