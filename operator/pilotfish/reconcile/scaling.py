"""The rule from load to replicas. Ray Serve's autoscaler gets the same bounds, targets and delays.

Load is the number of requests in progress on all replicas, and of requests that gateways hold for a pool at zero. The
wanted number of replicas is the mean load over the look-back window divided by the target of a replica, rounded up,
within the bounds. It takes effect when it has been above, or below, the current number for as long as the delay.

The last replica is removed after the pool had no request for `scaleToZero.afterSeconds`. A pool at zero gets the
replicas that the held requests need, without a delay.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from pilotfish.api import AutoscalingPolicy, ModelPool
from pilotfish.api.autoscalingpolicy import AutoscalingPolicySpec, SignalType
from pilotfish.base.keys import Key
from pilotfish.reconcile.schedules import ActiveSchedule, active_schedule

MOST_REPLICAS = 1000
"""The largest number that a policy allows."""


@dataclass(frozen=True)
class Bounds:
    """The least and most replicas, and the schedule that set them, if one did."""

    minimum: int
    maximum: int
    schedule: str | None = None


@dataclass(frozen=True)
class ScalingMemory:
    """The memory of the rule: samples (seconds, requests in progress), and since when more or fewer are wanted.

    Samples older than `look_back` seconds are dropped; the policy says how many, once a decision was made by it.
    `idle_since` is when the samples without any request began.
    """

    samples: tuple[tuple[float, float], ...] = ()
    above_since: float | None = None
    below_since: float | None = None
    idle_since: float | None = None
    look_back: float = 0.0

    def observe(self, at: float, in_flight: float) -> "ScalingMemory":
        """The memory with one more sample."""
        idle_since = None if in_flight else (at if self.idle_since is None else self.idle_since)
        return replace(self, samples=(*self._recent(at), (at, in_flight)), idle_since=idle_since)

    def at(self, now: float, look_back: float) -> "ScalingMemory":
        """The memory at `now` with a look-back window of `look_back` seconds."""
        memory = replace(self, look_back=look_back)
        return replace(memory, samples=memory._recent(now))

    def _recent(self, now: float) -> tuple[tuple[float, float], ...]:
        return tuple(sample for sample in self.samples if sample[0] > now - self.look_back)


@dataclass(frozen=True)
class ScalingDecision:
    """The replicas that should run now, those that the load needs, why, the memory, and when to decide again.

    `why` names the field or signal that decided. `again_after` is in seconds.
    """

    replicas: int
    wanted: int
    why: str
    memory: ScalingMemory
    again_after: float | None = None


@dataclass(frozen=True)
class Running:
    """The replicas that a pool has, and how many of them answer."""

    current: int
    ready: int


def bounds(spec: AutoscalingPolicySpec, at: datetime) -> Bounds:
    """The bounds that are in effect at this time: those of the first schedule that applies, else the policy's."""
    active = active_schedule(spec.schedules, at)
    return _bounds(spec, active)


def on_serve(policy: AutoscalingPolicy, at: datetime) -> AutoscalingPolicy:
    """The policy for Ray Serve's autoscaler: with the bounds in effect. Serve keeps at least one replica."""
    limits = bounds(policy.spec, at)
    maximum = max(1, limits.maximum)
    in_effect = {"min_replicas": max(1, limits.minimum), "max_replicas": maximum, "schedules": ()}
    return policy.model_copy(update={"spec": policy.spec.model_copy(update=in_effect)})


def hold_seconds(find: Callable[[Key], AutoscalingPolicy | None], pool: ModelPool) -> int | None:
    """How long gateways hold a request to the pool while it has no replica; None for a pool that keeps one."""
    reference = pool.spec.autoscaling_policy_ref
    policy = find(pool.key.beside("AutoscalingPolicy", reference.name)) if reference else None
    if policy is None or policy.spec.scale_to_zero is None:
        return None
    return policy.spec.scale_to_zero.hold_requests_seconds


def target(spec: AutoscalingPolicySpec) -> int | None:
    """The target for requests in progress per replica, None if the policy has none."""
    return next((s.target for s in spec.signals if s.type is SignalType.ONGOING_REQUESTS), None)


def not_in_force(spec: AutoscalingPolicySpec) -> tuple[str, ...]:
    """Paths of the fields that are accepted but not in effect yet."""
    return tuple(
        f"spec.signals[{i}] ({signal.type})"
        for i, signal in enumerate(spec.signals)
        if signal.type is not SignalType.ONGOING_REQUESTS
    )


def needed(spec: AutoscalingPolicySpec, limits: Bounds, memory: ScalingMemory, now: float) -> float:
    """The replicas that the load fills, within the bounds, not rounded."""
    loads = [load for _, load in memory.at(now, spec.behavior.look_back_seconds).samples]
    per_replica = target(spec)
    if not loads or per_replica is None:
        return float(limits.minimum)
    return min(max(sum(loads) / len(loads) / per_replica, float(limits.minimum)), float(limits.maximum))


