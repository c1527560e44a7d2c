"""What gateways report of a router while it serves, for its status: rounded, so that few changes are written."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from pydantic import ValidationError

from pilotfish.api import ModelPool, ModelRouter
from pilotfish.api.status import ObjectiveStatus
from pilotfish.base.keys import Key
from pilotfish.routing.gateway_usage import GatewayUsage, Totals
from pilotfish.routing.objective_status import RouterObjective, router_objective
from pilotfish.routing.threshold_control import ObjectiveReason

NO_GATEWAY = "no gateway has reported the objective yet"


@dataclass(frozen=True)
class RouterReport:
    """One router: the share of requests that its first pool did not answer, if there were any, and its objective."""

    escalated_permille: int | None = None
    objective: ObjectiveStatus | None = None

    def after(self, before: "RouterReport | None") -> "RouterReport":
        """The same, with the share of the report before where no request came since."""
        if before is None or self.escalated_permille is not None:
            return self
        return replace(self, escalated_permille=before.escalated_permille)


def router_reports(new: Mapping[Key, Totals], heard: Iterable[GatewayUsage]) -> dict[Key, RouterReport]:
    """A report of each router. `new` are the requests since the last time, at all gateways.

    The objective is that of the gateway that has run for the longest.
    """
    objectives: dict[Key, ObjectiveStatus | None] = {}
    for gateway in sorted(heard, key=lambda each: each.seconds):
        objectives |= {key: _objective(router.objective) for key, router in gateway.routers.items()}
    return {key: RouterReport(_escalated(new.get(key)), objective) for key, objective in objectives.items()}


def reported_status(router: ModelRouter, pools: Iterable[ModelPool], seen: RouterReport | None) -> RouterReport:
    """What the router's status reports: what gateways reported, else what follows from the manifest.

    `seen` is None until gateways were asked: then the status stays what it was.
    """
    before = router.status
    share = seen.escalated_permille if seen else None
    if share is None and before:
        share = before.escalated_permille
    objective = seen.objective if seen else before.objective if before else None
    declared = router.spec.objective
    if declared is None:
        return RouterReport(share if router.scorers else None)
    if objective is None or objective.type != declared.type.value:
        objective = _from_manifest(router, pools)
    return RouterReport(share if router.scorers else None, objective)


def _from_manifest(router: ModelRouter, pools: Iterable[ModelPool]) -> ObjectiveStatus | None:
    aim = router_objective(router, None, {pool.name: pool.spec.pricing for pool in pools})
    if aim is None:
        return None
    if aim.reason is ObjectiveReason.NOT_CALIBRATED and router.scorers[0].artifact:
        aim = RouterObjective(aim.objective, aim.threshold, reason=ObjectiveReason.WARMING_UP, message=NO_GATEWAY)
    return aim.status(None)


def _escalated(new: Totals | None) -> int | None:
    """Permille, to the next ten."""
    return 10 * round(100 * new.escalated / new.requests) if new and new.requests else None


def _objective(reported: Mapping[str, object] | None) -> ObjectiveStatus | None:
    """None for what cannot be read: a gateway of another version may report other fields."""
    known = {field.alias or name for name, field in ObjectiveStatus.model_fields.items()}
    try:
        found = ObjectiveStatus.model_validate(
            {name: value for name, value in (reported or {}).items() if name in known}
        )
    except ValidationError:
        return None
    return found.model_copy(update={"current": _rounded(found.current)})


def _rounded(amount: str | None) -> str | None:
    """To two significant digits."""
    return format(Decimal(f"{Decimal(amount):.2g}"), "f") if amount else amount
