"""Threshold control: an objective moves a router's threshold, within a calibrated range, from measurements.

Spend. A ledger keeps the debt: actual spend minus allowed spend. Each step chooses the share of
large calls that would bring the debt to nothing within a horizon, given the rate of requests and what small and large
answers cost of late, and from the share, by the calibrated distribution of scores, the threshold. As long as the debt
stays within 1% of ten minutes' budget, the spend of any ten minutes is within 2% of its target. Unused
budget expires, so that a quiet night is not followed by a burst of spending.

Latency. The share of large calls is moved by how far the share of too slow requests is from the one that the quantile
allows.

With several gateways each steps by the figures of all of them. All then have about one threshold, and none corrects
more than its own requests, so corrections do not add up. What a gateway remembers of costs and rates fades, so two of
them come to the same; a debt does not fade, so each step draws it some way towards what the others hold it to be
(average consensus: Xiao and Boyd, "Fast linear iterations for distributed averaging", Systems & Control Letters 2004).

No clock and no state of its own: a step takes the last state and returns the next.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pilotfish.base.errors import ConfigError

HORIZON_SECONDS = 10.0
"""Time within which a debt is paid back."""
MEMORY_SECONDS = 60.0
"""Costs are means over about this long."""
RATE_SECONDS = 10.0
"""The rate of requests is a mean over about this long: it changes faster than what an answer costs."""
MOST_SAVED_SECONDS = 60.0
"""Budget not spent is kept for this long."""
MOST_OWED_SECONDS = 120.0
"""Overspending is paid back up to this much budget. A larger debt could not be corrected by the threshold."""
LATENCY_GAIN = 0.5
"""How fast the share of large calls follows too slow requests: per MEMORY_SECONDS."""
AGREEMENT = 0.2
"""How far a step moves debt and share towards those of the other gateways. Their values include a part of the next
reading, so that full agreement in one step would count that part twice.
"""
NEVER = 1001
"""A threshold that no score reaches. A manifest cannot express it, so a pool that never accepts is removed from it."""
QUANTILES = 501
"""Scores kept in an artifact."""


class ObjectiveReason(StrEnum):
    """Why the threshold moved, or did not."""

    WARMING_UP = "WarmingUp"
    ON_TARGET = "OnTarget"
    OVER_TARGET = "OverTarget"
    UNDER_TARGET = "UnderTarget"
    AT_LEAST = "AtLeastThreshold"
    AT_MOST = "AtMostThreshold"
    CALIBRATED = "Calibrated"
    """Quality: calibration chose the threshold, which stays."""
    NOT_CALIBRATED = "NotCalibrated"
    """The scorer's artifact has no range for the objective, or a weaker guarantee: the threshold stays."""
    NOT_PRICED = "NotPriced"
    """A pool has no price in the objective's currency: the threshold stays."""
    NO_THRESHOLD = "NoThreshold"
    """The strategy has no threshold, or more than one: nothing moves."""


@dataclass(frozen=True)
class Scores:
    """Scores of the first stage on calibration requests, ascending: what share a threshold escalates."""

    ascending: tuple[int, ...]

    @classmethod
    def of(cls, scores: Sequence[int]) -> "Scores":
        """From scores in any order. Raises ValueError where there are none."""
        if not scores:
            raise ValueError("an objective needs the scores of calibration requests")
        return cls(tuple(sorted(scores)))

    def escalated(self, threshold: int) -> float:
        """Share of requests whose score is below the threshold."""
        return bisect_left(self.ascending, threshold) / len(self.ascending)

    def threshold(self, share: float) -> int:
        """The least threshold that escalates at least this share; NEVER where only that would do."""
        place = math.ceil(min(1.0, max(0.0, share)) * len(self.ascending) - 1e-9)
        if place == 0:
            return 0
        return self.ascending[place - 1] + 1


@dataclass(frozen=True, slots=True)
class ThresholdBounds:
    """Calibrated bounds of the threshold, permille, and where it starts."""

    least: int
    most: int
    start: int

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.start <= self.most <= NEVER:
            raise ValueError("limits are least <= start <= most, from 0 to 1001")


@dataclass(frozen=True)
class ThresholdRange:
    """What calibration stores for an objective: its scores, and the bounds of the threshold.

    `loss`: the limit on the mean quality lost (0 to 1) that holds from `limits.least` on; None: there is none.
    """

    scores: Scores
    limits: ThresholdBounds
    loss: float | None = None

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that `from_arrays` reads: the scores as QUANTILES of them."""
        kept = np.quantile(self.scores.ascending, np.linspace(0, 1, QUANTILES), method="inverted_cdf")
        limits = (self.limits.least, self.limits.most, self.limits.start)
        return {
            "objective_scores": kept.astype(np.int16),
            "objective_limits": np.array(limits, np.int16),
            "objective_loss": np.array([] if self.loss is None else [self.loss], np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read a scorer's artifact. Raises ConfigError where it was calibrated for no objective."""
        scores, limits = arrays.get("objective_scores"), arrays.get("objective_limits")
        if scores is None or limits is None or scores.ndim != 1 or not len(scores) or limits.shape != (3,):
            raise ConfigError(
                "artifact", "was calibrated without an objective: set spec.objective, then calibrate again"
            )
        least, most, start = (int(value) for value in limits)
        loss = arrays.get("objective_loss", np.array([]))
        return cls(
            Scores.of([int(score) for score in scores]),
            ThresholdBounds(least, most, start),
            float(loss[0]) if loss.shape == (1,) else None,
        )


