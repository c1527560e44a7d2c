"""The status of a ModelPool: conditions from what its children and pods say, and figures for `kubectl get`."""

from typing import Any

from pilotfish.api import ModelPool, Resource
from pilotfish.api.modelpool import Runtime
from pilotfish.api.status import ConditionStatus, ConditionType, ModelPoolStatus, Status
from pilotfish.reconcile import pods
from pilotfish.reconcile.conditions import Finding, Findings, Reason
from pilotfish.reconcile.outcome import Context, ExternalCheck, Manifest, ObservedPool
from pilotfish.reconcile.plan import Plan
from pilotfish.reconcile.rayservice_words import is_rays, proven, rayservice_view
from pilotfish.render import labels

_READY_NEEDS = (ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS, ConditionType.ENGINE_READY)


def mark_external(findings: Findings, check: ExternalCheck | None) -> None:
    """EngineReady of a model behind somebody's API: whether the API lists the model, which costs nothing to ask."""
    if check is None:
        findings.mark(ConditionType.ENGINE_READY, Finding.unknown())
    elif check.reachable:
        findings.mark(ConditionType.ENGINE_READY, Finding.true(Reason.REACHABLE, check.message))
    else:
        findings.mark(ConditionType.ENGINE_READY, Finding.false(Reason.UNREACHABLE, check.message))


def external_status(pool: ModelPool, findings: Findings, context: Context) -> dict[str, Any]:
    """The status of an external pool."""
    external = pool.spec.external
    engine = findings.by_type[ConditionType.ENGINE_READY]
    findings.finish(engine, _READY_NEEDS)
    return dump_status(
        ModelPoolStatus, pool, findings, context, runtime="External", url=external.base_url if external else None
    )


def mark_deployed(findings: Findings, pool: ModelPool, plan: Plan, seen: ObservedPool) -> None:
    """WeightsAvailable, EngineReady, Scaled and Degraded, from the pool's pods and from what controls them."""
    everyone = _everyone(pool, plan, seen)
    newest = pods.view(seen.pods, plan.revision)
    fault = newest.fault or everyone.fault or _controllers_fault(plan, seen)
    _mark_weights(findings, everyone, fault)
    _mark_engine(findings, pool, plan, everyone, fault)
    _mark_scaled(findings, plan, everyone, fault, seen.refusal)
    failing = fault if fault and fault.reason is not Reason.LOADING else None
    if everyone.ready and failing and (newest.ready == 0 or _serve_fails(plan, failing)):
        findings.mark(ConditionType.DEGRADED, Finding.true(Reason.ROLLOUT_FAILING, failing.message))
    else:
        findings.mark(ConditionType.DEGRADED, Finding.false(Reason.WHOLE))


def deployed_status(
    pool: ModelPool, plan: Plan, seen: ObservedPool, findings: Findings, context: Context
) -> dict[str, Any]:
    """The status of a pool that runs in the cluster. Ready means that an answer came back from a replica."""
    everyone, newest = _everyone(pool, plan, seen), pods.view(seen.pods, plan.revision)
    engine = findings.by_type.get(ConditionType.ENGINE_READY, Finding.unknown())
    scaled = findings.by_type.get(ConditionType.SCALED)
    working = None
    if plan.revision and newest.total < everyone.total:
        told = f"{newest.ready} of {plan.desired} replicas have revision {plan.revision}"
        working = Finding.true(Reason.ROLLING_OUT, told)
    elif scaled and scaled.status is not ConditionStatus.TRUE:
        working = Finding.true(scaled.reason, scaled.message)
    findings.finish(engine, (*_READY_NEEDS, *_refused_only(findings)), working=working)
    return dump_status(
        ModelPoolStatus,
        pool,
        findings,
        context,
        replicas=everyone.total,
        ready_replicas=everyone.ready,
        desired_replicas=plan.desired,
        selector=",".join(f"{key}={value}" for key, value in labels.selector(pool).items()),
        runtime=plan.runtime,
        revision=plan.revision,
        resolved_revision=pods.weights_revision(seen.pods, plan.revision) or _told_before(pool, plan),
        url=_url(pool, _answering_runtime(pool, plan, seen)),
    )


def _told_before(pool: ModelPool, plan: Plan) -> str | None:
    """The weights of replicas of the same revision that have gone since."""
    before = pool.status
    return before.resolved_revision if before and before.revision == plan.revision else None


def _serve_fails(plan: Plan, fault: pods.Fault) -> bool:
    """Whether Serve cannot replace engines that answer: their pods are those of the new ones."""
    return plan.runtime == Runtime.RAY_SERVICE and fault.reason is Reason.ENGINE_FAILED


def all_answer(pool: ModelPool, plan: Plan, seen: ObservedPool) -> bool:
    """Whether as many replicas of the plan's own runtime answer as should."""
    mine = _on_ray(pool, seen) if plan.runtime == Runtime.RAY_SERVICE else _on_deployment(seen)
    return mine.ready >= plan.desired


