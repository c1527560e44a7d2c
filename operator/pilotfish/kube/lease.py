"""Leader election with a Lease (coordination.k8s.io). A holder that cannot renew it exits."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pilotfish.kube.client import KubeClient
from pilotfish.kube.errors import Conflict, KubeError
from pilotfish.render.resources import LEASES

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaseTiming:
    """Seconds. A holder that cannot renew within `renew_deadline` stops before another one starts, after `duration`."""

    duration: int = 8
    renew_deadline: float = 6.0
    retry: float = 1.5


class LeaseLost(KubeError):
    """The Lease could not be renewed in time, or another process holds it. The former holder must exit."""


class Lease:
    """The Lease `name` in `namespace`, for the holder `identity`.

    Expiry is measured with the local clock, from when the last change of the Lease was seen.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], float],
        timing: LeaseTiming = LeaseTiming(),
    ) -> None:
        self._client = client
        self._namespace, self._name, self._identity = namespace, name, identity
        self._clock, self._timing = clock, timing
        self._seen: tuple[Any, ...] | None = None
        self._seen_at = 0.0
        self._acquired_at = ""
        self._asked_at = 0.0
        """When the last successful write of the Lease started. Other processes measure from later."""

    async def acquire(self) -> None:
        """Wait until this process holds the Lease, also while the API server is unavailable."""
        while True:
            try:
                if await self._try(create=True):
                    return
            except Conflict:
                logger.debug("another process wrote the lease first")
            except KubeError as error:
                logger.warning("waiting for the lease %s: %s", self._name, error)
            await asyncio.sleep(self._timing.retry)

    async def hold(self) -> None:
        """Renew until cancelled. Raises LeaseLost when the Lease is lost or about to expire."""
        while True:
            await asyncio.sleep(self._timing.retry)
            left = self._timing.renew_deadline - (self._clock() - self._asked_at)
            try:
                async with asyncio.timeout(max(left, 0.0)):
                    ours = await self._try(create=False)
            except (KubeError, TimeoutError) as error:
                if self._clock() - self._asked_at >= self._timing.renew_deadline:
                    raise LeaseLost(f"the lease {self._name} could not be renewed: {error}") from error
                logger.warning("could not renew the lease %s yet: %s", self._name, error)
                continue
            if not ours:
                raise LeaseLost(f"the lease {self._name} was deleted, or another process holds it")

    async def release(self) -> None:
        """Release the Lease, if this process holds it."""
        found = await self._client.find(LEASES, self._namespace, self._name)
        if found and found["spec"].get("holderIdentity") == self._identity:
            await self._client.replace(LEASES, {**found, "spec": {**found["spec"], "holderIdentity": ""}})

    async def _try(self, *, create: bool) -> bool:
        found = await self._client.find(LEASES, self._namespace, self._name)
        asked, now = self._clock(), datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        if found is None and not create:
            return False
        if found is None:
            metadata = {"name": self._name, "namespace": self._namespace}
            await self._client.create(LEASES, self._lease(metadata, now, transitions=0))
        else:
            spec = found["spec"]
            holder = spec.get("holderIdentity")
            if holder and holder != self._identity and not self._expired(spec):
                return False
            transitions = spec.get("leaseTransitions", 0) + (holder != self._identity)
            await self._client.replace(LEASES, self._lease(found["metadata"], now, transitions=transitions))
        self._asked_at = asked
        return True

    def _expired(self, spec: dict[str, Any]) -> bool:
        state = (spec.get("holderIdentity"), spec.get("renewTime"))
        if state != self._seen:
            self._seen, self._seen_at = state, self._clock()
        duration: int = spec.get("leaseDurationSeconds", self._timing.duration)
        return self._clock() - self._seen_at > duration

    def _lease(self, metadata: dict[str, Any], now: str, *, transitions: int) -> dict[str, Any]:
        self._acquired_at = self._acquired_at or now
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {key: value for key, value in metadata.items() if key != "managedFields"},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": self._timing.duration,
                "acquireTime": self._acquired_at,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }
