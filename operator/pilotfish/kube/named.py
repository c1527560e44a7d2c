"""Copies of Secrets and ConfigMaps that resources name. They are read by name: no right to list them is needed."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from pilotfish.kube.client import JSON, KubeClient
from pilotfish.kube.errors import KubeError
from pilotfish.kube.resources import Resource

logger = logging.getLogger(__name__)

_FRESH_SECONDS = 30.0
_MISSING_SECONDS = 2.0

ObjectId = tuple[str, str]
"""Namespace and name."""


class NamedObjects:
    """Keeps the objects that are wanted, read anew every half minute, and every two seconds while they are missing."""

    def __init__(self, client: KubeClient, resource: Resource, changed: Callable[[], None]) -> None:
        self._client, self._resource, self._changed = client, resource, changed
        self._objects: dict[ObjectId, JSON] = {}
        self._readers: dict[ObjectId, asyncio.Task[None]] = {}

    @property
    def objects(self) -> Mapping[ObjectId, JSON]:
        """Those that are wanted and there."""
        return self._objects

    async def want(self, names: Iterable[ObjectId], group: asyncio.TaskGroup) -> None:
        """Keep these and no others. Returns once each new one was asked for. Its readers run in `group`."""
        wanted = set(names)
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

    async def _keep(self, name: ObjectId) -> None:
        while True:
            await asyncio.sleep(_FRESH_SECONDS if name in self._objects else _MISSING_SECONDS)
            if await self._read(name):
                self._changed()

    async def _read(self, name: ObjectId) -> bool:
        """Read one object; whether it changed. While the API server does not answer, what is known stays."""
        try:
            found = await self._client.find(self._resource, *name)
        except KubeError as error:
            logger.warning("%s", error)
            return False
        known = self._objects.get(name)
        if found is None:
            return self._objects.pop(name, None) is not None
        self._objects[name] = found
        return known is None or known["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]
