"""One request on its way through the pipeline: what was asked, by which route, and the record of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pilotfish.gateway.adaptations.requests import RequestAdaptations
from pilotfish.gateway.plugin_models import PluginModels
from pilotfish.gateway.pool_calls import PoolCaller
from pilotfish.gateway.records import RequestRecord
from pilotfish.gateway.routes import Route
from pilotfish.gateway.wire.request import ClientRequest
from pilotfish.plugin_api.models import Models

SCORERS = " scorers"
"""The threads in which all scorers compute. No plugin has this name."""


@dataclass(slots=True)
class Exchange:
    """One request. `request` is what the client asked, until adaptations make it what pools are asked."""

    request: ClientRequest
    route: Route
    caller: PoolCaller
    record: RequestRecord
    adaptations: RequestAdaptations | None = field(init=False)
    """None where the route has none."""

    def __post_init__(self) -> None:
        used = self.route.adaptations
        self.adaptations = RequestAdaptations(used, self.caller, self.record) if used else None

    def scorer_models(self, roles: Mapping[str, str]) -> Models:
        """What a scorer may ask, recorded as this request's calls."""
        if self.adaptations:
            return self.adaptations.models(SCORERS, roles, self.record.scorer_calls)
        return PluginModels(self.caller, SCORERS, roles, self.record.scorer_calls)

    def close(self) -> None:
        """Stop what plugins still do for the request."""
        if self.adaptations:
            self.adaptations.close()
