"""ModelPool: from the spec and the observed state to the desired objects and the status."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from pilotfish.api import AdaptationPlugin, AutoscalingPolicy, ModelPool
from pilotfish.api.logits import LogitsModel
from pilotfish.api.modelpool import RolloutType, Runtime
from pilotfish.api.pod import Pod
from pilotfish.api.reasons import Reason
from pilotfish.api.validation import Fault
from pilotfish.base.keys import Key
from pilotfish.reconcile import drift, pool_status, scaling
from pilotfish.reconcile.budget import Claim, allotments, price_of
from pilotfish.reconcile.conditions import ConditionSet
from pilotfish.reconcile.kind import Observer, Reference
from pilotfish.reconcile.outcome import Context, ObservedPool, Outcome, Sibling
from pilotfish.reconcile.pool_observation import Plan, PoolObservation, PoolProgress
from pilotfish.reconcile.rayservice_status import is_rays
from pilotfish.reconcile.schedules import active_schedule
from pilotfish.render.context import RenderContext
from pilotfish.render.deployment import deployment, service
from pilotfish.render.logits import logits_settings
from pilotfish.render.netpol import network_policy
from pilotfish.render.podtemplate import DRAIN_SECONDS, adapter_path, draft_path, logits_path, model_path
from pilotfish.render.rayservice import INGRESS_RESOURCES, rayservice
from pilotfish.render.serve_application import EngineContext, Rolling, serve_application

EXTERNAL_CHECK_SECONDS = 60.0
PROOF_SECONDS = 5.0
"""Seconds until a RayService that runs but did not answer is asked again."""


def references(pool: ModelPool) -> Iterator[Reference]:
    """The pool's policy and logits plugins."""
    if pool.spec.autoscaling_policy_ref:
        key = pool.key.beside("AutoscalingPolicy", pool.spec.autoscaling_policy_ref.name)
        yield Reference(key, ("spec", "autoscalingPolicyRef", "name"))
    for index, use in enumerate(pool.spec.logits or ()):
        key = pool.key.beside("AdaptationPlugin", use.plugin_ref.name)
        yield Reference(key, ("spec", "logits", index, "pluginRef", "name"))


async def observe(pool: ModelPool, observer: Observer) -> ObservedPool:
    """Read the pool's objects, pods, policy and load, and ask whether its RayService or external API answers."""
    seen = observer.observed(pool)
    pods = observer.pods(pool.key)
    referred = [reference.key for reference in references(pool)]
    policy = next((found for key in referred if (found := observer.find(key, AutoscalingPolicy))), None)
    plugins = (plugin for key in referred if (plugin := observer.find(key, AdaptationPlugin)))
    return ObservedPool(
        seen.faults,
        seen.missing,
        seen.children,
        pods=pods,
        policy=policy,
        siblings=tuple(_siblings(pool, policy, observer)),
        plugins=tuple(plugins),
        scaling=observer.scaling_memory(pool.key),
        clock=observer.clock(),
        external=await observer.external_check(pool),
        proof=await observer.proof(pool, seen.children, pods),
    )


def _siblings(pool: ModelPool, policy: AutoscalingPolicy | None, observer: Observer) -> Iterator[Sibling]:
    if policy is None or policy.spec.budget is None:
        return
    for key in observer.referrers(policy.key, "ModelPool"):
        other = observer.find(key, ModelPool)
        if other is not None and key != pool.key:
            yield Sibling(other, observer.scaling_memory(key))


def decide(pool: ModelPool, seen: ObservedPool, context: Context) -> Outcome:
    """The desired state of the pool. Pure: the same arguments give the same outcome."""
    observation = PoolObservation(pool, seen, context.render)
    faults = (*seen.faults, *_runtime_faults(observation))
    remarks = (*_remarks(pool, context.render), *_scaling_remarks(observation))
    conditions = ConditionSet.begin(replace(seen, faults=faults), remarks)
    if pool.spec.external:
        pool_status.mark_external(conditions, seen.external)
        status = pool_status.external_status(pool, conditions, context)
        return Outcome(status, deletions=tuple(seen.children), requeue_after=EXTERNAL_CHECK_SECONDS)
    if not conditions.can_be_acted_on:
        return _held_back(observation, conditions, context)
    progress = PoolProgress(observation, _plan(observation, datetime.fromisoformat(context.now)))
    plan = progress.plan
    wanted = tuple(drift.sealed(manifest) for manifest in plan.manifests)
    replaced = _to_replace(progress)
    pool_status.mark_deployed(conditions, progress)
    return Outcome(
        pool_status.deployed_status(conditions, progress, context),
        manifests=tuple(manifest for manifest in wanted if Key.of(manifest) not in replaced),
        deletions=(*_stale(progress), *replaced),
        requeue_after=_again(progress),
        scaling=plan.decision.memory if plan.decision else None,
    )


