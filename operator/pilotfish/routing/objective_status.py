"""A router's objective: whether its threshold can be moved, by which rule, and the status that reports it."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from pilotfish.api import ModelRouter
from pilotfish.api.modelpool import Pricing
from pilotfish.api.objective import LatencyObjective, Objective, QualityObjective, SpendObjective
from pilotfish.api.status import ObjectiveStatus
from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.artifacts import read_artifact
from pilotfish.plugin_api.settings import Settings
from pilotfish.routing.gateway_usage import Totals
from pilotfish.routing.threshold_control import (
    ControlState,
    Measurement,
    ObjectiveReason,
    ThresholdRange,
    begin,
    latency_step,
    spend_step,
)

HOUR = 3600.0
SHOWN_DIGITS = 3
"""Significant digits of measured values in the status."""
ROUNDING = 1e-6
NOT_CALIBRATED = (
    "the scorer's artifact has no range for an objective: run `pilotfish calibrate` on the router with its objective"
)


@dataclass(frozen=True)
class RouterObjective:
    """One router's objective. With a range its threshold moves; without, `reason` and `message` say why it stays."""

    objective: Objective
    threshold: int | None
    """The threshold of the manifest."""
    range: ThresholdRange | None = None
    reason: ObjectiveReason = ObjectiveReason.WARMING_UP
    message: str = ""

    def begin(self) -> ControlState | None:
        """The state before the first reading; None where nothing moves."""
        return begin(self.range.limits, self.range.scores) if self.range else None

    def step(self, control: ControlState, new: Totals, seconds: float) -> ControlState:
        """The state after `seconds` in which `new` happened at all gateways."""
        if self.range is None:
            return control
        reading = Measurement(seconds, **new.model_dump())
        limits, scores = self.range.limits, self.range.scores
        if self.objective.spend:
            per_second = float(self.objective.spend.per_hour) / HOUR
            return spend_step(control, reading, per_second=per_second, limits=limits, scores=scores)
        if self.objective.latency:
            quantile = self.objective.latency.quantile_permille / 1000
            return latency_step(control, reading, quantile=quantile, limits=limits, scores=scores)
        return control

    def status(self, control: ControlState | None) -> ObjectiveStatus:
        """The status to report; `control` is the current state, if there is one."""
        target, unit = _target(self.objective)
        return ObjectiveStatus(
            type=self.objective.type.value,
            target=target,
            current=_current(self.objective, control) if control else None,
            unit=unit,
            threshold_permille=control.threshold if control else self.threshold,
            reason=(control.reason if control else self.reason).value,
            message=self.message,
        )


def router_objective(
    router: ModelRouter, artifact: bytes | None, prices: Mapping[str, Pricing | None]
) -> RouterObjective | None:
    """The router's aim, or None where it declares no objective. `prices` by pool; `artifact` of its first scorer."""
    objective = router.spec.objective
    if objective is None:
        return None
    threshold = threshold_of(router)
    if threshold is None:
        found = f"strategy {router.spec.strategy.type.value} over {len(router.strategy_pools)} pools"
        message = f"{found}: an objective needs a router with one threshold between two pools"
        return RouterObjective(objective, None, reason=ObjectiveReason.NO_THRESHOLD, message=message)
    if objective.spend and (unpriced := _unpriced(router, objective.spend, prices)):
        message = (
            f"spec.pricing.currency of {unpriced} is not {objective.spend.currency}: set it, so that the spend is known"
        )
        return RouterObjective(objective, threshold, reason=ObjectiveReason.NOT_PRICED, message=message)
    if artifact is None:
        return RouterObjective(objective, threshold, reason=ObjectiveReason.NOT_CALIBRATED, message=NOT_CALIBRATED)
    scorer = router.scorers[0]
    try:
        found_range = ThresholdRange.from_arrays(read_artifact(Settings(scorer.config, artifact), scorer.name))
    except ConfigError as error:
        return RouterObjective(
            objective, threshold, reason=ObjectiveReason.NOT_CALIBRATED, message=f"{NOT_CALIBRATED} ({error})"[:1024]
        )
    if objective.quality:
        looser = _looser(objective.quality, threshold, found_range)
        return RouterObjective(
            objective,
            threshold,
            reason=ObjectiveReason.NOT_CALIBRATED if looser else ObjectiveReason.CALIBRATED,
            message=looser,
        )
    return RouterObjective(objective, threshold, found_range)


def threshold_of(router: ModelRouter) -> int | None:
    """The one threshold of a router between two pools; None where it has none, or several."""
    return router.thresholds[0] if len(router.strategy_uses) == 2 and router.thresholds else None


def moved(router: ModelRouter, threshold: int) -> ModelRouter:
    """The router with another threshold between its two pools."""
    strategy = router.spec.strategy
    if cascade := strategy.cascade:
        first, last = cascade.stages
        accept = first.accept and first.accept.model_copy(update={"threshold_permille": threshold})
        stages = (first.model_copy(update={"accept": accept}), last)
        changed = strategy.model_copy(update={"cascade": cascade.model_copy(update={"stages": stages})})
    elif predictive := strategy.predictive:
        small, large = predictive.candidates
        candidates = (small.model_copy(update={"threshold_permille": threshold}), large)
        changed = strategy.model_copy(update={"predictive": predictive.model_copy(update={"candidates": candidates})})
    else:
        raise ValueError(f"router {router.name!r} has no threshold to move")
    return router.model_copy(update={"spec": router.spec.model_copy(update={"strategy": changed})})


def _looser(quality: QualityObjective, threshold: int, left: ThresholdRange) -> str:
    """Why the threshold does not keep the objective, and the fix; empty if it does."""
    most, again = quality.max_loss_permille, "run `pilotfish calibrate` with --max-quality-loss"
    if left.loss is None:
        return f"the scorer's artifact does not record a limit on the loss: {again} {most / 10:g}%"
    if left.loss * 1000 > most + ROUNDING:
        return f"the scorer was calibrated for a loss of at most {left.loss * 1000:g} permille: {again} {most / 10:g}%"
    if threshold < left.limits.least:
        return f"thresholdPermille {threshold} is below {left.limits.least}, the lowest calibrated threshold: raise it"
    return ""


def _unpriced(router: ModelRouter, spend: SpendObjective, prices: Mapping[str, Pricing | None]) -> str:
    without = [
        name
        for name in router.strategy_pools
        if (pricing := prices.get(name)) is None or pricing.currency != spend.currency
    ]
    return ", ".join(f"pool {name!r}" for name in without)


def _target(objective: Objective) -> tuple[str, str]:
    if objective.spend:
        return objective.spend.per_hour, f"{objective.spend.currency} per hour"
    if objective.latency:
        return str(objective.latency.quantile_permille), _within(objective.latency)
    quality = objective.quality
    return str(quality.max_loss_permille if quality else 0), "permille of quality lost"


def _within(latency: LatencyObjective) -> str:
    return f"permille within {latency.milliseconds} ms"


def _current(objective: Objective, control: ControlState) -> str | None:
    if objective.spend and control.seconds > 0:
        return _short(HOUR * (control.small_spend + control.large_spend) / control.seconds)
    if objective.latency and control.requests >= 1:
        return str(round(1000 * (1 - control.slow / control.requests)))
    return None


def _short(value: float) -> str:
    rounded = Decimal(f"{value:.{SHOWN_DIGITS}g}")
    return format(rounded, "f")
