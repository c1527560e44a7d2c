"""AdaptationPlugin: whether its type is installed, its config is right, its pools answer, and it is prepared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pilotfish.api import AdaptationPlugin, ModelPool
from pilotfish.api.reasons import Reason
from pilotfish.api.status import AdaptationPluginStatus, ConditionType, PreparedStatus
from pilotfish.base.keys import Key
from pilotfish.reconcile import drift, preparation
from pilotfish.reconcile.conditions import ConditionSet, ConditionValue
from pilotfish.reconcile.kind import Observer, Reference
from pilotfish.reconcile.outcome import Context, Manifest, Observed, Outcome
from pilotfish.reconcile.pool_status import answers
from pilotfish.reconcile.preparation import JobState, JobView
from pilotfish.render.preparation import preparation_job

RETRY_SECONDS = 600.0
"""Seconds after which a Job that failed is made again."""
PROGRESS_SECONDS = 15.0
"""Seconds between two looks at the progress of a Job."""
_GATES = (ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS)


@dataclass(frozen=True)
class ObservedPlugin(Observed):
    """What is observed of a plugin."""

    pools: tuple[ModelPool, ...] = ()
    """The pools that it names and that exist."""
    routers: int = 0
    """Routers that use it."""
    prepares: bool = False
    """Whether a Job prepares it."""
    config_maps: Mapping[Key, str] = field(default_factory=dict)
    """Digests of the ConfigMaps that its sources name and that exist."""
    pods: tuple[Manifest, ...] = ()
    """Pods of its Jobs."""
    progress: str = ""
    """How far the Job that runs is, for people."""


def references(plugin: AdaptationPlugin) -> Iterator[Reference]:
    """The plugin's pools."""
    for index, ref in enumerate(plugin.spec.pool_refs):
        yield Reference(plugin.key.beside("ModelPool", ref.name), ("spec", "poolRefs", index, "name"))


async def observe(plugin: AdaptationPlugin, observer: Observer) -> ObservedPlugin:
    """Find the plugin's pools, count its routers, and read its Job and the digests of its ConfigMaps."""
    seen = observer.observed(plugin)
    keys = dict.fromkeys(reference.key for reference in references(plugin))
    prepares = observer.prepares(plugin)
    named = {
        plugin.key.beside("ConfigMap", source.config_map_ref.name)
        for source in plugin.spec.sources
        if source.config_map_ref
    }
    digests = await observer.config_maps(plugin.key, sorted(named) if prepares else ())
    absent = tuple(key for key in sorted(named) if prepares and key not in digests)
    pods = observer.pods(plugin.key)
    address = preparation.progress_address(pods)
    return ObservedPlugin(
        seen.faults,
        (*seen.missing, *absent),
        seen.children,
        pools=tuple(pool for key in keys if (pool := observer.find(key, ModelPool))),
        routers=len(observer.referrers(plugin.key, "ModelRouter")),
        prepares=prepares,
        config_maps=digests,
        pods=pods,
        progress=await observer.progress(address) if address else "",
    )


def decide(plugin: AdaptationPlugin, seen: ObservedPlugin, context: Context) -> Outcome:
    """The Job that should exist, and the status of the plugin."""
    conditions = ConditionSet.begin(seen)
    silent = [pool.name for pool in seen.pools if not answers(pool)]
    ready = ConditionValue.true(Reason.RESOLVED)
    if silent:
        ready = ConditionValue.false(Reason.NO_PATH, f"pools that do not answer: {', '.join(silent)}")
    if not seen.prepares:
        conditions.finish(ready, _GATES)
        unprepared = conditions.status(AdaptationPluginStatus, plugin, context, routers=seen.routers)
        return Outcome(unprepared, deletions=tuple(seen.children))
    plan = _Plan(prepared=plugin.status.prepared if plugin.status else None)
    if conditions.can_be_acted_on:
        plan = _planned(plugin, seen, context, silent)
        conditions.mark(ConditionType.PREPARED, plan.value)
        conditions.mark(ConditionType.DEGRADED, _degraded(plan))
        if plan.prepared is None:
            ready = plan.value
    working = ConditionValue.true(plan.value.reason, plan.value.message) if plan.works else None
    conditions.finish(ready, _GATES, working=working)
    figures = {"routers": seen.routers, "prepared": plan.prepared}
    status = conditions.status(AdaptationPluginStatus, plugin, context, **figures)
    return Outcome(status, plan.manifests, plan.deletions, plan.again)


