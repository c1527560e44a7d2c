"""What gateways say of a router while it serves, as it goes into its status: rounded, so that little is written."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from pydantic import ValidationError

from pilotfish.api import ModelPool, ModelRouter
from pilotfish.api.status import ObjectiveStatus
from pilotfish.routing.aims import Aim, aim_of
from pilotfish.routing.figures import GatewayFigures, Totals
from pilotfish.routing.objective import Why

NO_GATEWAY = "no gateway has told of it yet"


@dataclass(frozen=True)
class Served:
    """Of one router: the share that came further than its first pool, where it was asked, and its objective."""

    escalated_permille: int | None = None
    objective: ObjectiveStatus | None = None

    def after(self, before: "Served | None") -> "Served":
        """The same, with the share that was told before where nobody asked since."""
        if before is None or self.escalated_permille is not None:
            return self
        return replace(self, escalated_permille=before.escalated_permille)


def served(new: Mapping[str, Totals], heard: Iterable[GatewayFigures]) -> dict[str, Served]:
    """What to tell of each router (`namespace/name`): `new` are the requests since the last time, at all gateways.

    Of its objective the gateway is believed that has run for the longest.
    """
    objectives: dict[str, ObjectiveStatus | None] = {}
    for gateway in sorted(heard, key=lambda each: each.seconds):
        objectives |= {name: _objective(router.objective) for name, router in gateway.routers.items()}
    return {name: Served(_escalated(new.get(name)), objective) for name, objective in objectives.items()}


def status_of(router: ModelRouter, pools: Iterable[ModelPool], seen: Served | None) -> Served:
    """What the router's status says: what gateways told, else what the manifest tells.

    `seen` is None until gateways were asked: then the status stays what it was.
    """
    before = router.status
    share = seen.escalated_permille if seen else None
    if share is None and before:
        share = before.escalated_permille
    told = seen.objective if seen else before.objective if before else None
    declared = router.spec.objective
    if declared is None:
        return Served(share if router.scorers else None)
    if told is None or told.type != declared.type.value:
        told = _own_words(router, pools)
    return Served(share if router.scorers else None, told)


def _own_words(router: ModelRouter, pools: Iterable[ModelPool]) -> ObjectiveStatus | None:
    aim = aim_of(router, None, {pool.name: pool.spec.pricing for pool in pools})
    if aim is None:
        return None
    if aim.reason is Why.NOT_CALIBRATED and router.scorers[0].artifact:
        aim = Aim(aim.objective, aim.threshold, reason=Why.WARMING_UP, message=NO_GATEWAY)
    return aim.status(None)


def _escalated(new: Totals | None) -> int | None:
    """Permille, to the next ten."""
    return 10 * round(100 * new.escalated / new.requests) if new and new.requests else None


def _objective(told: Mapping[str, object] | None) -> ObjectiveStatus | None:
    """A gateway of another version may tell more, or otherwise: then nothing is said."""
    known = {field.alias or name for name, field in ObjectiveStatus.model_fields.items()}
    try:
        found = ObjectiveStatus.model_validate({name: value for name, value in (told or {}).items() if name in known})
    except ValidationError:
        return None
    return found.model_copy(update={"current": _rounded(found.current)})


def _rounded(amount: str | None) -> str | None:
    """To two significant digits."""
    return format(Decimal(f"{Decimal(amount):.2g}"), "f") if amount else amount
