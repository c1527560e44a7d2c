"""Digests of the ConfigMaps that plugins read as documents. They are read by name, without the right to list them."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from pilotfish.base.keys import Key
from pilotfish.kube.client import KubeClient
from pilotfish.kube.errors import KubeError
from pilotfish.render.resources import CONFIG_MAPS

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 10.0
"""Seconds between two looks at all ConfigMaps that some plugin reads."""


class ConfigMapDigests:
    """The last digest of each ConfigMap, and who reads it."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._known: dict[Key, str | None] = {}
        self._readers: dict[Key, frozenset[Key]] = {}

    async def digests(self, reader: Key, named: Sequence[Key]) -> Mapping[Key, str]:
        """Digests of those that exist, read now. `reader` is enqueued when one of them changes. Raises KubeError."""
        self.forget(reader)
        if named:
            self._readers[reader] = frozenset(named)
        found = {key: await self._read(key) for key in named}
        self._known.update(found)
        return {key: digest for key, digest in found.items() if digest is not None}

    def forget(self, reader: Key) -> None:
        """Forget a deleted plugin, and what no other one reads."""
        for key in self._readers.pop(reader, frozenset()):
            if not any(key in named for named in self._readers.values()):
                self._known.pop(key, None)

    async def follow(self, enqueue: Callable[[Key], Awaitable[None]]) -> None:
        """Look until cancelled, and enqueue the readers of what changed."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            for reader in await self.look():
                await enqueue(reader)

    async def look(self) -> list[Key]:
        """Read all once. Returns the readers of those that changed."""
        changed = set()
        for key in list(self._known):
            try:
                digest = await self._read(key)
            except KubeError as error:
                logger.warning("%s", error)
                continue
            if key in self._known and self._known[key] != digest:
                self._known[key] = digest
                changed.add(key)
        return [reader for reader, named in self._readers.items() if named & changed]

    async def _read(self, key: Key) -> str | None:
        found = await self._client.find(CONFIG_MAPS, key.namespace, key.name)
        if found is None:
            return None
        data = json.dumps([found.get("data"), found.get("binaryData")], sort_keys=True)
        return hashlib.sha256(data.encode()).hexdigest()
