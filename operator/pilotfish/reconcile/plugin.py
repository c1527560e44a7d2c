"""AdaptationPlugin: whether its type is installed, its config is right, and its pools answer."""

from collections.abc import Iterator
from dataclasses import dataclass

from pilotfish.api import AdaptationPlugin, ModelPool
from pilotfish.api.reasons import Reason
from pilotfish.api.status import AdaptationPluginStatus, ConditionType
from pilotfish.reconcile.conditions import ConditionSet, ConditionValue
from pilotfish.reconcile.kind import Observer, Reference
from pilotfish.reconcile.outcome import Context, Observed, Outcome
from pilotfish.reconcile.pool_status import answers


@dataclass(frozen=True)
class ObservedPlugin(Observed):
    """What is observed of a plugin."""

    pools: tuple[ModelPool, ...] = ()
    """The pools that it names and that exist."""
    routers: int = 0
    """Routers that use it."""


def references(plugin: AdaptationPlugin) -> Iterator[Reference]:
    """The plugin's pools."""
    for index, ref in enumerate(plugin.spec.pool_refs):
        yield Reference(plugin.key.beside("ModelPool", ref.name), ("spec", "poolRefs", index, "name"))


async def observe(plugin: AdaptationPlugin, observer: Observer) -> ObservedPlugin:
    """Find the plugin's pools and count its routers."""
    seen = observer.observed(plugin)
    keys = dict.fromkeys(reference.key for reference in references(plugin))
    return ObservedPlugin(
        seen.faults,
        seen.missing,
        pools=tuple(pool for key in keys if (pool := observer.find(key, ModelPool))),
        routers=len(observer.referrers(plugin.key, "ModelRouter")),
    )


def decide(plugin: AdaptationPlugin, seen: ObservedPlugin, context: Context) -> Outcome:
    """The status of the plugin."""
    conditions = ConditionSet.begin(seen)
    silent = [pool.name for pool in seen.pools if not answers(pool)]
    ready = ConditionValue.true(Reason.RESOLVED)
    if silent:
        ready = ConditionValue.false(Reason.NO_PATH, f"pools that do not answer: {', '.join(silent)}")
    conditions.finish(ready, (ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS))
    return Outcome(conditions.status(AdaptationPluginStatus, plugin, context, routers=seen.routers))
