"""ModelRouter: whether its references resolve, its names are its own, and some pool of it answers."""

from collections.abc import Iterator
from dataclasses import dataclass

from pilotfish.api import ModelPool, ModelRouter
from pilotfish.api.reasons import Reason
from pilotfish.api.status import ConditionType, ModelRouterStatus
from pilotfish.reconcile.conditions import ConditionSet, ConditionValue, accepted
from pilotfish.reconcile.gateway_report import RouterReport, reported_status
from pilotfish.reconcile.kind import Observer, Reference
from pilotfish.reconcile.outcome import Context, Observed, Outcome
from pilotfish.reconcile.pool_status import answers
from pilotfish.reconcile.spec_checks import task_faults


@dataclass(frozen=True)
class ObservedRouter(Observed):
    """What is observed of a router."""

    pools: tuple[ModelPool, ...] = ()
    """The pools that it names and that exist."""
    rivals: tuple[ModelRouter, ...] = ()
    """Other routers that serve one of its names."""
    report: RouterReport | None = None
    """What gateways report of the router."""


def references(router: ModelRouter) -> Iterator[Reference]:
    """The router's pools and plugins."""
    for use in router.pool_uses():
        yield Reference(router.key.beside("ModelPool", use.name), use.name_path)
    for index, plugin in enumerate(router.spec.plugins):
        path = ("spec", "plugins", index, "pluginRef", "name")
        yield Reference(router.key.beside("AdaptationPlugin", plugin.plugin_ref.name), path)


async def observe(router: ModelRouter, observer: Observer) -> ObservedRouter:
    """Find the router's pools and rivals, and what gateways report of it."""
    seen = observer.observed(router)
    pools = (observer.find(router.key.beside("ModelPool", name), ModelPool) for name in router.pool_names)
    rivals = (observer.find(key, ModelRouter) for key in observer.claimants(router.served_names) if key != router.key)
    return ObservedRouter(
        seen.faults,
        seen.missing,
        pools=tuple(pool for pool in pools if pool),
        rivals=tuple(rival for rival in rivals if rival),
        report=observer.router_report(router.key),
    )


def decide(router: ModelRouter, seen: ObservedRouter, context: Context) -> Outcome:
    """The status of the router."""
    conditions = ConditionSet.begin(seen)
    faults = (*seen.faults, *task_faults(router, {pool.name: pool for pool in seen.pools}))
    conditions.mark(ConditionType.ACCEPTED, accepted(faults) if faults else _name(router, seen))
    answering = {pool.name for pool in seen.pools if answers(pool)}
    silent = [name for name in router.pool_names if name not in answering]
    if silent:
        degraded = ConditionValue.true(Reason.PARTLY, f"pools that do not answer: {', '.join(silent)}")
    else:
        degraded = ConditionValue.false(Reason.WHOLE)
    conditions.mark(ConditionType.DEGRADED, degraded)
    if answering & set(router.answering_pools):
        ready = ConditionValue.true(Reason.ANSWERING)
    else:
        ready = ConditionValue.false(Reason.NO_PATH, f"no pool answers: {', '.join(router.answering_pools)}")
    conditions.finish(ready, (ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS))
    live = reported_status(router, seen.pools, seen.report)
    return Outcome(
        conditions.status(
            ModelRouterStatus,
            router,
            context,
            url=context.gateway_url,
            served_model_names=router.served_names,
            escalated_permille=live.escalated_permille,
            objective=live.objective,
        )
    )


def _name(router: ModelRouter, seen: ObservedRouter) -> ConditionValue:
    older = [rival for rival in seen.rivals if _age(rival) < _age(router)]
    taken = {name: rival for rival in older for name in rival.served_names if name in router.served_names}
    if not taken:
        return ConditionValue.true(Reason.ACCEPTED)
    holders = [f"{name!r} by router {r.name!r} in {r.metadata.namespace!r}" for name, r in sorted(taken.items())]
    return ConditionValue.false(
        Reason.NAME_CONFLICT, f"spec.servedModelNames: already served: {', '.join(holders)}: choose another name"
    )


def _age(router: ModelRouter) -> tuple[str, str, str]:
    return router.metadata.creation_timestamp or "", router.namespace, router.name
