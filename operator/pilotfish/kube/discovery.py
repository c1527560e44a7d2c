"""Whether KubeRay serves its API here."""

import asyncio
import logging

from pilotfish.kube.client import KubeClient
from pilotfish.kube.errors import KubeError
from pilotfish.render.resources import RAY_SERVICES

logger = logging.getLogger(__name__)

_PERIOD_SECONDS = 20.0


class KubeRay:
    """Whether the API server knows RayService: asked once, before anything is watched, and held to from then on."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self.known = False
        """Whether it did when it was asked."""

    async def ask(self) -> None:
        """Find out. Raises KubeError."""
        self.known = await self._client.serves(RAY_SERVICES)

    async def changed(self) -> None:
        """Wait until KubeRay has come or gone since `ask`. While the API server does not say, this waits too."""
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            try:
                if await self._client.serves(RAY_SERVICES) != self.known:
                    return
            except KubeError as error:
                logger.warning("whether KubeRay has come or gone is not known: %s", error)
