"""ModelRouter: does it resolve, is its name its own, and does some path of it answer?"""

from dataclasses import dataclass

from pilotfish.api import AdaptationPlugin, ModelPool, ModelRouter
from pilotfish.api.status import ConditionStatus, ConditionType, ModelRouterStatus
from pilotfish.api.validation import Fault
from pilotfish.reconcile.acceptance import accepted, resolved
from pilotfish.reconcile.conditions import Finding, Findings, Reason
from pilotfish.reconcile.outcome import Context, Outcome
from pilotfish.reconcile.pool_status import dump_status
from pilotfish.reconcile.served import Served, status_of
from pilotfish.reconcile.tasks import task_faults


@dataclass(frozen=True)
class ObservedRouter:
    """What is there of what a router names, and the other routers that serve one of its names."""

    faults: tuple[Fault, ...] = ()
    pools: tuple[ModelPool, ...] = ()
    plugins: tuple[AdaptationPlugin, ...] = ()
    rivals: tuple[ModelRouter, ...] = ()
    served: Served | None = None
    """What gateways told of the router, if they did."""


def desired_state(router: ModelRouter, seen: ObservedRouter, context: Context) -> Outcome:
    """The status of the router; nothing is deployed for it."""
    findings = Findings()
    faults = (*seen.faults, *task_faults(router, {pool.name: pool for pool in seen.pools}))
    findings.mark(ConditionType.ACCEPTED, accepted(faults))
    if not faults:
        findings.mark(ConditionType.ACCEPTED, _name(router, seen))
    findings.mark(ConditionType.RESOLVED_REFS, resolved(_missing(router, seen), router.metadata.namespace or ""))
    answering = {pool.name for pool in seen.pools if answers(pool)}
    silent = [name for name in router.pool_names if name not in answering]
    paths = (*router.strategy_pools, *(entry.pool_ref.name for entry in router.spec.fallback))
    if silent:
        findings.mark(ConditionType.DEGRADED, Finding.true(Reason.PARTLY, f"do not answer: {', '.join(silent)}"))
    else:
        findings.mark(ConditionType.DEGRADED, Finding.false(Reason.WHOLE))
    if answering & set(paths):
        ready = Finding.true(Reason.ANSWERING)
    else:
        ready = Finding.false(Reason.NO_PATH, f"none of these pools answers: {', '.join(dict.fromkeys(paths))}")
    findings.finish(ready, (ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS))
    live = status_of(router, seen.pools, seen.served)
    status = dump_status(
        ModelRouterStatus,
        router,
        findings,
        context,
        url=context.gateway_url,
        served_model_names=router.served_names,
        escalated_permille=live.escalated_permille,
        objective=live.objective,
    )
    return Outcome(status)


def answers(pool: ModelPool) -> bool:
    """Whether the pool's own status says that it answers: with its old spec too, where the new one is refused."""
    conditions = pool.status.conditions if pool.status else ()
    return any(c.type == ConditionType.ENGINE_READY and c.status is ConditionStatus.TRUE for c in conditions)


def _name(router: ModelRouter, seen: ObservedRouter) -> Finding:
    older = [rival for rival in seen.rivals if _age(rival) < _age(router)]
    taken = {name: rival for rival in older for name in rival.served_names if name in router.served_names}
    if not taken:
        return Finding.true(Reason.ACCEPTED)
    words = [f"{name!r} by router {r.name!r} in {r.metadata.namespace!r}" for name, r in sorted(taken.items())]
    return Finding.false(
        Reason.NAME_CONFLICT, f"spec.servedModelNames: already served: {', '.join(words)}; choose another name"
    )


def _age(router: ModelRouter) -> tuple[str, str, str]:
    metadata = router.metadata
    return metadata.creation_timestamp or "", metadata.namespace or "", metadata.name


def _missing(router: ModelRouter, seen: ObservedRouter) -> list[tuple[str, str]]:
    pools = {pool.name for pool in seen.pools}
    plugins = {plugin.name for plugin in seen.plugins}
    uses = [use.plugin_ref.name for use in router.spec.plugins]
    return [
        *(("ModelPool", name) for name in router.pool_names if name not in pools),
        *(("AdaptationPlugin", name) for name in uses if name not in plugins),
    ]
