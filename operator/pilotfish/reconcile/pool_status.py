"""The status of a ModelPool: conditions from what its objects and pods report, and figures for `kubectl get`."""

from typing import Any

from pilotfish.api import ModelPool
from pilotfish.api.modelpool import Runtime
from pilotfish.api.reasons import Reason
from pilotfish.api.status import ConditionStatus, ConditionType, ModelPoolStatus
from pilotfish.reconcile import pods
from pilotfish.reconcile.conditions import ConditionSet, ConditionValue, condition_of
from pilotfish.reconcile.outcome import Context, ExternalCheck
from pilotfish.reconcile.pool_observation import PoolProgress
from pilotfish.render import labels
from pilotfish.routing.snapshot import PoolState, can_answer

_READY_NEEDS = (ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS, ConditionType.ENGINE_READY)


_FAILED = frozenset(
    {
        Reason.ENGINE_FAILED,
        Reason.FETCH_FAILED,
        Reason.CONTAINER_WAITING,
        Reason.REFUSED,
        Reason.INVALID_SPEC,
        Reason.UNKNOWN_SOURCE,
    }
)


def state_of(pool: ModelPool) -> PoolState:
    """The state that the pool's conditions report.

    EngineReady comes first: the replicas of a pool still answer where its new spec is not accepted.
    """
    engine, ready = condition_of(pool, ConditionType.ENGINE_READY), condition_of(pool, ConditionType.READY)
    if engine and engine.status is ConditionStatus.TRUE:
        return PoolState.SCALED_TO_ZERO if engine.reason == Reason.SCALED_TO_ZERO else PoolState.READY
    reason = ready.reason if ready else Reason.PENDING
    if reason == Reason.SCALED_TO_ZERO:
        return PoolState.SCALED_TO_ZERO
    return PoolState.FAILED if reason in _FAILED else PoolState.LOADING


def answers(pool: ModelPool) -> bool:
    """Whether a request can be sent to the pool, by its status: the rule of the gateways, for what they observe."""
    ready_replicas = pool.status.ready_replicas if pool.status else None
    engine = condition_of(pool, ConditionType.ENGINE_READY)
    held = engine is not None and engine.reason == Reason.SCALED_TO_ZERO and engine.status is ConditionStatus.TRUE
    has_address = pool.spec.external is not None or bool(ready_replicas)
    return can_answer(state_of(pool), has_address=has_address, held=held)


def mark_external(conditions: ConditionSet, check: ExternalCheck | None) -> None:
    """EngineReady of an external model: whether the API lists the model, which costs nothing to ask."""
    if check is None:
        value = ConditionValue.unknown()
    elif check.reachable:
        value = ConditionValue.true(Reason.REACHABLE, check.message)
    else:
        value = ConditionValue.false(Reason.UNREACHABLE, check.message)
    conditions.mark(ConditionType.ENGINE_READY, value)


def external_status(pool: ModelPool, conditions: ConditionSet, context: Context) -> dict[str, Any]:
    """The status of an external pool."""
    conditions.finish(conditions.by_type[ConditionType.ENGINE_READY], _READY_NEEDS)
    url = pool.spec.external.base_url if pool.spec.external else None
    return conditions.status(ModelPoolStatus, pool, context, runtime="External", url=url)


def mark_deployed(conditions: ConditionSet, progress: PoolProgress) -> None:
    """WeightsAvailable, EngineReady, Scaled and Degraded, from the pool's pods and from what controls them."""
    conditions.mark(ConditionType.WEIGHTS_AVAILABLE, _weights(progress))
    conditions.mark(ConditionType.ENGINE_READY, _engine(progress))
    conditions.mark(ConditionType.SCALED, _scaled(progress))
    conditions.mark(ConditionType.DEGRADED, _degraded(progress))


