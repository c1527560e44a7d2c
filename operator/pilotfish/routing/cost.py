"""What one stage of one request cost."""

from dataclasses import dataclass
from decimal import Decimal

from pilotfish.api.modelpool import Power, Pricing

MILLION = Decimal(1_000_000)
HOUR = Decimal(3600)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call to a model, as the model server reported them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


UNKNOWN_USAGE = Usage()


def stage_cost(pricing: Pricing, usage: Usage, seconds: float, sharing: int) -> Decimal:
    """Cost in the pricing's currency: tokens, and the replica's time divided among `sharing` requests."""
    cost = Decimal(0)
    if pricing.per_million_input_tokens and usage.prompt_tokens:
        cost += Decimal(pricing.per_million_input_tokens) * usage.prompt_tokens / MILLION
    if pricing.per_million_output_tokens and usage.completion_tokens:
        cost += Decimal(pricing.per_million_output_tokens) * usage.completion_tokens / MILLION
    if pricing.per_replica_hour:
        cost += Decimal(pricing.per_replica_hour) * Decimal(repr(seconds)) / HOUR / max(1, sharing)
    return cost


def stage_energy(power: Power, seconds: float, sharing: int) -> float:
    """Watt-hours: the replica's active draw for as long as the stage ran, divided among `sharing` requests."""
    return power.active_watts * seconds / 3600 / max(1, sharing)
