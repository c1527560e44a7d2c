"""Whether the cluster serves KubeRay's API."""

import asyncio
import logging

from pilotfish.kube.client import KubeClient
from pilotfish.kube.errors import KubeError
from pilotfish.render.resources import RAY_SERVICES

logger = logging.getLogger(__name__)

_PERIOD_SECONDS = 20.0


class KubeRay:
    """Whether the API server serves RayService. It is asked once, before any watch starts."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self.known = False
        """The last answer."""

    async def ask(self) -> None:
        """Ask the API server. Raises KubeError."""
        self.known = await self._client.serves(RAY_SERVICES)

    async def changed(self) -> None:
        """Wait until KubeRay was installed or removed since `ask`, also while the API server does not answer."""
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            try:
                if await self._client.serves(RAY_SERVICES) != self.known:
                    return
            except KubeError as error:
                logger.warning("checking for KubeRay failed: %s", error)
