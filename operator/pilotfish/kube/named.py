"""Copies of the Secrets and ConfigMaps that resources refer to, read by name, without the right to list them."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from pilotfish.base.keys import Key
from pilotfish.kube.client import JSON, KubeClient
from pilotfish.kube.errors import KubeError
from pilotfish.render.resources import ResourceType

logger = logging.getLogger(__name__)

_FRESH_SECONDS = 30.0
_MISSING_SECONDS = 2.0


class NamedObjects:
    """Keeps copies of objects, read again every half minute, and every two seconds while they are missing."""

    def __init__(self, client: KubeClient, resource: ResourceType, changed: Callable[[], None]) -> None:
        self._client, self._resource, self._changed = client, resource, changed
        self._objects: dict[Key, JSON] = {}
        self._readers: dict[Key, asyncio.Task[None]] = {}

    @property
    def objects(self) -> Mapping[Key, JSON]:
        """The objects that exist."""
        return self._objects

    async def want(self, keys: Iterable[Key], group: asyncio.TaskGroup) -> None:
        """Keep these and no others. Returns once each new one was read. The readers run in `group`."""
        wanted = set(keys)
        for gone in self._readers.keys() - wanted:
            self._readers.pop(gone).cancel()
            self._objects.pop(gone, None)
        for new in wanted - self._readers.keys():
            await self._read(new)
            self._readers[new] = group.create_task(self._keep(new))

    def close(self) -> None:
        """Stop reading."""
        for reader in self._readers.values():
            reader.cancel()

    async def _keep(self, key: Key) -> None:
        while True:
            await asyncio.sleep(_FRESH_SECONDS if key in self._objects else _MISSING_SECONDS)
            if await self._read(key):
                self._changed()

    async def _read(self, key: Key) -> bool:
        """Read one object. Returns whether it changed. The copy stays while the API server does not answer."""
        try:
            found = await self._client.find(self._resource, key.namespace, key.name)
        except KubeError as error:
            logger.warning("%s", error)
            return False
        known = self._objects.get(key)
        if found is None:
            return self._objects.pop(key, None) is not None
        self._objects[key] = found
        return known is None or known["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]
