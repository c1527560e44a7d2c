"""What a gateway knows at one moment: pools with their state, routers, and which name reaches which.

The watcher of the resources (a folder or a cluster) builds a Snapshot, and the gateway replaces the old one with it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from pilotfish.api import AdaptationPlugin, ModelPool, ModelRouter
from pilotfish.base.keys import Key


class PoolState(StrEnum):
    """Whether a pool answers."""

    READY = "Ready"
    LOADING = "Loading"
    FAILED = "Failed"
    SCALED_TO_ZERO = "ScaledToZero"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a pool: `base_url` ends in /v1."""

    base_url: str
    api_key: str | None = field(default=None, repr=False)


def can_answer(state: PoolState, *, has_address: bool, held: bool = False) -> bool:
    """Whether a pool answers requests. The only rule: listings, probes, requests and conditions use it.

    A pool at zero answers if requests to it are `held` until a replica has started.
    """
    if state is PoolState.READY:
        return has_address
    return held and state is not PoolState.FAILED


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool, or one of its LoRA adapters, as the gateway sees it. `reason` says why it does not answer."""

    pool: ModelPool
    state: PoolState
    endpoints: tuple[Endpoint, ...] = ()
    reason: str = ""
    adapter: str | None = None
    hold_seconds: int | None = None
    """How long a request waits for a replica of a pool that scales to zero. None: requests do not wait."""

    @property
    def key(self) -> Key:
        """The pool's key; an adapter is keyed by its own name."""
        return self.pool.key.beside(self.pool.kind, self.name)

    @property
    def name(self) -> str:
        """What clients call the model."""
        return self.pool.adapter_name(self.adapter) if self.adapter else self.pool.name

    @property
    def model(self) -> str:
        """What the model server calls the model."""
        return self.pool.spec.external.model if self.pool.spec.external else self.name

    @property
    def can_answer(self) -> bool:
        """Whether the pool answers a request that arrives now, possibly after it was held."""
        return can_answer(self.state, has_address=bool(self.endpoints), held=self.hold_seconds is not None)


@dataclass(frozen=True, slots=True)
class RouterView:
    """A router, and the bytes of its scorers' artifacts by the artifact's address (`configmap://name/key` or a URI)."""

    router: ModelRouter
    artifacts: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """What a served name reaches: a router, or a pool by its own name. `fault` says why it cannot answer at all."""

    name: str
    namespace: str
    router: RouterView | None
    pool: PoolView | None
    fault: str = ""

    @property
    def owner(self) -> str:
        """`owned_by` in the list of models."""
        return "pilotfish-router" if self.router else "pilotfish-pool"


@dataclass(frozen=True)
class Snapshot:
    """Everything a gateway answers from. Build it with `snapshot`."""

    pools: Mapping[Key, PoolView]
    routers: Mapping[Key, RouterView]
    plugins: Mapping[Key, AdaptationPlugin]
    targets: Mapping[str, Target]
    conflicts: Mapping[Key, str]
    """Routers that lost a served name to an older one, and a text that says so."""
    prepared: Mapping[Key, Path] = field(default_factory=dict)
    """The folder that each AdaptationPlugin prepared last."""

    @cached_property
    def answering(self) -> Mapping[str, frozenset[str]]:
        """Names of the pools that answer now, by namespace."""
        names: dict[str, set[str]] = {}
        for key, view in self.pools.items():
            if view.can_answer:
                names.setdefault(key.namespace, set()).add(key.name)
        return {namespace: frozenset(found) for namespace, found in names.items()}

    def pool(self, namespace: str, name: str) -> PoolView | None:
        """The pool of that name, if there is one."""
        return self.pools.get(Key("ModelPool", namespace, name))


def snapshot(
    pools: Iterable[PoolView],
    routers: Iterable[RouterView],
    plugins: Iterable[AdaptationPlugin] = (),
    *,
    prepared: Mapping[Key, Path] = MappingProxyType({}),
    serve_pools: bool = True,
) -> Snapshot:
    """Resolve names: the older of two routers has a name, and a pool has its own where no router has it.

    Adapters are pools that share their pool's replicas, under the name `<pool>:<adapter>`.
    """
    pools_by_key = {view.key: view for pool in pools for view in _with_adapters(pool)}
    routers_by_key = {view.router.key: view for view in routers}
    plugins_by_key = {plugin.key: plugin for plugin in plugins}
    targets: dict[str, Target] = {}
    conflicts: dict[Key, str] = {}
    for key, view in sorted(routers_by_key.items(), key=lambda item: _age(item[1], item[0])):
        for served in view.router.served_names:
            holder = targets.get(served)
            if holder is not None:
                conflicts[key] = (
                    f"the model name {served!r} is served by router {holder.name!r} in {holder.namespace!r}"
                )
                continue
            targets[served] = Target(
                served, key.namespace, view, None, router_fault(view.router, pools_by_key, plugins_by_key)
            )
    if serve_pools:
        for key, pool in sorted(pools_by_key.items()):
            targets.setdefault(key.name, Target(key.name, key.namespace, None, pool))
    return Snapshot(
        MappingProxyType(pools_by_key),
        MappingProxyType(routers_by_key),
        MappingProxyType(plugins_by_key),
        MappingProxyType(targets),
        MappingProxyType(conflicts),
        prepared,
    )


def _with_adapters(pool: PoolView) -> Iterator[PoolView]:
    yield pool
    for adapter in pool.pool.spec.adapters or ():
        yield replace(pool, adapter=adapter.name)


def router_fault(router: ModelRouter, pools: Mapping[Key, PoolView], plugins: Mapping[Key, AdaptationPlugin]) -> str:
    """Why the router cannot answer at all, or an empty string: every pool and plugin that it names must exist."""
    missing = [name for name in router.pool_names if router.key.beside("ModelPool", name) not in pools]
    if missing:
        return f"router {router.name!r} names pools that do not exist: {', '.join(missing)}"
    for name in (use.plugin_ref.name for use in router.spec.plugins):
        if router.key.beside("AdaptationPlugin", name) not in plugins:
            return f"router {router.name!r} names a plugin that does not exist: {name}"
    return ""


def _age(view: RouterView, key: Key) -> tuple[str, Key]:
    return view.router.metadata.creation_timestamp or "", key
