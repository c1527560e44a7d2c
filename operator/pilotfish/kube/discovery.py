"""Whether KubeRay serves its API here."""

from pilotfish.base.clock import Clock
from pilotfish.kube.client import KubeClient
from pilotfish.kube.resources import RAY_SERVICES

_FRESH_SECONDS = 60.0


class KubeRay:
    """Remembers for a minute whether the API server knows RayService."""

    def __init__(self, client: KubeClient, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._asked_at: float | None = None
        self.known = False
        """Whether it did when last asked."""

    async def changed(self) -> bool:
        """Ask again if the last answer is a minute old; whether it is another one now. Raises KubeError."""
        now, first = self._clock(), self._asked_at is None
        if self._asked_at is not None and now - self._asked_at < _FRESH_SECONDS:
            return False
        self._asked_at = now
        before, self.known = self.known, await self._client.serves(RAY_SERVICES)
        return not first and before != self.known
