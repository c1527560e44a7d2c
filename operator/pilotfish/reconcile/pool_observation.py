"""A pool and what was observed of it, read once: its runtime, its objects, and its replicas on either runtime."""

from dataclasses import dataclass
from functools import cached_property

from pilotfish.api import ModelPool
from pilotfish.api.modelpool import Rollout, RolloutType, Runtime
from pilotfish.api.reasons import Reason
from pilotfish.reconcile import pods
from pilotfish.reconcile.outcome import Manifest, ObservedPool
from pilotfish.reconcile.rayservice_status import RayServiceStatus, is_rays
from pilotfish.reconcile.scaling import ScalingDecision
from pilotfish.render.context import RenderContext

_RUNTIMES = frozenset({Runtime.RAY_SERVICE, Runtime.DEPLOYMENT})


@dataclass(frozen=True)
class Plan:
    """A pool's runtime, its objects, the revision of its pods, the replicas that should run, and why that many."""

    runtime: Runtime | None
    manifests: tuple[Manifest, ...] = ()
    revision: str | None = None
    desired: int = 0
    decision: ScalingDecision | None = None
    again_after: float | None = None
    """Seconds until the number of replicas may change without a change of what is observed."""


@dataclass(frozen=True)
class PoolObservation:
    """A pool beside what was observed of it."""

    pool: ModelPool
    seen: ObservedPool
    render: RenderContext

    @cached_property
    def runtime(self) -> Runtime:
        """The runtime: that of the spec, else the one that the pool has, else the installation's default."""
        if self.pool.spec.runtime is not Runtime.AUTO:
            return self.pool.spec.runtime
        if self.pool.spec.nodes > 1:
            return Runtime.RAY_SERVICE
        if self.made_with is not None:
            return self.made_with
        if self.render.runtime is not Runtime.AUTO:
            return self.render.runtime
        return Runtime.RAY_SERVICE if self.render.kuberay else Runtime.DEPLOYMENT

    @cached_property
    def made_with(self) -> Runtime | None:
        """The runtime whose object exists, else the one that the status names."""
        existing = [Runtime(key.kind) for key in self.seen.children if key.kind in _RUNTIMES]
        named = self.pool.status.runtime if self.pool.status else None
        if named in _RUNTIMES and (named in existing or not existing):
            return Runtime(named)
        return existing[0] if existing else None

    @property
    def surges(self) -> bool:
        """Whether new replicas start before the old ones stop."""
        return (self.pool.spec.rollout or Rollout()).type is RolloutType.SURGE

    @cached_property
    def rayservice(self) -> RayServiceStatus:
        """The status of the pool's RayService, if there is one, and the pods that KubeRay created for it."""
        return RayServiceStatus.of(self.seen.children, self.seen.pods, self.pool.spec.nodes)

    @cached_property
    def deployed_replicas(self) -> int | None:
        """`spec.replicas` of the pool's Deployment, None where there is no Deployment."""
        child = self.child(Runtime.DEPLOYMENT)
        replicas: int | None = child["spec"].get("replicas") if child else None
        return replicas

    @cached_property
    def on_deployment(self) -> pods.PodsView:
        """Replicas that the pool's Deployment runs."""
        return pods.view(pod for pod in self.seen.pods if not is_rays(pod))

    @cached_property
    def on_ray(self) -> pods.PodsView:
        """Replicas that the pool's RayService runs; none of them is ready before it has answered."""
        known = (self.pool.status.ready_replicas if self.pool.status else None) or 0
        return self.rayservice.replicas(max(0, known - self.on_deployment.ready), self.seen.proof)

    @property
    def answered_ray(self) -> str | None:
        """The Ray cluster that requests go to, None where it has not answered or no replica of it is ready."""
        return self.rayservice.active_ray if self.on_ray.ready else None

    def child(self, kind: str | None) -> Manifest | None:
        """The pool's object of a kind."""
        return next((child for key, child in self.seen.children.items() if key.kind == kind), None)


@dataclass(frozen=True)
class PoolProgress:
    """The progress of the cluster towards the plan of a pool."""

    observation: PoolObservation
    plan: Plan

    @property
    def pool(self) -> ModelPool:
        """The pool."""
        return self.observation.pool

    @property
    def on_ray(self) -> bool:
        """Whether the plan's runtime is a RayService."""
        return self.plan.runtime is Runtime.RAY_SERVICE

    @cached_property
    def everyone(self) -> pods.PodsView:
        """Replicas of both runtimes, because the old one still answers while a pool moves to the other."""
        ray, deployment = self.observation.on_ray, self.observation.on_deployment
        return ray.beside(deployment) if self.on_ray else deployment.beside(ray)

    @cached_property
    def newest(self) -> pods.PodsView:
        """Pods of the plan's revision."""
        return pods.view(self.observation.seen.pods, self.plan.revision)

    @cached_property
    def failure(self) -> pods.ReplicaFailure | None:
        """Why replicas do not start, for the newest revision first."""
        return self.newest.failure or self.everyone.failure or self._controllers_failure

    @property
    def all_answer(self) -> bool:
        """Whether the desired number of replicas of the plan's runtime answers."""
        mine = self.observation.on_ray if self.on_ray else self.observation.on_deployment
        return mine.ready >= self.plan.desired

    @property
    def answering_runtime(self) -> Runtime | None:
        """The plan's runtime; while a pool moves, the old one until the new one answers."""
        left = Runtime.DEPLOYMENT if self.on_ray else Runtime.RAY_SERVICE
        return left if self.observation.child(left) and not self.all_answer else self.plan.runtime

    @property
    def _controllers_failure(self) -> pods.ReplicaFailure | None:
        """Why the Deployment's controller cannot create pods, for example a quota."""
        child = self.observation.child(self.plan.runtime)
        for condition in (child or {}).get("status", {}).get("conditions", []):
            if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
                return pods.ReplicaFailure(Reason.REFUSED, condition.get("message", ""))
        return None