def _remarks(pool: ModelPool, context: RenderContext) -> Iterator[str]:
    """Settings that are accepted and may do less, or cost more, than expected: a sentence each, with the path."""
    accelerator, pod = pool.spec.accelerator, pool.spec.pod or Pod()
    chosen = pod.node_selector or pod.affinity
    if accelerator and accelerator.type not in context.accelerators and not chosen:
        yield (
            f"spec.accelerator.type: the installation has no node labels for {accelerator.type!r}, so any node"
            f" with {accelerator.resource_name} is used: add them to the chart's pools.accelerators, or set"
            " spec.pod.nodeSelector"
        )
    if pool.spec.rollout and pool.spec.rollout.type is RolloutType.RECREATE:
        yield (
            "spec.rollout.type: with Recreate, a change of the replicas causes an outage: the old ones stop before the"
            " new ones have loaded the model"
        )


def _scaling_remarks(observation: PoolObservation) -> Iterator[str]:
    policy = observation.seen.policy
    if policy and policy.spec.min_replicas == 0 and observation.runtime is Runtime.RAY_SERVICE:
        yield (
            "spec.autoscalingPolicyRef: a RayService keeps one replica, so minReplicas 0 of the policy counts as 1: set"
            " spec.runtime to Deployment to scale to zero"
        )


def _runtime_faults(observation: PoolObservation) -> tuple[Fault, ...]:
    spec = observation.pool.spec
    if spec.external or observation.runtime is Runtime.DEPLOYMENT or observation.render.kuberay:
        return ()
    why, field = ("a replica of more than one node", "nodes") if spec.nodes > 1 else ("runtime RayService", "runtime")
    message = f"{why} needs KubeRay, but the API server does not serve ray.io/v1: install KubeRay"
    return (Fault(("spec", field), message, Reason.RUNTIME_UNAVAILABLE),)


def _held_back(observation: PoolObservation, conditions: ConditionSet, context: Context) -> Outcome:
    """A spec that is not accepted changes nothing: the old replicas continue to run, and their state is reported."""
    before, runtime = observation.pool.status, observation.made_with
    plan = Plan(runtime, revision=before.revision if before else None, desired=_desired_before(observation))
    progress = PoolProgress(observation, plan)
    if runtime is not None:
        pool_status.mark_deployed(conditions, progress)
    status = pool_status.deployed_status(conditions, progress, context)
    return Outcome(status, requeue_after=_again(progress))


def _desired_before(observation: PoolObservation) -> int:
    if observation.made_with is Runtime.RAY_SERVICE and observation.rayservice.manifest is not None:
        return observation.rayservice.replicas_wanted
    running = observation.deployed_replicas
    if running is None and observation.pool.status:
        running = observation.pool.status.desired_replicas
    return running or 0


def _plan(observation: PoolObservation, at: datetime) -> Plan:
    if observation.runtime is Runtime.RAY_SERVICE:
        return _rayservice_plan(observation, at)
    return _deployment_plan(observation, at)


def _engine(observation: PoolObservation) -> EngineContext:
    pool = observation.pool
    speculative = pool.engine.speculative
    return EngineContext(
        weights=model_path(),
        draft_weights=draft_path() if speculative and speculative.draft_model else None,
        adapters={adapter.name: adapter_path(adapter.name) for adapter in pool.spec.adapters or ()},
        traces_endpoint=observation.render.traces_endpoint,
        logits=logits_settings(pool, {plugin.key: plugin for plugin in observation.seen.plugins}.get, _logits_folder),
    )


def _logits_folder(number: int, model: LogitsModel) -> str:
    return logits_path(number, model.role)


