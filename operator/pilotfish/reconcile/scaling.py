"""The rule from load to replicas. Ray Serve's autoscaler gets the same bounds, targets and delays.

Load is the number of requests in progress on all replicas. The wanted number of replicas is the mean load over the
look-back window divided by the target of a replica, rounded up, within the bounds. It takes effect when it has been
above, or below, the current number for as long as the delay.
"""

import math
from dataclasses import dataclass, replace

from pilotfish.api import AutoscalingPolicy
from pilotfish.api.autoscalingpolicy import AutoscalingPolicySpec, SignalType


@dataclass(frozen=True)
class Bounds:
    """The least and most replicas."""

    minimum: int
    maximum: int


@dataclass(frozen=True)
class ScalingMemory:
    """The memory of the rule: samples (seconds, requests in progress), and since when more or fewer are wanted.

    Samples older than `look_back` seconds are dropped; the policy says how many, once a decision was made by it.
    """

    samples: tuple[tuple[float, float], ...] = ()
    above_since: float | None = None
    below_since: float | None = None
    look_back: float = 0.0

    def observe(self, at: float, in_flight: float) -> "ScalingMemory":
        """The memory with one more sample."""
        return replace(self, samples=(*self._recent(at), (at, in_flight)))

    def at(self, now: float, look_back: float) -> "ScalingMemory":
        """The memory at `now` with a look-back window of `look_back` seconds."""
        memory = replace(self, look_back=look_back)
        return replace(memory, samples=memory._recent(now))

    def _recent(self, now: float) -> tuple[tuple[float, float], ...]:
        return tuple(sample for sample in self.samples if sample[0] > now - self.look_back)


@dataclass(frozen=True)
class ScalingDecision:
    """The replicas that should run now, those that the load needs, the memory, and the remaining seconds of delay."""

    replicas: int
    wanted: int
    memory: ScalingMemory
    again_after: float | None = None


def bounds(spec: AutoscalingPolicySpec) -> Bounds:
    """The bounds of the policy that are in effect."""
    return Bounds(spec.least_replicas, spec.max_replicas)


def target(spec: AutoscalingPolicySpec) -> int | None:
    """The target for requests in progress per replica, None if the policy has none."""
    return next((s.target for s in spec.signals if s.type is SignalType.ONGOING_REQUESTS), None)


def not_in_force(spec: AutoscalingPolicySpec) -> tuple[str, ...]:
    """Paths of the fields that are accepted but not in effect yet."""
    signals = tuple(
        f"spec.signals[{i}] ({signal.type})"
        for i, signal in enumerate(spec.signals)
        if signal.type is not SignalType.ONGOING_REQUESTS
    )
    others = {"scaleToZero": spec.scale_to_zero, "schedules": spec.schedules, "budget": spec.budget}
    return (*signals, *(f"spec.{name}" for name, value in others.items() if value))


def decide(policy: AutoscalingPolicy, memory: ScalingMemory, current: int, now: float) -> ScalingDecision:
    """How many replicas should run, given that `current` do.

    The bounds apply immediately. Within them a change waits for its delay. `now` is in the samples' seconds.
    """
    spec = policy.spec
    limits = bounds(spec)
    per_replica = target(spec)
    within = min(max(current, limits.minimum), limits.maximum)
    memory = memory.at(now, spec.behavior.look_back_seconds)
    recent = [load for _, load in memory.samples]
    if per_replica is None or not recent:
        return ScalingDecision(within, within, replace(memory, above_since=None, below_since=None))
    mean = sum(recent) / len(recent)
    wanted = min(max(math.ceil(mean / per_replica), limits.minimum), limits.maximum)
    if wanted == within:
        return ScalingDecision(within, wanted, replace(memory, above_since=None, below_since=None))
    if wanted > within:
        since = now if memory.above_since is None else memory.above_since
        waited, delay = now - since, spec.behavior.upscale_delay_seconds
        remembered = replace(memory, above_since=since, below_since=None)
    else:
        since = now if memory.below_since is None else memory.below_since
        waited, delay = now - since, spec.behavior.downscale_delay_seconds
        remembered = replace(memory, above_since=None, below_since=since)
    if waited < delay:
        return ScalingDecision(within, wanted, remembered, again_after=delay - waited)
    return ScalingDecision(wanted, wanted, replace(memory, above_since=None, below_since=None))