@dataclass(frozen=True)
class _Plan:
    """The value of Prepared, what is prepared, and what to do.

    `remake`: the Job is deleted, so that the next reconcile makes it again.
    """

    value: ConditionValue = field(default_factory=ConditionValue.unknown)
    prepared: PreparedStatus | None = None
    manifests: tuple[Manifest, ...] = ()
    deletions: tuple[Key, ...] = ()
    remake: bool = False
    again: float | None = None

    @property
    def works(self) -> bool:
        return self.value.reason is Reason.PREPARING


def _planned(plugin: AdaptationPlugin, seen: ObservedPlugin, context: Context, silent: Sequence[str]) -> _Plan:
    prepared = plugin.status.prepared if plugin.status else None
    if context.render.prepared_claim is None:
        message = "the installation has no volume for what plugins prepare: set the chart's prepared.claim"
        return _Plan(ConditionValue.false(Reason.NO_PREPARED_CLAIM, message), prepared)
    if silent:
        message = f"waiting for pools that do not answer: {', '.join(silent)}"
        return _Plan(ConditionValue.false(Reason.PREPARING, message), prepared)
    period, left = _period(plugin, context.now)
    documents = {str(key): digest for key, digest in seen.config_maps.items()} | period
    job = drift.sealed(preparation_job(plugin, seen.pools, documents, context.render))
    key = Key.of(job)
    found = preparation.view(seen.children.get(key), seen.pods)
    plan = _followed(key.name, found, prepared, context.now)
    if seen.progress and plan.works:
        value = replace(plan.value, message=f"{plan.value.message}: {seen.progress}")
        plan = replace(plan, value=value, again=PROGRESS_SECONDS)
    elif found.state is JobState.RUNNING:
        plan = replace(plan, again=PROGRESS_SECONDS)
    if seen.refusal:
        plan = replace(plan, value=ConditionValue.false(Reason.PREPARATION_FAILED, seen.refusal))
    stale = tuple(child for child in seen.children if child != key)
    again = min((seconds for seconds in (plan.again, left) if seconds is not None), default=None)
    deletions = (*stale, key) if plan.remake else stale
    return replace(plan, manifests=(job,), deletions=deletions, again=again)


def _followed(name: str, found: JobView, prepared: PreparedStatus | None, now: str) -> _Plan:
    """The plan that follows from the state of the wanted Job."""
    if found.result is not None:
        prepared = _prepared(name, found, found.result, now)
    if found.state is JobState.FAILED:
        left = RETRY_SECONDS - (preparation.seconds_between(found.ended, now) if found.ended else 0.0)
        value = ConditionValue.false(Reason.PREPARATION_FAILED, f"Job {name!r}: {found.message}")
        return _Plan(value, prepared, remake=left <= 0, again=max(1.0, left))
    if prepared is not None and prepared.job == name:
        return _Plan(ConditionValue.true(Reason.PREPARED, f"{prepared.documents} documents"), prepared)
    value = ConditionValue.false(Reason.PREPARING, f"Job {name!r} prepares the documents")
    if found.message:
        message = f"Job {name!r} is tried again after: {found.message}"
        value = ConditionValue.false(Reason.PREPARATION_FAILED, message)
    return _Plan(value, prepared, remake=found.state is JobState.LOST)


def _prepared(name: str, found: JobView, result: Mapping[str, Any], now: str) -> PreparedStatus:
    return PreparedStatus(
        digest=result["digest"],
        job=name,
        documents=result["documents"],
        details=result["details"],
        time=found.ended or now,
    )


def _degraded(plan: _Plan) -> ConditionValue:
    if plan.prepared is not None and plan.value.reason is Reason.PREPARATION_FAILED:
        message = f"what was prepared before is in use: {plan.value.message}"
        return ConditionValue.true(Reason.PREPARATION_FAILED, message)
    return ConditionValue.false(Reason.WHOLE)


def _period(plugin: AdaptationPlugin, now: str) -> tuple[dict[str, str], float | None]:
    """The number of the present period of refreshSeconds, and the seconds that are left of it."""
    seconds = plugin.spec.refresh_seconds
    if seconds is None:
        return {}, None
    at = datetime.fromisoformat(now).timestamp()
    return {"period": str(int(at // seconds))}, seconds - at % seconds
