"""ModelPool: from what is asked and what is there to what should be."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pilotfish.api import ModelPool
from pilotfish.api.modelpool import Rollout, RolloutType, Runtime
from pilotfish.api.status import ConditionType
from pilotfish.api.validation import Fault
from pilotfish.reconcile import drift, pool_status, scaling
from pilotfish.reconcile.acceptance import accepted, resolved
from pilotfish.reconcile.conditions import Findings
from pilotfish.reconcile.outcome import Context, Manifest, ObjectKey, ObservedPool, Outcome
from pilotfish.reconcile.plan import Plan
from pilotfish.reconcile.pool_remarks import remarks
from pilotfish.reconcile.rayservice_words import is_rays, replicas_wanted
from pilotfish.render import labels
from pilotfish.render.deployment import deployment
from pilotfish.render.netpol import network_policy
from pilotfish.render.podtemplate import DRAIN_SECONDS, adapter_path, draft_path, model_path
from pilotfish.render.rayservice import INGRESS_RESOURCES, rayservice
from pilotfish.render.serve_application import EngineContext, Rolling, serve_application
from pilotfish.render.service import service

EXTERNAL_CHECK_SECONDS = 60.0
PROOF_SECONDS = 5.0
"""Until a RayService that is up and does not answer is asked again."""
_RUNTIMES = frozenset({Runtime.RAY_SERVICE, Runtime.DEPLOYMENT})


def desired_state(pool: ModelPool, seen: ObservedPool, context: Context) -> Outcome:
    """What should be of the pool. Pure: the same arguments give the same outcome."""
    findings = Findings()
    fault = _runtime_fault(pool, seen, context)
    findings.mark(ConditionType.ACCEPTED, accepted((*seen.faults, *fault), remarks(pool, context.render)))
    policy = pool.spec.autoscaling_policy_ref
    missing = [("AutoscalingPolicy", policy.name)] if policy and seen.policy is None else []
    findings.mark(ConditionType.RESOLVED_REFS, resolved(missing, pool.metadata.namespace or ""))
    if pool.spec.external:
        pool_status.mark_external(findings, seen.external)
        status = pool_status.external_status(pool, findings, context)
        return Outcome(status, deletions=tuple(seen.children), requeue_after=EXTERNAL_CHECK_SECONDS)
    if not all(finding.holds for finding in findings.by_type.values()):
        return _held_back(pool, seen, findings, context)
    plan = _plan(pool, seen, context)
    wanted = tuple(drift.sealed(manifest) for manifest in plan.manifests)
    stale = _stale(pool, plan, seen)
    replaced = _to_replace(pool, plan, seen)
    pool_status.mark_deployed(findings, pool, plan, seen)
    return Outcome(
        pool_status.deployed_status(pool, plan, seen, findings, context),
        manifests=tuple(manifest for manifest in wanted if ObjectKey.of(manifest) not in replaced),
        deletions=(*stale, *replaced),
        requeue_after=_again(plan, seen),
        scaling=plan.decision.memory if plan.decision else None,
    )


def runtime_of(pool: ModelPool, seen: ObservedPool, context: Context) -> Runtime:
    """The runtime: what the spec names, else what the pool was made with, else the installation's choice."""
    if pool.spec.runtime is not Runtime.AUTO:
        return pool.spec.runtime
    if pool.spec.nodes > 1:
        return Runtime.RAY_SERVICE
    made_with = _made_with(pool, seen)
    if made_with is not None:
        return made_with
    if context.render.runtime is not Runtime.AUTO:
        return context.render.runtime
    return Runtime.RAY_SERVICE if context.render.kuberay else Runtime.DEPLOYMENT


def _made_with(pool: ModelPool, seen: ObservedPool) -> Runtime | None:
    """The runtime whose object is there, else the one that the status names."""
    there = [Runtime(key.kind) for key in seen.children if key.kind in _RUNTIMES]
    named = pool.status.runtime if pool.status else None
    if named in _RUNTIMES and (named in there or not there):
        return Runtime(named)
    return there[0] if there else None


def _runtime_fault(pool: ModelPool, seen: ObservedPool, context: Context) -> tuple[Fault, ...]:
    if pool.spec.external or runtime_of(pool, seen, context) is Runtime.DEPLOYMENT or context.render.kuberay:
        return ()
    why = "a replica of more than one node" if pool.spec.nodes > 1 else "runtime RayService"
    field = "nodes" if pool.spec.nodes > 1 else "runtime"
    return (
        Fault(("spec", field), f"{why} needs KubeRay, and the API server does not serve ray.io/v1: install KubeRay"),
    )


def _held_back(pool: ModelPool, seen: ObservedPool, findings: Findings, context: Context) -> Outcome:
    """A spec that cannot be acted on changes nothing: what ran before goes on, and goes on being told."""
    runtime = _made_with(pool, seen)
    plan = Plan(
        runtime, revision=pool.status.revision if pool.status else None, desired=_desired_before(pool, runtime, seen)
    )
    if runtime is not None:
        pool_status.mark_deployed(findings, pool, plan, seen)
    status = pool_status.deployed_status(pool, plan, seen, findings, context)
    return Outcome(status, requeue_after=_again(plan, seen))


