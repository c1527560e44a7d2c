"""From the objects of a cluster to the snapshot of a gateway: pure functions."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pilotfish.api import AdaptationPlugin, AutoscalingPolicy, ModelPool, ModelRouter, Resource
from pilotfish.api.status import ConditionStatus, ConditionType
from pilotfish.base.keys import Key
from pilotfish.kube.endpoints import SERVICE_LABEL, ready_addresses
from pilotfish.kube.errors import KubeError
from pilotfish.kube.secrets import api_key
from pilotfish.reconcile.conditions import condition_of
from pilotfish.reconcile.kinds import parse_resource
from pilotfish.reconcile.pool_status import state_of
from pilotfish.reconcile.scaling import hold_seconds
from pilotfish.render import labels
from pilotfish.render.preparation import folder_of
from pilotfish.routing.snapshot import Endpoint, PoolState, PoolView, RouterView, Snapshot, snapshot

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Cluster:
    """Copies of what a gateway reads. `resources` are objects of our kinds, `slices` are EndpointSlices."""

    resources: Iterable[Object]
    slices: Iterable[Object] = ()
    secrets: Mapping[Key, Object] = field(default_factory=dict)
    config_maps: Mapping[Key, Object] = field(default_factory=dict)


@dataclass(frozen=True)
class Needed:
    """Secrets and ConfigMaps that the resources name."""

    secrets: frozenset[Key]
    config_maps: frozenset[Key]


def snapshot_of(cluster: Cluster, *, serve_pools: bool = True, prepared: Path | None = None) -> Snapshot:
    """The snapshot of the resources, without invalid ones, whose status has the faults.

    `prepared` is the folder with what plugins prepared.
    """
    by_service: dict[Key, list[Object]] = {}
    for piece in cluster.slices:
        metadata = piece["metadata"]
        service = (metadata.get("labels") or {}).get(SERVICE_LABEL, "")
        by_service.setdefault(Key("Service", metadata["namespace"], service), []).append(piece)
    resources = list(_parsed(cluster))
    policies = {item.key: item for item in resources if isinstance(item, AutoscalingPolicy)}
    plugins = [item for item in resources if isinstance(item, AdaptationPlugin)]
    return snapshot(
        [
            replace(_pool_view(item, by_service, cluster.secrets), hold_seconds=hold_seconds(policies.get, item))
            for item in resources
            if isinstance(item, ModelPool)
        ],
        [RouterView(item, _artifacts(item, cluster)) for item in resources if isinstance(item, ModelRouter)],
        plugins,
        prepared=_prepared(plugins, prepared) if prepared else {},
        serve_pools=serve_pools,
    )


def _prepared(plugins: Iterable[AdaptationPlugin], root: Path) -> dict[Key, Path]:
    """The folder that each plugin prepared last, by its status."""
    statuses = {plugin.key: (plugin, plugin.status.prepared) for plugin in plugins if plugin.status}
    return {key: root / folder_of(plugin) / done.digest for key, (plugin, done) in statuses.items() if done}


def needed(cluster: Cluster) -> Needed:
    """The Secrets and ConfigMaps to read: API keys of external pools, artifacts of scorers."""
    secrets: set[Key] = set()
    config_maps: set[Key] = set()
    for item in _parsed(cluster):
        if isinstance(item, ModelPool) and item.spec.external and item.spec.external.api_key_secret_ref:
            secrets.add(item.key.beside("Secret", item.spec.external.api_key_secret_ref.name))
        if isinstance(item, ModelRouter):
            refs = (scorer.artifact.config_map_ref for scorer in item.scorers if scorer.artifact)
            config_maps |= {item.key.beside("ConfigMap", ref.name) for ref in refs if ref}
    return Needed(frozenset(secrets), frozenset(config_maps))


def _parsed(cluster: Cluster) -> Iterable[Resource]:
    for raw in cluster.resources:
        resource, _ = parse_resource(_readable(raw))
        if resource is not None and not resource.metadata.deletion_timestamp:
            yield resource


def _readable(raw: Object) -> dict[str, Any]:
    metadata = {name: value for name, value in raw["metadata"].items() if name != "managedFields"}
    return {**raw, "metadata": metadata}


def _pool_view(pool: ModelPool, slices: Mapping[Key, list[Object]], secrets: Mapping[Key, Object]) -> PoolView:
    if pool.spec.external:
        return _external_view(pool, secrets)
    found = _addresses(pool, slices)
    if found:
        return PoolView(pool, PoolState.READY, tuple(Endpoint(f"http://{address}/v1") for address in found))
    state, ready = state_of(pool), condition_of(pool, ConditionType.READY)
    failing = ready is not None and ready.status is not ConditionStatus.TRUE
    return PoolView(
        pool,
        PoolState.LOADING if state is PoolState.READY else state,
        reason=ready.message if ready and failing else "no replica answers",
    )


def _addresses(pool: ModelPool, slices: Mapping[Key, list[Object]]) -> list[str]:
    """Addresses of the replicas that have answered. A pool that moves from one runtime to the other has both.

    A pod of a Deployment is ready once it has answered. One of a RayService is ready before that: the operator's status
    has the RayService as the pool's address, and EngineReady, once it has answered in place of what ran before.
    """
    found = ready_addresses(slices.get(pool.key.beside("Service", labels.child_name(pool)), []), "http")
    service = labels.serve_service_name(pool)
    answered = state_of(pool) is PoolState.READY and f"//{service}." in ((pool.status and pool.status.url) or "")
    serve = ready_addresses(slices.get(pool.key.beside("Service", service), []), "serve") if answered else ()
    return [*found, *serve]


def _external_view(pool: ModelPool, secrets: Mapping[Key, Object]) -> PoolView:
    external = pool.spec.external
    assert external is not None  # noqa: S101 - checked by the caller
    reference = external.api_key_secret_ref
    if reference is None:
        return PoolView(pool, PoolState.READY, (Endpoint(external.base_url),))
    try:
        key = api_key(secrets.get(pool.key.beside("Secret", reference.name), {}), reference.name, reference.key)
    except KubeError as error:
        return PoolView(pool, PoolState.FAILED, reason=f"spec.external.apiKeySecretRef: {error}")
    return PoolView(pool, PoolState.READY, (Endpoint(external.base_url, key),))


def _artifacts(router: ModelRouter, cluster: Cluster) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for scorer in router.scorers:
        reference = scorer.artifact.config_map_ref if scorer.artifact else None
        if reference is None:
            continue
        config_map = cluster.config_maps.get(router.key.beside("ConfigMap", reference.name), {})
        address = f"configmap://{reference.name}/{reference.key}"
        if reference.key in config_map.get("binaryData", {}):
            found[address] = base64.b64decode(config_map["binaryData"][reference.key])
        elif reference.key in config_map.get("data", {}):
            found[address] = config_map["data"][reference.key].encode()
    return found
