"""Does the mirror hold something that has gone?

After a watch that was too old Kopf lists anew, and a list tells of no deletion.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pilotfish.controller.mirror import Mirror
from pilotfish.kube.client import KubeClient
from pilotfish.kube.errors import KubeError
from pilotfish.kube.resources import CHILDREN, OURS, PODS, RAY_SERVICES, Resource
from pilotfish.render.labels import POOL_LABEL

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 300.0
_AGAIN_SECONDS = 15.0


class StaleMirror(KubeError):
    """The mirror holds objects that have gone: the process must start anew, which lists all and writes nothing."""


@dataclass
class Audit:
    """Compares the mirror with lists of the API server, now and then."""

    client: KubeClient
    mirror: Mirror
    namespaces: Sequence[str] = ()
    resources: Iterable[Resource] = field(default=(*OURS, *CHILDREN, PODS))

    async def run(self) -> None:
        """Compare for ever. Raises StaleMirror when an object has gone and its deletion was never seen."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            try:
                await self.compare(_AGAIN_SECONDS)
            except StaleMirror:
                raise
            except KubeError as error:
                logger.warning("the mirror was not audited: %s", error)

    async def compare(self, patience: float) -> None:
        """Compare once. What is missing is looked for again after `patience` seconds, as watches may be late."""
        suspects = await self._gone()
        if not suspects:
            return
        await asyncio.sleep(patience)
        gone = suspects & await self._gone()
        if gone:
            raise StaleMirror(f"deletions of {len(gone)} objects were never seen: starting anew")

    async def _gone(self) -> set[str]:
        held = self.mirror.uids()
        for resource in self.resources:
            if resource == RAY_SERVICES and not await self.client.serves(resource):
                continue
            for namespace in self.namespaces or (None,):
                held -= await self.client.uids(resource, namespace, labels=POOL_LABEL if resource == PODS else "")
        return held