def _answering_runtime(pool: ModelPool, plan: Plan, seen: ObservedPool) -> str | None:
    """The plan's, but while a pool moves to it the one that was left, until the new one answers in its place."""
    left = Runtime.DEPLOYMENT if plan.runtime == Runtime.RAY_SERVICE else Runtime.RAY_SERVICE
    return left if _child(seen, left) and not all_answer(pool, plan, seen) else plan.runtime


def _everyone(pool: ModelPool, plan: Plan, seen: ObservedPool) -> pods.PodsView:
    """Replicas of both runtimes: while a pool moves from one to the other, the old one answers on."""
    ray, plain = _on_ray(pool, seen), _on_deployment(seen)
    return ray.beside(plain) if plan.runtime == Runtime.RAY_SERVICE else plain.beside(ray)


def _on_deployment(seen: ObservedPool) -> pods.PodsView:
    return pods.view(pod for pod in seen.pods if not is_rays(pod))


def _on_ray(pool: ModelPool, seen: ObservedPool) -> pods.PodsView:
    known = (pool.status.ready_replicas if pool.status else None) or 0
    known = max(0, known - _on_deployment(seen).ready)
    child = _child(seen, Runtime.RAY_SERVICE)
    return proven(rayservice_view(child, seen.pods, pool.spec.nodes, known), seen.proof)


def _mark_weights(findings: Findings, everyone: pods.PodsView, fault: pods.Fault | None) -> None:
    if everyone.weights_available:
        finding = Finding.true(Reason.AVAILABLE)
    elif fault and fault.reason is Reason.FETCH_FAILED:
        finding = Finding.false(Reason.FETCH_FAILED, fault.message)
    elif everyone.total:
        finding = Finding.false(Reason.FETCHING)
    else:
        finding = Finding.unknown()
    findings.mark(ConditionType.WEIGHTS_AVAILABLE, finding)


def _mark_engine(
    findings: Findings, pool: ModelPool, plan: Plan, everyone: pods.PodsView, fault: pods.Fault | None
) -> None:
    if everyone.ready:
        finding = Finding.true(Reason.ANSWERING)
    elif plan.desired == 0:
        finding = _at_zero(pool)
    elif fault:
        finding = Finding.false(fault.reason, fault.message)
    else:
        finding = Finding.false(Reason.LOADING, "no replica has answered yet")
    findings.mark(ConditionType.ENGINE_READY, finding)


def _at_zero(pool: ModelPool) -> Finding:
    """A pool at zero counts as ready once it has answered: its last condition remembers that."""
    before = pool.status.conditions if pool.status else ()
    answered = any(
        condition.type == ConditionType.ENGINE_READY and condition.status is ConditionStatus.TRUE
        for condition in before
    )
    if answered:
        return Finding.true(Reason.SCALED_TO_ZERO, "no replica runs, as asked; it has answered before")
    return Finding.false(
        Reason.SCALED_TO_ZERO, "no replica runs, as asked, and none has answered yet: set spec.replicas"
    )


def _mark_scaled(
    findings: Findings, plan: Plan, everyone: pods.PodsView, fault: pods.Fault | None, refusal: str
) -> None:
    counted = f"{everyone.ready} of {plan.desired} replicas answer"
    if everyone.total > plan.desired:
        counted += f", {everyone.total} run"
    if refusal:
        finding = Finding.false(Reason.REFUSED, refusal)
    elif everyone.ready == plan.desired == everyone.total:
        finding = Finding.true(Reason.SCALED if plan.desired else Reason.SCALED_TO_ZERO, counted)
    elif fault:
        finding = Finding.false(fault.reason, f"{counted}; {fault.message}")
    else:
        finding = Finding.false(Reason.SCALING, counted)
    findings.mark(ConditionType.SCALED, finding)


def _refused_only(findings: Findings) -> tuple[ConditionType, ...]:
    scaled, engine = (findings.by_type.get(kind) for kind in (ConditionType.SCALED, ConditionType.ENGINE_READY))
    refused = scaled is not None and scaled.reason is Reason.REFUSED
    return (ConditionType.SCALED,) if refused and not (engine and engine.holds) else ()


def _controllers_fault(plan: Plan, seen: ObservedPool) -> pods.Fault | None:
    """What keeps the Deployment's controller from making pods at all, such as a quota."""
    child = _child(seen, plan.runtime)
    for condition in (child or {}).get("status", {}).get("conditions", []):
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return pods.Fault(Reason.REFUSED, condition.get("message", ""))
    return None


def _child(seen: ObservedPool, kind: str | None) -> Manifest | None:
    return next((child for key, child in seen.children.items() if key.kind == kind), None)


def _url(pool: ModelPool, runtime: str | None) -> str | None:
    if runtime is None:
        return None
    name = labels.serve_service_name(pool) if runtime == Runtime.RAY_SERVICE else labels.child_name(pool)
    return f"http://{name}.{pool.metadata.namespace}.svc:{labels.SERVE_PORT}/v1"


def dump_status(
    model: type[Status], resource: Resource, findings: Findings, context: Context, **figures: Any
) -> dict[str, Any]:
    """The status as JSON, absent fields left out."""
    previous, generation = resource.status, resource.metadata.generation
    conditions = findings.conditions(previous.conditions if previous else (), generation, context.now)
    status = model(observed_generation=generation, conditions=conditions, **figures)
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)