def _desired_before(pool: ModelPool, runtime: Runtime | None, seen: ObservedPool) -> int:
    running = _replicas(seen)
    child = _rayservice(seen)
    if runtime is Runtime.RAY_SERVICE and child is not None:
        running = replicas_wanted(child, seen.pods, pool.spec.nodes)
    if running is None:
        running = pool.status.desired_replicas if pool.status else None
    return running or 0


def _plan(pool: ModelPool, seen: ObservedPool, context: Context) -> Plan:
    runtime = runtime_of(pool, seen, context)
    if runtime is Runtime.RAY_SERVICE:
        return _rayservice_plan(pool, seen, context)
    return _deployment_plan(pool, seen, context)


def _engine(pool: ModelPool, context: Context) -> EngineContext:
    speculative = pool.engine.speculative
    return EngineContext(
        weights=model_path(),
        draft_weights=draft_path() if speculative and speculative.draft_model else None,
        adapters={adapter.name: adapter_path(adapter.name) for adapter in pool.spec.adapters or ()},
        traces_endpoint=context.render.traces_endpoint,
    )


def _rayservice_plan(pool: ModelPool, seen: ObservedPool, context: Context) -> Plan:
    fixed = pool.spec.replicas or 0
    limits = scaling.bounds(seen.policy.spec) if seen.policy else scaling.Bounds(fixed, fixed)
    if limits.maximum == 0:
        return Plan(Runtime.RAY_SERVICE)
    rolling = Rolling(_surges(pool), DRAIN_SECONDS, INGRESS_RESOURCES)
    application = serve_application(pool, replace(_engine(pool, context), policy=seen.policy, rolling=rolling))
    manifest, revision = rayservice(pool, context.render, application, replicas=limits.minimum)
    guard = network_policy(pool, context.render, spans_pods=True)
    wanted = replicas_wanted(_rayservice(seen), seen.pods, pool.spec.nodes)
    desired = min(max(wanted, limits.minimum), limits.maximum)
    return Plan(Runtime.RAY_SERVICE, (guard, manifest), revision, desired)


def _deployment_plan(pool: ModelPool, seen: ObservedPool, context: Context) -> Plan:
    running = _replicas(seen)
    decision = None
    if seen.policy is None:
        replicas = pool.spec.replicas or 0
    else:
        current = running if running is not None else scaling.bounds(seen.policy.spec).minimum
        decision = scaling.decide(seen.policy, seen.scaling or scaling.ScalingMemory(), current, seen.clock)
        replicas = decision.replicas
    # Replicas are pods here: what one of them runs must not change with their number, or all would restart.
    one = pool.spec.model_copy(update={"replicas": 1, "autoscaling_policy_ref": None})
    application = serve_application(pool.model_copy(update={"spec": one}), _engine(pool, context))
    manifest, revision = deployment(pool, context.render, application, replicas)
    # What a Ray that is going still answers passes between its pods.
    spans_pods = _rayservice(seen) is not None or any(is_rays(pod) for pod in seen.pods)
    guard = network_policy(pool, context.render, spans_pods=spans_pods)
    return Plan(Runtime.DEPLOYMENT, (guard, service(pool), manifest), revision, replicas, decision)


def _again(plan: Plan, seen: ObservedPool) -> float | None:
    if plan.runtime == Runtime.RAY_SERVICE and seen.proof.message:
        return PROOF_SECONDS
    return plan.decision.again_after if plan.decision else None


def _replicas(seen: ObservedPool) -> int | None:
    for key, child in seen.children.items():
        if key.kind == Runtime.DEPLOYMENT:
            replicas: int | None = child["spec"].get("replicas")
            return replicas
    return None


def _rayservice(seen: ObservedPool) -> Manifest | None:
    return next((child for key, child in seen.children.items() if key.kind == Runtime.RAY_SERVICE), None)


def _stale(pool: ModelPool, plan: Plan, seen: ObservedPool) -> tuple[ObjectKey, ...]:
    """Objects that are no longer wanted. With Surge, another runtime's answer on until the new ones do."""
    wanted = {ObjectKey.of(manifest) for manifest in plan.manifests}
    stale = tuple(key for key in seen.children if key not in wanted)
    moving = any(key.kind in _RUNTIMES for key in stale)
    if moving and _surges(pool) and not pool_status.all_answer(pool, plan, seen):
        return ()
    return stale


def _to_replace(pool: ModelPool, plan: Plan, seen: ObservedPool) -> tuple[ObjectKey, ...]:
    """KubeRay only upgrades beside the old cluster; with Recreate, nodes do not suffice for two: the old one goes."""
    if plan.runtime != Runtime.RAY_SERVICE or _surges(pool):
        return ()
    return tuple(
        key for key, child in seen.children.items() if key.kind == plan.runtime and _revision(child) != plan.revision
    )


def _surges(pool: ModelPool) -> bool:
    return (pool.spec.rollout or Rollout()).type is RolloutType.SURGE


def _revision(child: Mapping[str, Any]) -> str | None:
    groups = child["spec"].get("rayClusterConfig", {}).get("workerGroupSpecs") or [{}]
    annotations = groups[0].get("template", {}).get("metadata", {}).get("annotations") or {}
    revision: str | None = annotations.get(labels.REVISION_ANNOTATION)
    return revision
