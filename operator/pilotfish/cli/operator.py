"""`pilotfish operator`: the operator, inside or outside of a cluster."""

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic

import typer

from pilotfish.api import Resource
from pilotfish.api.modelpool import Runtime
from pilotfish.api.validation import Fault
from pilotfish.base.errors import MachineError, PilotfishError
from pilotfish.controller.answers import Answers
from pilotfish.controller.apply import Applier
from pilotfish.controller.audit import Audit
from pilotfish.controller.external import ExternalChecks
from pilotfish.controller.figures import ServedBook
from pilotfish.controller.instruments import Instruments, serve_health
from pilotfish.controller.load import LoadBook
from pilotfish.controller.mirror import Mirror
from pilotfish.controller.operator import Operator
from pilotfish.controller.queue import WorkQueue
from pilotfish.controller.reconciler import Installation, Reconciler
from pilotfish.controller.report import Reporter
from pilotfish.controller.watches import build_registry
from pilotfish.kube.client import KubeClient
from pilotfish.kube.credentials import Credentials, find_credentials
from pilotfish.kube.discovery import KubeRay
from pilotfish.kube.endpoints import addresses
from pilotfish.kube.lease import Lease
from pilotfish.manifests.advice import Advisor
from pilotfish.plugins.registry import Registry
from pilotfish.render.context import RenderContext
from pilotfish.routing.figures import GatewayFigures
from pilotfish.settings import OperatorSettings, log_level
from pilotfish.telemetry.tracing import Tracing
from pilotfish.upstream.peers import Peers

logger = logging.getLogger(__name__)


def operator() -> None:
    """Reconcile the resources of a cluster.

    PILOTFISH_* variables configure it. The chart sets them.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        level = log_level(os.environ)
        logging.getLogger().setLevel(level)
        logging.getLogger("kopf").setLevel("DEBUG" if level == "DEBUG" else "WARNING")
        settings = OperatorSettings.from_environment(os.environ)
        asyncio.run(_operate(settings, find_credentials(os.environ), os.environ))
    except PilotfishError as error:
        logger.error("%s", error)  # noqa: TRY400 - an error for the user, without a traceback
        raise typer.Exit(1) from error


async def _operate(settings: OperatorSettings, credentials: Credentials, environ: Mapping[str, str]) -> None:
    tracing = Tracing.from_environment(environ, "pilotfish-operator")
    instruments = Instruments(tracing)
    ready = asyncio.Event()
    health = await serve_health(instruments, settings.host, settings.port, ready.is_set)
    try:
        async with KubeClient(credentials) as client, Peers() as peers:
            await _assemble(settings, credentials, client, peers, instruments).run(ready)
    finally:
        await health.cleanup()
        await asyncio.to_thread(tracing.shutdown)


def _assemble(
    settings: OperatorSettings, credentials: Credentials, client: KubeClient, peers: Peers, instruments: Instruments
) -> Operator:
    mirror, load, kuberay = Mirror(), LoadBook(monotonic), KubeRay(client)
    stopping = asyncio.Event()
    render = _render_context(settings)

    async def gateways() -> Sequence[str]:
        return await addresses(client, settings.namespace, settings.gateway_service, "http")

    async def figures() -> Sequence[GatewayFigures]:
        return await peers.figures(await gateways())

    served = ServedBook(figures, monotonic)
    reconciler = Reconciler(
        mirror=mirror,
        applier=Applier(client, mirror),
        reporter=Reporter(client, mirror, settings.identity),
        load=load,
        served=served,
        external=ExternalChecks(client, peers.ask_models, monotonic),
        answers=Answers(peers.ask_answer),
        installation=Installation(
            render=lambda: replace(render, kuberay=kuberay.known), faults=_faults(), gateway_url=settings.gateway_url
        ),
    )

    async def in_flight() -> Mapping[str, float]:
        return await peers.in_flight(await gateways())

    queue = WorkQueue(instruments.observed(reconciler.reconcile))
    instruments.queued.set_function(lambda: len(queue))
    return Operator(
        client=client,
        kuberay=kuberay,
        registry=build_registry(mirror, queue.add, credentials, stopping),
        queue=queue,
        lease=Lease(
            client, namespace=settings.namespace, name=settings.lease, identity=settings.identity, clock=monotonic
        ),
        load=load,
        in_flight=in_flight,
        served=served,
        audit=Audit(client, mirror, settings.watch_namespaces),
        instruments=instruments,
        stopping=stopping,
        namespaces=settings.watch_namespaces,
        workers=settings.workers,
    )


def _render_context(settings: OperatorSettings) -> RenderContext:
    if settings.pool_runtime not in set(Runtime):
        raise MachineError(f"PILOTFISH_POOL_RUNTIME must be one of {', '.join(Runtime)}; got {settings.pool_runtime!r}")
    return RenderContext(
        pool_image=settings.pool_image,
        namespace=settings.namespace,
        pull_policy=settings.pool_pull_policy,
        runtime=Runtime(settings.pool_runtime),
        kuberay_namespace=settings.kuberay_namespace,
        accelerators=settings.accelerators,
        cache_claim=settings.cache_claim,
        traces_endpoint=settings.traces_endpoint,
    )


def _faults() -> "_Faults":
    return _Faults(Advisor(registry=Registry.installed(), holds=lambda _kind, _name: True))


class _Faults:
    """Faults that installed plugins find. References are checked in the cluster instead."""

    def __init__(self, advisor: Advisor) -> None:
        self._advisor = advisor

    def __call__(self, resource: Resource) -> tuple[Fault, ...]:
        return tuple(self._advisor.advise(resource))
