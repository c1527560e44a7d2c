"""What the functions of the kinds observe: the mirror, and the answers of other servers."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from pilotfish.api import AdaptationPlugin, ModelPool, Resource
from pilotfish.api.validation import Fault
from pilotfish.base.keys import Key
from pilotfish.controller.answers import Answers
from pilotfish.controller.config_maps import ConfigMapDigests
from pilotfish.controller.external import ExternalChecks
from pilotfish.controller.gateway_reports import GatewayReports
from pilotfish.controller.load import LoadBook
from pilotfish.controller.mirror import Mirror
from pilotfish.reconcile.gateway_report import RouterReport
from pilotfish.reconcile.kind import Find
from pilotfish.reconcile.outcome import ExternalCheck, Manifest, Observed, Outcome, Proof
from pilotfish.reconcile.scaling import ScalingMemory

AnyResource = TypeVar("AnyResource", bound=Resource)


class ClusterObserver:
    """Implements `reconcile.kind.Observer`. What it keeps of a resource goes with the resource."""

    def __init__(
        self,
        *,
        mirror: Mirror,
        faults: Callable[[Resource, Find], tuple[Fault, ...]],
        prepares: Callable[[AdaptationPlugin], bool],
        config_maps: ConfigMapDigests,
        progress: Callable[[str], Awaitable[str]],
        load: LoadBook,
        reports: GatewayReports,
        external: ExternalChecks,
        answers: Answers,
    ) -> None:
        self._mirror, self._faults = mirror, faults
        self._prepares, self._config_maps, self._progress = prepares, config_maps, progress
        self._load, self._reports, self._external, self._answers = load, reports, external, answers

    def observed(self, resource: Resource) -> Observed:
        """Faults of the spec, references that lead nowhere, and children."""
        named = dict.fromkeys(reference.key for reference in self._mirror.kinds.references(resource))
        return Observed(
            faults=self._faults(resource, self._usable),
            missing=tuple(key for key in named if self._usable(key) is None),
            children=self._mirror.children(resource.key, resource.metadata.uid or ""),
        )

    def find(self, key: Key, model: type[AnyResource]) -> AnyResource | None:
        """The resource, None where there is none, or where it is being deleted or not valid."""
        found = self._usable(key)
        return found if isinstance(found, model) else None

    def referrers(self, key: Key, kind: str) -> tuple[Key, ...]:
        """Resources of `kind` that refer to `key`."""
        return self._mirror.referrers(key, kind)

    def claimants(self, names: Iterable[str]) -> tuple[Key, ...]:
        """Resources that claim one of the names."""
        return self._mirror.claimants(names)

    def pods(self, key: Key) -> tuple[Manifest, ...]:
        """Pods of the resource."""
        return self._mirror.pods(key)

    def clock(self) -> float:
        """Seconds, on the clock of `scaling_memory`."""
        return self._load.now()

    def scaling_memory(self, key: Key) -> ScalingMemory | None:
        """Load of a pool, None where no gateway has reported it."""
        return self._load.memory(key)

    def router_report(self, key: Key) -> RouterReport | None:
        """What gateways report of a router, None until they were asked."""
        return self._reports.of(key)

    def prepares(self, plugin: AdaptationPlugin) -> bool:
        """Whether the plugin's documents are prepared by a Job."""
        return self._prepares(plugin)

    async def config_maps(self, reader: Key, named: Sequence[Key]) -> Mapping[Key, str]:
        """Digests of the data of the ConfigMaps that exist."""
        return await self._config_maps.digests(reader, named)

    async def progress(self, address: str) -> str:
        """How far the preparation at `host:port` is."""
        return await self._progress(address)

    async def external_check(self, pool: ModelPool) -> ExternalCheck | None:
        """Whether the API of an external pool lists its model."""
        return await self._external.check(pool.key, pool)

    async def proof(self, pool: ModelPool, children: Mapping[Key, Manifest], pods: tuple[Manifest, ...]) -> Proof:
        """Whether the pool's RayService has answered."""
        return await self._answers.check(pool, children, pods)

    def remember(self, key: Key, outcome: Outcome) -> None:
        """Keep what the outcome asks to remember."""
        if outcome.scaling is not None:
            self._load.remember(key, outcome.scaling)
        else:
            self._load.forget(key)

    def forget(self, key: Key) -> None:
        """Forget a deleted resource."""
        self._load.forget(key)
        self._external.forget(key)
        self._answers.forget(key)
        self._config_maps.forget(key)

    def _usable(self, key: Key) -> Resource | None:
        cached = self._mirror.find(key)
        return cached.resource if cached and not cached.going else None
