"""What gateways report to each other and to the operator: counters since the start of the process, which only grow.

A lost report does no harm, because the next one includes it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, PlainSerializer

from pilotfish.base.keys import Key
from pilotfish.routing.threshold_control import PeerState

MOST_INSTANCES = 256
"""Gateways remembered; of more than that, the one that was not heard for the longest is forgotten."""

Count = Annotated[int, Field(ge=0)]
Amount = Annotated[FiniteFloat, Field(ge=0)]


def _router_key(value: str | Key) -> Key:
    return value if isinstance(value, Key) else Key.parse("ModelRouter", value)


RouterKey = Annotated[Key, BeforeValidator(_router_key), PlainSerializer(lambda key: key.path)]
"""A router, as `namespace/name` in JSON."""


class _Told(BaseModel):
    """Fields that a gateway of another version adds are no fault."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Totals(_Told):
    """Requests of one router that have ended, what they spent in the objective's currency, how many were too slow.

    `escalated` came further than the first pool; `large_spend` is what was spent there.
    """

    requests: Count = 0
    escalated: Count = 0
    small_spend: Amount = 0.0
    large_spend: Amount = 0.0
    slow: Count = 0

    def plus(self, other: "Totals") -> "Totals":
        """Both together."""
        return Totals.model_construct(**{name: value + getattr(other, name) for name, value in self})

    def since(self, before: "Totals") -> "Totals":
        """What was added since `before`; everything if the counters were reset."""
        if self.requests < before.requests:
            return self
        return Totals.model_construct(**{name: max(0, value - getattr(before, name)) for name, value in self})


class RouterUsage(_Told):
    """One router at one gateway. `debt` and `share` are its belief, `objective` an ObjectiveStatus as JSON."""

    totals: Totals = Totals()
    debt: FiniteFloat | None = None
    share: FiniteFloat | None = None
    objective: dict[str, Any] | None = None

    @property
    def belief(self) -> PeerState | None:
        """What the gateway believes, if it has read anything yet."""
        return None if self.debt is None or self.share is None else PeerState(self.debt, self.share)


class GatewayUsage(_Told):
    """One gateway: who it is, for how many seconds it has run, and its routers."""

    instance: str = ""
    seconds: Amount = 0.0
    routers: Mapping[RouterKey, RouterUsage] = {}


@dataclass
class UsageDeltas:
    """Turns the counters of several gateways into what happened since they were last asked."""

    _known: dict[str, Mapping[Key, RouterUsage]] = field(default_factory=dict)

    def take(self, heard: Iterable[GatewayUsage], *, seconds: float) -> dict[Key, Totals]:
        """What is new at these gateways, by router. `seconds`: for how long the reader has run.

        A gateway heard for the first time counts from its start if it is younger than the reader; of an older one
        nothing is known but from now on.
        """
        new: dict[Key, Totals] = {}
        for gateway in heard:
            before = self._known.pop(gateway.instance, None)
            if before is None and gateway.seconds > seconds:
                before = gateway.routers
            for key, router in gateway.routers.items():
                earlier = (before or {}).get(key, RouterUsage()).totals
                new[key] = new.get(key, Totals()).plus(router.totals.since(earlier))
            self._known[gateway.instance] = gateway.routers
        while len(self._known) > MOST_INSTANCES:
            del self._known[next(iter(self._known))]
        return new
