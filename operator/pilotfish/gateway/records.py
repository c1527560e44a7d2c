"""What is recorded of a request while it is answered: the calls that it made to pools, and the decisions on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import prod
from secrets import token_hex
from typing import Any

from pilotfish.routing.cascade import Decision, Ground, Verdict
from pilotfish.routing.cost import UNKNOWN_USAGE, Usage

TAKEN = Decision(Verdict.ACCEPTED, Ground.LAST_STAGE)


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount of money."""

    currency: str
    amount: Decimal


@dataclass(slots=True)
class StageRecord:
    """One call to a pool, filled in while it runs. `scorer` names the scorer that judged the answer, `digest` labels
    its scores.
    """

    pool: str
    scorer: str | None = None
    digest: str | None = None
    decision: Decision = TAKEN
    usage: Usage = UNKNOWN_USAGE
    seconds: float = 0.0
    cost: Cost | None = None
    energy_wh: float | None = None
    error: str | None = None
    plugin: str | None = None
    """The plugin that rejected the answer, with its reason and its notes on the answer."""
    reason: str | None = None
    notes: Mapping[str, Any] | None = None
    answer: str | None = None
    """The text of the first choice, where the gateway read all of it."""


@dataclass(slots=True)
class RequestRecord:
    """The stages of one request in the order in which they ran, and the calls that scorers and plugins made.

    `id` is unique, independent of what clients send. `drawn` is the probability of the plan that the request got.
    """

    route: str
    strategy: str
    id: str = field(default_factory=lambda: token_hex(16))
    stages: list[StageRecord] = field(default_factory=list)
    scorer_calls: list[StageRecord] = field(default_factory=list)
    plugin_calls: list[StageRecord] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    effects: list[dict[str, Any]] | None = None
    """What each plugin did to what is asked, in order, where the request is explained."""
    drawn: float = 1.0
    plugins: str | None = None
    """A digest of the router's plugins."""

    @property
    def calls(self) -> Sequence[StageRecord]:
        """Every call to a pool."""
        return (*self.stages, *self.scorer_calls, *self.plugin_calls)

    @property
    def propensity(self) -> float | None:
        """The probability that the request took this path, given the answers: 1 where nothing was drawn.

        None where a stage failed, because the stage that answered in its place was not drawn.
        """
        if any(stage.error for stage in self.stages):
            return None
        return self.drawn * prod(stage.decision.propensity for stage in self.stages)

    @property
    def escalated(self) -> bool:
        """Whether a stage after the first one ran."""
        return len(self.stages) > 1

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens of all calls."""
        return sum((call.usage.prompt_tokens or 0) + (call.usage.completion_tokens or 0) for call in self.calls)

    @property
    def cost(self) -> Cost | None:
        """The cost of all calls. None where no call has a price, or where currencies differ."""
        costs = [call.cost for call in self.calls if call.cost]
        if len({cost.currency for cost in costs}) != 1:
            return None
        return Cost(costs[0].currency, sum((cost.amount for cost in costs), Decimal(0)))