def _rayservice_plan(observation: PoolObservation, at: datetime) -> Plan:
    pool, render = observation.pool, observation.render
    fixed = pool.spec.replicas or 0
    policy = observation.seen.policy and scaling.on_serve(observation.seen.policy, at)
    limits = scaling.bounds(policy.spec, at) if policy else scaling.Bounds(fixed, fixed)
    if limits.maximum == 0:
        return Plan(Runtime.RAY_SERVICE)
    rolling = Rolling(observation.surges, DRAIN_SECONDS, INGRESS_RESOURCES)
    application = serve_application(pool, replace(_engine(observation), policy=policy, rolling=rolling))
    manifest, revision = rayservice(pool, render, application, replicas=limits.minimum)
    guard = network_policy(pool, render, spans_pods=True)
    desired = min(max(observation.rayservice.replicas_wanted, limits.minimum), limits.maximum)
    again_after = _schedule_change(observation, at)
    return Plan(Runtime.RAY_SERVICE, (guard, manifest), revision, desired, again_after=again_after)


def _schedule_change(observation: PoolObservation, at: datetime) -> float | None:
    policy = observation.seen.policy
    active = active_schedule(policy.spec.schedules, at) if policy else None
    return active.seconds_to_change if active else None


def _deployment_plan(observation: PoolObservation, at: datetime) -> Plan:
    pool, seen, render = observation.pool, observation.seen, observation.render
    decision = None
    if seen.policy is None:
        replicas = pool.spec.replicas or 0
    else:
        current = observation.deployed_replicas
        if current is None:
            # the first replica shows that the pool can answer, also where it goes to zero afterwards
            current = max(1, scaling.bounds(seen.policy.spec, at).minimum)
        running = scaling.Running(current, observation.on_deployment.ready)
        memory = seen.scaling or scaling.ScalingMemory()
        decision = scaling.decide(seen.policy, memory, running, now=seen.clock, at=at)
        decision = scaling.limited(decision, _affordable(observation, current, at), "budget.perHour")
        replicas = decision.replicas
    # Replicas are pods here: what one of them runs must not change with their number, or all would restart.
    one = pool.spec.model_copy(update={"replicas": 1, "autoscaling_policy_ref": None})
    application = serve_application(pool.model_copy(update={"spec": one}), _engine(observation))
    manifest, revision = deployment(pool, render, application, replicas)
    # A Ray cluster that is being deleted still forwards requests between its pods.
    spans_pods = observation.rayservice.manifest is not None or any(is_rays(pod) for pod in seen.pods)
    guard = network_policy(pool, render, spans_pods=spans_pods)
    again_after = decision.again_after if decision else None
    return Plan(Runtime.DEPLOYMENT, (guard, service(pool), manifest), revision, replicas, decision, again_after)


def _affordable(observation: PoolObservation, current: int, at: datetime) -> int:
    """The most replicas of the pool that the budget of its policy leaves it."""
    pool, seen, policy = observation.pool, observation.seen, observation.seen.policy
    if policy is None or policy.spec.budget is None or not price_of(pool, policy):
        return scaling.MOST_REPLICAS
    limits = scaling.bounds(policy.spec, at)

    def claim(each: ModelPool, memory: scaling.ScalingMemory | None, replicas: int) -> Claim:
        wanted = scaling.needed(policy.spec, limits, memory or scaling.ScalingMemory(), seen.clock)
        return Claim(each.key, limits.minimum, wanted, replicas, price_of(each, policy))

    others = [
        claim(each.pool, each.scaling, (each.pool.status and each.pool.status.desired_replicas) or 0)
        for each in seen.siblings
    ]
    claims = [claim(pool, seen.scaling, current), *others]
    return allotments(claims, Decimal(policy.spec.budget.per_hour))[pool.key]


def _again(progress: PoolProgress) -> float | None:
    if progress.on_ray and progress.observation.seen.proof.message:
        return PROOF_SECONDS
    return progress.plan.again_after


def _stale(progress: PoolProgress) -> tuple[Key, ...]:
    """Objects that are no longer wanted. With Surge, those of another runtime stay until the new ones answer."""
    wanted = {Key.of(manifest) for manifest in progress.plan.manifests}
    stale = tuple(key for key in progress.observation.seen.children if key not in wanted)
    moving = any(key.kind in {Runtime.RAY_SERVICE, Runtime.DEPLOYMENT} for key in stale)
    if moving and progress.observation.surges and not progress.all_answer:
        return ()
    return stale


def _to_replace(progress: PoolProgress) -> tuple[Key, ...]:
    """With Recreate, delete the old Ray cluster, because there is no room for a new one beside it."""
    observation = progress.observation
    if not progress.on_ray or observation.surges or observation.rayservice.manifest is None:
        return ()
    if observation.rayservice.worker_revision == progress.plan.revision:
        return ()
    return (Key.of(observation.rayservice.manifest),)
