"""The one rule from load to replicas. Ray Serve's autoscaler is given the same bounds, targets and delays.

Load is requests in flight over all replicas. What is wanted is the mean over the look-back window divided by the target
of a replica, rounded up, within the bounds. It is carried out once it has differed from what runs, in one direction, as
long as the delay says.
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
    """What the rule knows of the past: samples (seconds, requests in flight), since when more or fewer are wanted.

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
        """What of it counts `now`, when one looks back for so many seconds, as from now on."""
        memory = replace(self, look_back=look_back)
        return replace(memory, samples=memory._recent(now))

    def _recent(self, now: float) -> tuple[tuple[float, float], ...]:
        return tuple(sample for sample in self.samples if sample[0] > now - self.look_back)


@dataclass(frozen=True)
class Decision:
    """Replicas that should run now, what the load asks for, what to remember, and seconds of delay that are left."""

    replicas: int
    wanted: int
    memory: ScalingMemory
    again_after: float | None = None


def bounds(spec: AutoscalingPolicySpec) -> Bounds:
    """The policy's bounds as far as they are in force."""
    return Bounds(spec.least_replicas, spec.max_replicas)


def target(spec: AutoscalingPolicySpec) -> int | None:
    """Requests in flight that one replica should have, None where the policy does not say."""
    return next((s.target for s in spec.signals if s.type is SignalType.ONGOING_REQUESTS), None)


def not_in_force(spec: AutoscalingPolicySpec) -> tuple[str, ...]:
    """Paths of the fields that are accepted but not carried out yet."""
    signals = tuple(
        f"spec.signals[{i}] ({signal.type})"
        for i, signal in enumerate(spec.signals)
        if signal.type is not SignalType.ONGOING_REQUESTS
    )
    others = {"scaleToZero": spec.scale_to_zero, "schedules": spec.schedules, "budget": spec.budget}
    return (*signals, *(f"spec.{name}" for name, value in others.items() if value))


def decide(policy: AutoscalingPolicy, memory: ScalingMemory, current: int, now: float) -> Decision:
    """How many replicas should run, given that `current` do.

    The bounds hold at once; within them a change waits for its delay. `now` is in the samples' seconds.
    """
    spec = policy.spec
    limits = bounds(spec)
    per_replica = target(spec)
    within = min(max(current, limits.minimum), limits.maximum)
    memory = memory.at(now, spec.behavior.look_back_seconds)
    recent = [load for _, load in memory.samples]
    if per_replica is None or not recent:
        return Decision(within, within, replace(memory, above_since=None, below_since=None))
    mean = sum(recent) / len(recent)
    wanted = min(max(math.ceil(mean / per_replica), limits.minimum), limits.maximum)
    if wanted == within:
        return Decision(within, wanted, replace(memory, above_since=None, below_since=None))
    if wanted > within:
        since = now if memory.above_since is None else memory.above_since
        waited, delay = now - since, spec.behavior.upscale_delay_seconds
        remembered = replace(memory, above_since=since, below_since=None)
    else:
        since = now if memory.below_since is None else memory.below_since
        waited, delay = now - since, spec.behavior.downscale_delay_seconds
        remembered = replace(memory, above_since=None, below_since=since)
    if waited < delay:
        return Decision(within, wanted, remembered, again_after=delay - waited)
    return Decision(wanted, wanted, replace(memory, above_since=None, below_since=None))
