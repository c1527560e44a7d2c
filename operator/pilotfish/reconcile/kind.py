"""The parts of a kind for the operator, and what its functions may observe. `kinds` has the table of kinds."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pilotfish.api import AdaptationPlugin, ModelPool, Resource
from pilotfish.api.common import FieldPath
from pilotfish.api.validation import Fault
from pilotfish.base.keys import Key
from pilotfish.reconcile.gateway_report import RouterReport
from pilotfish.reconcile.outcome import Context, ExternalCheck, Manifest, Observed, Outcome, Proof
from pilotfish.reconcile.scaling import ScalingMemory
from pilotfish.render.resources import ResourceType, declared

AnyResource = TypeVar("AnyResource", bound=Resource)
AnyObserved = TypeVar("AnyObserved", bound=Observed)


Find = Callable[[Key], Resource | None]
"""The resource of a key, None where there is none that can be used."""


@dataclass(frozen=True)
class Reference:
    """Another object that a resource names, and the path of the name."""

    key: Key
    path: FieldPath


@dataclass(frozen=True)
class Child:
    """A type of objects that the operator creates for a kind, and their purpose."""

    type: ResourceType
    purpose: str


class PluginCatalog(Protocol):
    """The installed plugins."""

    @property
    def scorers(self) -> Sequence[str]:
        """Names of the installed scorers."""

    @property
    def sources(self) -> Sequence[str]:
        """Schemes of the installed sources."""

    @property
    def adaptations(self) -> Sequence[str]:
        """Names of the installed adaptations."""

    @property
    def logits(self) -> Sequence[str]:
        """Names of the installed logits plugins."""

    def scorer(self, name: str) -> Any:
        """The class of a scorer. Raises PluginError."""

    def adaptation(self, name: str) -> Any:
        """The class of an adaptation. Raises PluginError."""

    def logits_plugin(self, name: str) -> Any:
        """The class of a logits plugin. Raises PluginError."""


class Observer(Protocol):
    """What is known of the cluster. Methods that may ask another server are coroutines."""

    def observed(self, resource: Resource) -> Observed:
        """Faults of the spec, unresolved references and children, which every kind needs."""

    def find(self, key: Key, model: type[AnyResource]) -> AnyResource | None:
        """The resource, None where there is none that can be used."""

    def referrers(self, key: Key, kind: str) -> tuple[Key, ...]:
        """Resources of `kind` that refer to `key`."""

    def claimants(self, names: Iterable[str]) -> tuple[Key, ...]:
        """Resources that claim one of the names."""

    def pods(self, key: Key) -> tuple[Manifest, ...]:
        """Pods of the resource."""

    def clock(self) -> float:
        """Seconds, on the clock of `scaling_memory`."""

    def scaling_memory(self, key: Key) -> ScalingMemory | None:
        """Load of a pool, None where no gateway has reported it."""

    def router_report(self, key: Key) -> RouterReport | None:
        """What gateways report of a router, None until they were asked."""

    def prepares(self, plugin: AdaptationPlugin) -> bool:
        """Whether the plugin's documents are prepared by a Job."""

    async def config_maps(self, reader: Key, named: Sequence[Key]) -> Mapping[Key, str]:
        """Digests of the data of the ConfigMaps that exist. `reader` is reconciled when one of them changes."""

    async def progress(self, address: str) -> str:
        """How far the preparation at `host:port` is, for people. Empty where that is not known."""

    async def external_check(self, pool: ModelPool) -> ExternalCheck | None:
        """Whether the API of an external pool lists its model."""

    async def proof(self, pool: ModelPool, children: Mapping[Key, Manifest], pods: tuple[Manifest, ...]) -> Proof:
        """Whether the pool's RayService has answered."""


async def observe_basics(resource: Resource, observer: Observer) -> Observed:
    """`observe` of a kind that needs nothing beyond what every kind needs."""
    return observer.observed(resource)


def _none(_: Any) -> tuple[Any, ...]:
    return ()


def _no_faults(_: Any, __: PluginCatalog) -> tuple[Fault, ...]:
    return ()


def _no_link_faults(_: Any, __: Find, ___: PluginCatalog) -> tuple[Fault, ...]:
    return ()


@dataclass(frozen=True)
class Kind(Generic[AnyResource, AnyObserved]):
    """One kind. `observe` gathers what `decide`, which is pure, turns into an Outcome."""

    model: type[AnyResource]
    observe: Callable[[AnyResource, Observer], Awaitable[AnyObserved]]
    decide: Callable[[AnyResource, AnyObserved, Context], Outcome]
    references: Callable[[AnyResource], Iterable[Reference]] = _none
    claims: Callable[[AnyResource], Iterable[str]] = _none
    """Names that only one resource can have, the oldest one. Resources that claim the same name affect each other."""
    check: Callable[[AnyResource, PluginCatalog], Iterable[Fault]] = _no_faults
    """Faults that depend on the installed plugins. A resource with one is not accepted."""
    check_links: Callable[[AnyResource, Find, PluginCatalog], Iterable[Fault]] = _no_link_faults
    """Faults that depend on what the resource refers to as well. A resource with one is not accepted."""
    remark: Callable[[AnyResource, PluginCatalog], Iterable[Fault]] = _no_faults
    """Warnings for settings that are accepted but have less effect than expected."""
    remark_links: Callable[[AnyResource, Find, PluginCatalog], Iterable[Fault]] = _no_link_faults
    """Warnings that depend on what the resource refers to."""
    children: tuple[Child, ...] = ()
    pod_label: str | None = None
    """Label of pods that holds the name of the resource that they belong to."""
    counts_referrers: bool = False
    """Whether the status reports who refers to the resource, so that it changes with them."""

    @property
    def name(self) -> str:
        """The kind's name, as in a manifest."""
        return self.model.__name__

    @property
    def type(self) -> ResourceType:
        """Where the API server has objects of the kind."""
        return declared(self.model)
