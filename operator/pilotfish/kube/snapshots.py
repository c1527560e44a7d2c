"""Snapshots of a cluster for a gateway, one after each change."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

from pilotfish.base.keys import Key
from pilotfish.kube.client import JSON, KubeClient
from pilotfish.kube.named import NamedObjects
from pilotfish.kube.reflector import Reflector
from pilotfish.kube.views import Cluster, needed, snapshot_of
from pilotfish.reconcile.kinds import KINDS
from pilotfish.render.labels import POOL_LABEL
from pilotfish.render.resources import CONFIG_MAPS, ENDPOINT_SLICES, SECRETS, ResourceType
from pilotfish.routing.snapshot import Snapshot

SETTLE_SECONDS = 0.1
"""Seconds in which several changes make one snapshot."""
POOL_SLICES = (POOL_LABEL, "ray.io/originated-from-crd=RayService")
"""Selectors of the EndpointSlices of pools: of our Services, and of those that KubeRay creates."""


class ClusterSnapshots:
    """Watches our kinds and EndpointSlices, and reads referenced Secrets and ConfigMaps. Writes nothing.

    `namespaces` empty: the whole cluster. `prepared` is the folder with what plugins prepared.
    """

    def __init__(
        self,
        client: KubeClient,
        namespaces: Iterable[str] = (),
        *,
        serve_pools: bool = True,
        prepared: Path | None = None,
    ) -> None:
        self._client = client
        self._serve_pools, self._prepared = serve_pools, prepared
        self._dirty = asyncio.Event()
        where: tuple[str | None, ...] = tuple(namespaces) or (None,)
        types = [kind.type for kind in KINDS]
        self._resources = [self._reflect(each, space) for each in types for space in where]
        self._slices = [self._reflect(ENDPOINT_SLICES, space, labels) for space in where for labels in POOL_SLICES]
        self._secrets = NamedObjects(client, SECRETS, self._dirty.set)
        self._config_maps = NamedObjects(client, CONFIG_MAPS, self._dirty.set)

    async def follow(self) -> AsyncGenerator[Snapshot, None]:
        """Yield a snapshot when everything was read, then one after each burst of changes, until closed."""
        async with asyncio.TaskGroup() as group:
            watched = [*self._resources, *self._slices]
            tasks = [group.create_task(reflector.run()) for reflector in watched]
            try:
                for reflector in watched:
                    await reflector.filled.wait()
                while True:
                    self._dirty.clear()
                    names = needed(self._cluster())
                    await self._secrets.want(names.secrets, group)
                    await self._config_maps.want(names.config_maps, group)
                    yield snapshot_of(self._cluster(), serve_pools=self._serve_pools, prepared=self._prepared)
                    await self._dirty.wait()
                    await asyncio.sleep(SETTLE_SECONDS)
            finally:
                self._secrets.close()
                self._config_maps.close()
                for task in tasks:
                    task.cancel()

    def _reflect(self, resource: ResourceType, namespace: str | None, labels: str = "") -> Reflector:
        return Reflector(self._client, resource, self._dirty.set, namespace=namespace, labels=labels)

    def _cluster(self) -> Cluster:
        return Cluster(
            resources=_merged(self._resources).values(),
            slices=_merged(self._slices).values(),
            secrets=self._secrets.objects,
            config_maps=self._config_maps.objects,
        )


def _merged(reflectors: Iterable[Reflector]) -> dict[Key, JSON]:
    return {name: item for reflector in reflectors for name, item in reflector.objects.items()}