def limited(decision: ScalingDecision, most: int, why: str) -> ScalingDecision:
    """The decision with at most this number of replicas."""
    if decision.replicas <= most:
        return decision
    return replace(decision, replicas=most, why=why)


def decide(
    policy: AutoscalingPolicy, memory: ScalingMemory, running: Running, *, now: float, at: datetime
) -> ScalingDecision:
    """How many replicas should run, given those that do.

    The bounds apply immediately. Within them a change waits for its delay. `now` is in the samples' seconds, `at` is
    the time of day for schedules.
    """
    spec = policy.spec
    active = active_schedule(spec.schedules, at)
    limits = _bounds(spec, active)
    memory = memory.at(now, spec.behavior.look_back_seconds)
    decision = _within(spec, limits, memory, running, now)
    until = active.seconds_to_change if active else None
    if until is None:
        return decision
    return replace(decision, again_after=until if decision.again_after is None else min(until, decision.again_after))


def _bounds(spec: AutoscalingPolicySpec, active: ActiveSchedule | None) -> Bounds:
    schedule = active.schedule if active else None
    if schedule is None:
        return Bounds(spec.min_replicas, spec.max_replicas)
    minimum = spec.min_replicas if schedule.min_replicas is None else schedule.min_replicas
    maximum = spec.max_replicas if schedule.max_replicas is None else schedule.max_replicas
    return Bounds(min(minimum, maximum), maximum, schedule.name)


def _within(
    spec: AutoscalingPolicySpec, limits: Bounds, memory: ScalingMemory, running: Running, now: float
) -> ScalingDecision:
    still = replace(memory, above_since=None, below_since=None)
    least = limits.minimum if running.current else max(limits.minimum, _held(spec, memory))
    within = min(max(running.current, least), limits.maximum)
    if within != running.current:
        return ScalingDecision(within, within, _moved_by(limits, running.current, within), still)
    loads = [load for _, load in memory.samples]
    per_replica = target(spec)
    if not loads:
        return ScalingDecision(within, within, "no gateway reports the load", still)
    if within == 0:
        return ScalingDecision(0, 0, "scaleToZero: no request", still)
    needed = within if per_replica is None else math.ceil(sum(loads) / len(loads) / per_replica)
    if memory.idle_since is not None and per_replica is None:
        needed = min(needed, 1)
    wanted = min(max(needed, limits.minimum, 1), limits.maximum)
    if wanted == within == 1 and limits.minimum == 0:
        return _towards_zero(spec, memory, running, now)
    return _delayed(spec, memory, within, wanted, now)


def _held(spec: AutoscalingPolicySpec, memory: ScalingMemory) -> int:
    """The replicas that requests need which wait for a pool at zero."""
    waiting = memory.samples[-1][1] if memory.samples else 0.0
    return math.ceil(waiting / (target(spec) or math.inf)) or int(waiting > 0)


def _moved_by(limits: Bounds, current: int, within: int) -> str:
    if current == 0 and within > limits.minimum:
        return "requests wait"
    bound = "minReplicas" if within > current else "maxReplicas"
    return f"{bound} of schedule {limits.schedule}" if limits.schedule else bound


def _towards_zero(spec: AutoscalingPolicySpec, memory: ScalingMemory, running: Running, now: float) -> ScalingDecision:
    """The last replica goes when the pool was idle for long enough, unless it has not answered yet."""
    still = replace(memory, above_since=None, below_since=None)
    if spec.scale_to_zero is None or memory.idle_since is None or not running.ready:
        return ScalingDecision(1, 1, SignalType.ONGOING_REQUESTS, still)
    idle, after = now - memory.idle_since, spec.scale_to_zero.after_seconds
    if idle < after:
        return ScalingDecision(1, 0, "scaleToZero.afterSeconds", still, again_after=after - idle)
    return ScalingDecision(0, 0, "scaleToZero: no request", still)


def _delayed(
    spec: AutoscalingPolicySpec, memory: ScalingMemory, within: int, wanted: int, now: float
) -> ScalingDecision:
    still, why = replace(memory, above_since=None, below_since=None), SignalType.ONGOING_REQUESTS
    if wanted == within:
        return ScalingDecision(within, wanted, why, still)
    if wanted > within:
        since = now if memory.above_since is None else memory.above_since
        delay = spec.behavior.upscale_delay_seconds
        remembered = replace(still, above_since=since)
    else:
        since = now if memory.below_since is None else memory.below_since
        delay = spec.behavior.downscale_delay_seconds
        remembered = replace(still, below_since=since)
    waited = now - since
    if waited < delay:
        return ScalingDecision(within, wanted, why, remembered, again_after=delay - waited)
    return ScalingDecision(wanted, wanted, why, still)
