"""One acts at a time: a Lease (coordination.k8s.io) that its holder renews, or exits."""

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
    """Seconds. A holder that cannot renew within `renew_deadline` stops acting before others may, after `duration`."""

    duration: int = 8
    renew_deadline: float = 6.0
    retry: float = 1.5


class LeaseLost(KubeError):
    """The Lease could not be renewed in time, or somebody else holds it: whoever held it must exit."""


class Lease:
    """The Lease `name` in `namespace`, for the holder `identity`.

    Expiry is judged by our own clock, from when the last change of the Lease was seen: no other clock is trusted.
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
        """When the last write that made or kept the Lease ours was begun: others count from later."""

    async def acquire(self) -> None:
        """Wait until the Lease is ours. While the API server is away this waits too."""
        while True:
            try:
                if await self._try(create=True):
                    return
            except Conflict:
                logger.debug("somebody else wrote the lease first")
            except KubeError as error:
                logger.warning("waiting for the lease %s: %s", self._name, error)
            await asyncio.sleep(self._timing.retry)

    async def hold(self) -> None:
        """Renew for ever. Raises LeaseLost when it is lost or may soon be."""
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
                raise LeaseLost(f"the lease {self._name} has gone, or somebody else holds it")

    async def release(self) -> None:
        """Let another take it at once, where it is ours."""
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
