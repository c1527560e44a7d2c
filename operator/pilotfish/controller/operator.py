"""The running operator: it always watches, reconciles while it holds the Lease, and stops as a whole."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import kopf

from pilotfish.api import ModelPool
from pilotfish.base.keys import Key
from pilotfish.concurrency import first_done
from pilotfish.controller.audit import Audit
from pilotfish.controller.config_maps import ConfigMapDigests
from pilotfish.controller.gateway_reports import GatewayReports
from pilotfish.controller.instruments import Instruments
from pilotfish.controller.load import InFlight, LoadBook
from pilotfish.controller.queue import WorkQueue
from pilotfish.kube.client import KubeClient
from pilotfish.kube.discovery import KubeRay
from pilotfish.kube.errors import KubeError
from pilotfish.kube.lease import Lease
from pilotfish.render.resources import declared

logger = logging.getLogger(__name__)

_CONTACT_SECONDS = 2.0


@dataclass(frozen=True)
class Operator:
    """The running parts. `namespaces` empty: the whole cluster."""

    client: KubeClient
    kuberay: KubeRay
    registry: kopf.OperatorRegistry
    queue: WorkQueue[Key]
    lease: Lease
    load: LoadBook
    in_flight: InFlight
    reports: GatewayReports
    config_maps: ConfigMapDigests
    audit: Audit
    instruments: Instruments
    stopping: asyncio.Event
    """Set when Kopf stops: the workers stop first, then Kopf's watches."""
    namespaces: Sequence[str] = ()
    workers: int = 8

    async def run(self, ready: asyncio.Event) -> None:
        """Run until a signal, or until KubeRay is installed or removed: the next process has the right watches.

        `ready` is set once the API server serves our kinds and the watches begin. Kopf does not report when they are
        filled, but delivers no event before that. Raises LeaseLost.
        """
        await self._contact()
        stop = asyncio.Event()
        watching = asyncio.create_task(
            kopf.operator(
                registry=self.registry,
                clusterwide=not self.namespaces,
                namespaces=tuple(self.namespaces),
                standalone=True,
                stop_flag=stop,
                ready_flag=ready,
            )
        )
        try:
            # what acts stops first, and Kopf's watches, which its own flag ends, after it
            await first_done(self.stopping.wait(), self._outdated(), self._act(ready), _end_of(watching))
        except BaseExceptionGroup as group:
            raise _alone(group) from None
        finally:
            stop.set()
            await asyncio.wait({watching})
        watching.result()

    async def _contact(self) -> None:
        """Wait until the API server serves our kinds: before that there is nothing to watch."""
        while True:
            try:
                if await self.client.serves(declared(ModelPool)):
                    await self.kuberay.ask()
                    return
                logger.warning("the API server does not know ModelPool yet: install the CRDs")
            except KubeError as error:
                logger.warning("waiting for the API server: %s", error)
            await asyncio.sleep(_CONTACT_SECONDS)

    async def _outdated(self) -> None:
        await self.kuberay.changed()
        logger.warning("KubeRay was installed or removed: restarting with the right watches")

    async def _act(self, ready: asyncio.Event) -> None:
        await self.lease.acquire()
        logger.info("this process holds the lease and reconciles")
        self.instruments.leading.set(1)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.lease.hold())
                await ready.wait()
                group.create_task(self.queue.run(self.workers))
                group.create_task(self.load.follow(self.in_flight, self.queue.add))
                group.create_task(self.reports.follow(self.queue.add))
                group.create_task(self.config_maps.follow(self.queue.add))
                group.create_task(self.audit.run())
        except asyncio.CancelledError:
            await self._release()
            raise
        finally:
            self.instruments.leading.set(0)

    async def _release(self) -> None:
        try:
            await self.lease.release()
        except KubeError as error:
            logger.warning("the lease was not released, it will expire: %s", error)


async def _end_of(task: asyncio.Task[None]) -> None:
    """Wait for a task that continues when the wait is cancelled."""
    await asyncio.wait({task})


def _alone(error: BaseException) -> BaseException:
    """The only error of a group with one error, so that its message does not mention the group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
