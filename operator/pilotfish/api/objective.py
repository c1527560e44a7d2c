"""Objectives: the quality, spend or latency that a router keeps while it serves."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from pilotfish.api.common import Currency, DecimalString, Model, Permille, union_rule


class ObjectiveType(StrEnum):
    """The quantity that a router keeps at a target while it serves."""

    QUALITY = "Quality"
    SPEND = "Spend"
    LATENCY = "Latency"


class QualityObjective(Model):
    """A bound on the loss of quality against sending every request to the last pool."""

    max_loss_permille: Permille
    """The maximum loss of mean quality, in permille of the scale from 0 to 1 that the calibration used: 20 is a loss
    of 0.02, which is two more wrong answers in a hundred where answers are either right or wrong.
    """


class SpendObjective(Model):
    """A bound on the cost of all requests of the router."""

    currency: Currency
    """The currency of `perHour`, as an ISO 4217 code such as USD. Every pool of the router needs prices in it."""
    per_hour: DecimalString
    """The maximum spend per hour, over all gateway replicas, as a decimal string such as "1.50"."""


class LatencyObjective(Model):
    """A bound on the time that requests of the router take."""

    milliseconds: Annotated[int, Field(strict=True, ge=1, le=3_600_000)]
    """The time from a request's arrival to the last byte of its answer, in milliseconds, which the given quantile of
    requests should not exceed.
    """
    quantile_permille: Permille = 950
    """The share of requests, in permille, that should take at most `milliseconds`."""


class Objective(Model):
    """A target that the gateway keeps while it serves by moving the router's threshold between calibrated bounds."""

    rules: ClassVar = (union_rule({"Quality": "quality", "Spend": "spend", "Latency": "latency"}),)
    type: ObjectiveType
    """The kind of target; the field that belongs to it must be set, and no other.
    - Quality (field `quality`): the calibrated threshold is kept, and checked against the objective.
    - Spend (field `spend`): the threshold moves so that the router spends at most an amount per hour.
    - Latency (field `latency`): the threshold moves so that a quantile of requests takes at most a time.
    """
    quality: QualityObjective | None = None
    """The bound on the loss of quality, for type Quality."""
    spend: SpendObjective | None = None
    """The bound on the spend, for type Spend."""
    latency: LatencyObjective | None = None
    """The bound on the time of requests, for type Latency."""