@dataclass(frozen=True, slots=True)
class Measurement:
    """What happened since the last step, at all gateways together.

    `requests` that ended, `escalated` of them; what they spent at the small pools and at the last one; `slow`: how
    many took longer than the objective allows.
    """

    seconds: float
    requests: int
    escalated: int = 0
    small_spend: float = 0.0
    large_spend: float = 0.0
    slow: int = 0


@dataclass(frozen=True, slots=True)
class ControlState:
    """State after a step. `threshold` and `why` are reported; the other fields are internal."""

    threshold: int
    reason: ObjectiveReason = ObjectiveReason.WARMING_UP
    share: float = 0.0
    debt: float = 0.0
    seconds: float = 0.0
    requests: float = 0.0
    recent_seconds: float = 0.0
    recent_requests: float = 0.0
    escalated: float = 0.0
    small_spend: float = 0.0
    large_spend: float = 0.0
    slow: float = 0.0

    def remembering(self, reading: Measurement) -> "ControlState":
        """The state with a reading added to its decaying sums."""
        keep, recent = math.exp(-reading.seconds / MEMORY_SECONDS), math.exp(-reading.seconds / RATE_SECONDS)
        return replace(
            self,
            seconds=self.seconds * keep + reading.seconds,
            requests=self.requests * keep + reading.requests,
            recent_seconds=self.recent_seconds * recent + reading.seconds,
            recent_requests=self.recent_requests * recent + reading.requests,
            escalated=self.escalated * keep + reading.escalated,
            small_spend=self.small_spend * keep + reading.small_spend,
            large_spend=self.large_spend * keep + reading.large_spend,
            slow=self.slow * keep + reading.slow,
        )

    @property
    def belief(self) -> "PeerState | None":
        """What this gateway reports to the others; None before the first reading."""
        return PeerState(self.debt, self.share) if self.seconds > 0 else None

    def agreeing(self, others: Sequence["PeerState"]) -> "ControlState":
        """The state moved towards the mean of the other gateways' values; a state without a reading takes the mean."""
        if not others:
            return self
        weight = AGREEMENT if self.seconds > 0 else 1.0
        debt = sum(other.debt for other in others) / len(others)
        share = sum(other.share for other in others) / len(others)
        return replace(
            self, debt=self.debt + weight * (debt - self.debt), share=self.share + weight * (share - self.share)
        )


@dataclass(frozen=True, slots=True)
class PeerState:
    """Debt and share of requests for the last pool of one gateway, after its last step."""

    debt: float
    share: float


def begin(limits: ThresholdBounds, scores: Scores) -> ControlState:
    """The state before the first reading."""
    return ControlState(threshold=limits.start, share=scores.escalated(limits.start))


def spend_step(
    control: ControlState, reading: Measurement, *, per_second: float, limits: ThresholdBounds, scores: Scores
) -> ControlState:
    """The next threshold for a spend of `per_second`. A reading of no time changes nothing."""
    if reading.seconds <= 0:
        return control
    spent = reading.small_spend + reading.large_spend
    debt = control.debt + spent - per_second * reading.seconds
    debt = min(MOST_OWED_SECONDS * per_second, max(-MOST_SAVED_SECONDS * per_second, debt))
    now = replace(control.remembering(reading), debt=debt)
    if now.requests < 1 or now.escalated <= 0:
        share = now.share if now.requests < 1 else max(now.share, 1 / now.requests)
        return _moved(now, share, limits, scores, settled=now.requests < 1, over=debt > 0)
    rate, small = now.recent_requests / now.recent_seconds, now.small_spend / now.requests
    large = now.large_spend / now.escalated
    wanted = per_second - debt / HORIZON_SECONDS
    share = (wanted / rate - small) / large if large > 0 and rate > 0 else now.share
    return _moved(now, share, limits, scores, settled=abs(debt) <= 0.01 * 600 * per_second, over=debt > 0)


def latency_step(
    control: ControlState, reading: Measurement, *, quantile: float, limits: ThresholdBounds, scores: Scores
) -> ControlState:
    """The next threshold such that the share 1 - `quantile` of requests is slower than the target, or less.

    Each reading moves the share of large calls; what is said of it rests on all that is remembered, as the few
    requests of one reading are nearly always too slow or too quick.
    """
    if reading.seconds <= 0 or reading.requests == 0:
        return control
    now = control.remembering(reading)
    allowed = 1.0 - quantile
    over = reading.slow / reading.requests - allowed
    weight = min(1.0, reading.seconds / MEMORY_SECONDS)
    share = now.share - LATENCY_GAIN * weight * over / max(allowed, 0.01)
    of_late = now.slow / now.requests - allowed
    return _moved(now, share, limits, scores, settled=abs(of_late) <= allowed / 4, over=of_late > 0)


def _moved(
    control: ControlState, share: float, limits: ThresholdBounds, scores: Scores, *, settled: bool, over: bool
) -> ControlState:
    least, most = scores.escalated(limits.least), scores.escalated(limits.most)
    share = min(most, max(least, share))
    threshold = min(limits.most, max(limits.least, scores.threshold(share)))
    if share <= least and not settled:
        why = ObjectiveReason.AT_LEAST
    elif share >= most and not settled:
        why = ObjectiveReason.AT_MOST
    elif settled:
        why = ObjectiveReason.ON_TARGET
    else:
        why = ObjectiveReason.OVER_TARGET if over else ObjectiveReason.UNDER_TARGET
    return replace(control, threshold=threshold, share=share, reason=why)
