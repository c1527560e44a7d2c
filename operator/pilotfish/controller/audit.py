"""Whether the mirror holds something that was deleted.

After a watch that was too old Kopf lists again, and a list does not report deletions.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from pilotfish.controller.mirror import Mirror
from pilotfish.kube.client import KubeClient
from pilotfish.kube.errors import KubeError
from pilotfish.render.resources import PODS, RAY_SERVICES, ResourceType

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 300.0
_AGAIN_SECONDS = 15.0


class StaleMirror(KubeError):
    """The mirror holds objects that were deleted: the process must restart, which lists all and writes nothing."""


@dataclass
class Audit:
    """Compares the mirror with lists of the API server, every PERIOD_SECONDS."""

    client: KubeClient
    mirror: Mirror
    namespaces: Sequence[str] = ()

    async def run(self) -> None:
        """Compare until cancelled. Raises StaleMirror if an object was deleted and its deletion was never seen."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            try:
                await self.compare(_AGAIN_SECONDS)
            except StaleMirror:
                raise
            except KubeError as error:
                logger.warning("the audit of the mirror failed: %s", error)

    async def compare(self, patience: float) -> None:
        """Compare once, and what differs again after `patience` seconds, because watches may be late."""
        suspects = await self._gone()
        if not suspects:
            return
        await asyncio.sleep(patience)
        gone = suspects & await self._gone()
        if gone:
            raise StaleMirror(f"deletions of {len(gone)} objects were never seen: restarting")

    async def _gone(self) -> set[str]:
        held = self.mirror.uids()
        kinds = self.mirror.kinds
        types: list[tuple[ResourceType, str]] = [(each, "") for each in kinds.types.values()]
        types += [(PODS, label) for label in kinds.pod_labels]
        for each, label in types:
            if each == RAY_SERVICES and not await self.client.serves(each):
                continue
            for namespace in self.namespaces or (None,):
                held -= await self.client.uids(each, namespace, labels=label)
        return held