def deployed_status(conditions: ConditionSet, progress: PoolProgress, context: Context) -> dict[str, Any]:
    """The status of a pool that runs in the cluster. Ready means that a replica returned an answer."""
    pool, plan, everyone, newest = progress.pool, progress.plan, progress.everyone, progress.newest
    scaled = conditions.by_type.get(ConditionType.SCALED)
    working = None
    if plan.revision and newest.total < everyone.total:
        counted = f"{newest.ready} of {plan.desired} replicas have revision {plan.revision}"
        working = ConditionValue.true(Reason.ROLLING_OUT, counted)
    elif scaled and not scaled.holds:
        working = ConditionValue.true(scaled.reason, scaled.message)
    ready = conditions.by_type.get(ConditionType.ENGINE_READY, ConditionValue.unknown())
    conditions.finish(ready, (*_READY_NEEDS, *_refused_only(conditions)), working=working)
    weights = pods.weights_revision(progress.observation.seen.pods, plan.revision) or _weights_before(progress)
    return conditions.status(
        ModelPoolStatus,
        pool,
        context,
        replicas=everyone.total,
        ready_replicas=everyone.ready,
        desired_replicas=plan.desired,
        selector=",".join(f"{key}={value}" for key, value in labels.selector(pool).items()),
        runtime=plan.runtime,
        ray_cluster=progress.observation.answered_ray,
        revision=plan.revision,
        resolved_revision=weights,
        url=_url(pool, progress.answering_runtime),
    )


def _weights_before(progress: PoolProgress) -> str | None:
    """The revision of the weights from the last status, if the revision of the pods is the same."""
    before = progress.pool.status
    return before.resolved_revision if before and before.revision == progress.plan.revision else None


def _weights(progress: PoolProgress) -> ConditionValue:
    failure = progress.failure
    if progress.everyone.weights_available:
        return ConditionValue.true(Reason.AVAILABLE)
    if failure and failure.reason is Reason.FETCH_FAILED:
        return ConditionValue.false(Reason.FETCH_FAILED, failure.message)
    return ConditionValue.false(Reason.FETCHING) if progress.everyone.total else ConditionValue.unknown()


def _engine(progress: PoolProgress) -> ConditionValue:
    if progress.everyone.ready:
        return ConditionValue.true(Reason.ANSWERING)
    if progress.plan.desired == 0 and progress.plan.decision:
        message = "no replica runs: gateways hold the next request until one has started"
        return ConditionValue.true(Reason.SCALED_TO_ZERO, message)
    if progress.plan.desired == 0:
        message = "spec.replicas is 0, so that no replica runs and requests are rejected: set spec.replicas"
        return ConditionValue.false(Reason.SCALED_TO_ZERO, message)
    if failure := progress.failure:
        return ConditionValue.false(failure.reason, failure.message)
    return ConditionValue.false(Reason.LOADING, "no replica has answered yet")


def _scaled(progress: PoolProgress) -> ConditionValue:
    everyone, desired, refusal = progress.everyone, progress.plan.desired, progress.observation.seen.refusal
    decision = progress.plan.decision
    counted = f"{everyone.ready} of {desired} replicas answer" + (f" ({decision.why})" if decision else "")
    if everyone.total > desired:
        counted += f", {everyone.total} run"
    if refusal:
        return ConditionValue.false(Reason.REFUSED, refusal)
    if everyone.ready == desired == everyone.total:
        return ConditionValue.true(Reason.SCALED if desired else Reason.SCALED_TO_ZERO, counted)
    if failure := progress.failure:
        return ConditionValue.false(failure.reason, f"{counted}; {failure.message}")
    return ConditionValue.false(Reason.SCALING, counted)


def _degraded(progress: PoolProgress) -> ConditionValue:
    failure = progress.failure
    if failure is None or failure.reason is Reason.LOADING or not progress.everyone.ready:
        return ConditionValue.false(Reason.WHOLE)
    # Serve replaces engines in the pods that run: the newest pods are ready while a new engine fails in them.
    in_place = progress.on_ray and failure.reason is Reason.ENGINE_FAILED
    if progress.newest.ready and not in_place:
        return ConditionValue.false(Reason.WHOLE)
    return ConditionValue.true(Reason.ROLLOUT_FAILING, failure.message)


def _refused_only(conditions: ConditionSet) -> tuple[ConditionType, ...]:
    scaled, engine = (conditions.by_type.get(kind) for kind in (ConditionType.SCALED, ConditionType.ENGINE_READY))
    refused = scaled is not None and scaled.reason is Reason.REFUSED
    return (ConditionType.SCALED,) if refused and not (engine and engine.holds) else ()


def _url(pool: ModelPool, runtime: Runtime | None) -> str | None:
    if runtime is None:
        return None
    name = labels.serve_service_name(pool) if runtime is Runtime.RAY_SERVICE else labels.child_name(pool)
    return f"http://{name}.{pool.metadata.namespace}.svc:{labels.SERVE_PORT}/v1"
