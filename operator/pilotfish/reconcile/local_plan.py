"""The plan of local mode: the difference between the manifests and what runs, and the memory and GPUs it needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pilotfish.api import AdaptationPlugin, AutoscalingPolicy, ModelPool
from pilotfish.api.modelpool import Tier
from pilotfish.base.keys import Key
from pilotfish.render.logits import logits_settings
from pilotfish.render.serve_application import (
    EngineContext,
    engine_processes,
    serve_application,
    takes_http_itself,
)

GIB = 1024**3
PROCESS_BYTES = 5 * GIB // 2
"""Memory of a replica without its weights: its process and the engine core, with the KV cache of the CPU."""
WORKER_BYTES = 1 * GIB
"""Memory of each further process of an engine."""
RAY_BYTES = 1 * GIB
"""Memory of Ray and the gateway."""
WEIGHTS_FACTOR = 1.3
"""Memory of a loaded model for each byte of its weights on disk."""


class Action(StrEnum):
    """The action for a pool."""

    START = "start"
    RESTART = "restart engine"
    RESCALE = "change replicas in place"
    KEEP = "untouched"
    REMOVE = "remove"
    REACH = "reach"
    """An external model: nothing is deployed."""
    REST = "at zero"
    """Nothing runs, because the manifest has zero replicas."""


@dataclass(frozen=True)
class PoolPlan:
    """One pool: the action, the desired manifest (None: remove), and its policy."""

    key: Key
    action: Action
    pool: ModelPool | None
    policy: AutoscalingPolicy | None = None
    replicas: int = 0
    """Replicas at the start."""
    gpus: int = 0
    memory_bytes: int | None = None
    """Memory of all replicas; None if the size of the weights is unknown."""

    @property
    def deploys(self) -> bool:
        """Whether an application of it is to run."""
        return self.action in {Action.START, Action.RESTART, Action.RESCALE, Action.KEEP}


@dataclass(frozen=True)
class LocalPlan:
    """All pools in their order of start: small before large, so that one answers early."""

    pools: tuple[PoolPlan, ...]

    @property
    def memory_bytes(self) -> int:
        """Memory of Ray, the gateway and all pools whose need is known."""
        return RAY_BYTES + sum(plan.memory_bytes or 0 for plan in self.pools)

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return sum(plan.gpus for plan in self.pools)


@dataclass(frozen=True)
class Wanted:
    """Pools, and the policies and plugins that they refer to."""

    pools: Mapping[Key, ModelPool]
    policies: Mapping[Key, AutoscalingPolicy]
    plugins: Mapping[Key, AdaptationPlugin] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        pools: Iterable[ModelPool],
        policies: Iterable[AutoscalingPolicy],
        plugins: Iterable[AdaptationPlugin] = (),
    ) -> "Wanted":
        """By namespace and name."""
        return cls(
            {pool.key: pool for pool in pools},
            {policy.key: policy for policy in policies},
            {plugin.key: plugin for plugin in plugins},
        )

    def policy_of(self, pool: ModelPool) -> AutoscalingPolicy | None:
        """The policy that the pool refers to, if it exists."""
        ref = pool.spec.autoscaling_policy_ref
        return self.policies.get(pool.key.beside("AutoscalingPolicy", ref.name)) if ref else None


def plan(wanted: Wanted, running: Wanted, weights_bytes: Mapping[Key, int] | None = None) -> LocalPlan:
    """Compare the manifests with what runs. `weights_bytes` has the known sizes."""
    sizes = weights_bytes or {}
    kept = [_plan_of(key, wanted, running, sizes.get(key)) for key in wanted.pools]
    gone = [PoolPlan(key, Action.REMOVE, None) for key in running.pools if key not in wanted.pools]
    return LocalPlan((*gone, *sorted(kept, key=lambda entry: _order(entry, sizes))))


def _plan_of(key: Key, wanted: Wanted, running: Wanted, weights_bytes: int | None) -> PoolPlan:
    pool = wanted.pools[key]
    policy = wanted.policy_of(pool)
    if pool.spec.external:
        return PoolPlan(key, Action.REACH, pool)
    replicas = policy.spec.least_replicas if policy else (pool.spec.replicas or 0)
    if replicas == 0:
        return PoolPlan(key, Action.REST, pool, policy)
    gpus = replicas * pool.spec.accelerator.count * pool.spec.nodes if pool.spec.accelerator else 0
    workers = 0 if takes_http_itself(pool) else engine_processes(pool)
    process_bytes = PROCESS_BYTES + workers * WORKER_BYTES
    memory = None if weights_bytes is None else replicas * (process_bytes + int(weights_bytes * WEIGHTS_FACTOR))
    return PoolPlan(key, _action(pool, wanted, running), pool, policy, replicas, gpus, memory)


def _action(pool: ModelPool, wanted: Wanted, running: Wanted) -> Action:
    before = running.pools.get(pool.key)
    if before is None or before.spec.external or not (before.spec.replicas or before.spec.autoscaling_policy_ref):
        return Action.START
    old, new = _shape(before, running), _shape(pool, wanted)
    if old == new:
        return Action.KEEP
    numbers = "deployments"
    same_engine = {name: value for name, value in old.items() if name != numbers} == {
        name: value for name, value in new.items() if name != numbers
    }
    return Action.RESCALE if same_engine else Action.RESTART


def _shape(pool: ModelPool, among: Wanted) -> dict[str, Any]:
    """The application with addresses in place of the folders of weights: equal when nothing would change."""
    engine, model = pool.engine, pool.spec.model
    draft = engine.speculative.draft_model if engine.speculative else None
    context = EngineContext(
        weights=repr(model),
        draft_weights=repr(draft) if draft else None,
        adapters={adapter.name: repr(adapter.model) for adapter in pool.spec.adapters or ()},
        logits=logits_settings(pool, among.plugins.get, lambda _, each: repr(each.model)),
        policy=among.policy_of(pool),
    )
    secrets = {v.name: repr(v.secret_key_ref) for v in (pool.spec.pod.env if pool.spec.pod else ())}
    return {**serve_application(pool, context), "secrets": secrets}


def _order(entry: PoolPlan, sizes: Mapping[Key, int]) -> tuple[bool, int, Key]:
    large = entry.pool is not None and entry.pool.spec.tier is Tier.LARGE
    return large, sizes.get(entry.key, 0), entry.key
