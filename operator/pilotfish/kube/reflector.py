"""A live copy of objects of one kind: list, then watch, and list again when the watch is too old."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from pilotfish.base.keys import Key
from pilotfish.kube.client import JSON, KubeClient
from pilotfish.kube.errors import Gone, KubeError
from pilotfish.render.resources import ResourceType

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


class Reflector:
    """Keeps `objects` equal to the API server's. `run` it as a task; `filled` is set after the first list.

    The copy stays unchanged while the API server is unavailable.
    """

    def __init__(
        self,
        client: KubeClient,
        resource: ResourceType,
        changed: Callable[[], None],
        *,
        namespace: str | None = None,
        labels: str = "",
    ) -> None:
        self._client, self._resource, self._changed = client, resource, changed
        self._namespace, self._labels = namespace, labels
        self._objects: dict[Key, JSON] = {}
        self.filled = asyncio.Event()

    @property
    def objects(self) -> Mapping[Key, JSON]:
        """The current objects."""
        return self._objects

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        while True:
            try:
                await self._list_and_watch()
            except Gone:
                logger.debug("listing %s again: the watch is too old", self._resource.plural)
            except KubeError as error:
                logger.warning("%s; retrying in %.0f s", error, _RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _list_and_watch(self) -> None:
        items, version = await self._client.list(self._resource, self._namespace, labels=self._labels)
        fresh = {Key.of(item): item for item in items}
        differs = fresh != self._objects
        self._objects = fresh
        if differs or not self.filled.is_set():
            self.filled.set()
            self._changed()
        loop = asyncio.get_running_loop()
        while True:
            opened = loop.time()
            async for kind, item in self._client.watch(self._resource, version, self._namespace, labels=self._labels):
                version = item["metadata"]["resourceVersion"]
                if kind != "BOOKMARK":
                    self._take(kind, item)
            # an API server that ends watches immediately is not asked for the next one at once
            await asyncio.sleep(opened + _RETRY_SECONDS - loop.time())

    def _take(self, kind: str, item: JSON) -> None:
        if kind == "DELETED":
            self._objects.pop(Key.of(item), None)
        else:
            self._objects[Key.of(item)] = item
        self._changed()
