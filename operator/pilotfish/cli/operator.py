"""`pilotfish operator`: the operator, inside or outside of a cluster."""

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic

import typer

from pilotfish.api.modelpool import Runtime
from pilotfish.base.errors import MachineError, PilotfishError
from pilotfish.base.keys import Key
from pilotfish.controller.answers import Answers
from pilotfish.controller.apply import Applier
from pilotfish.controller.audit import Audit
from pilotfish.controller.config_maps import ConfigMapDigests
from pilotfish.controller.external import ExternalChecks
from pilotfish.controller.gateway_reports import GatewayReports
from pilotfish.controller.instruments import Instruments, serve_health
from pilotfish.controller.load import LoadBook
from pilotfish.controller.mirror import Mirror
from pilotfish.controller.observer import ClusterObserver
from pilotfish.controller.operator import Operator
from pilotfish.controller.queue import WorkQueue
from pilotfish.controller.reconciler import Reconciler
from pilotfish.controller.report import Reporter
from pilotfish.controller.watches import build_registry
from pilotfish.kube.client import KubeClient
from pilotfish.kube.credentials import Credentials, find_credentials
from pilotfish.kube.discovery import KubeRay
from pilotfish.kube.endpoints import addresses
from pilotfish.kube.lease import Lease
from pilotfish.plugins.installed import InstalledPlugins
from pilotfish.plugins.registry import Registry
from pilotfish.reconcile.kinds import KINDS, KindTable
from pilotfish.reconcile.outcome import Context
from pilotfish.render.context import RenderContext
from pilotfish.routing.gateway_usage import GatewayUsage
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
        asyncio.run(operate(settings, find_credentials(os.environ), os.environ))
    except PilotfishError as error:
        logger.error("%s", error)  # noqa: TRY400 - an error for the user, without a traceback
        raise typer.Exit(1) from error


async def operate(
    settings: OperatorSettings, credentials: Credentials, environ: Mapping[str, str], kinds: KindTable = KINDS
) -> None:
    """Run the operator for a table of kinds until it is stopped. Raises PilotfishError."""
    tracing = Tracing.from_environment(environ, "pilotfish-operator")
    instruments = Instruments(tracing)
    ready = asyncio.Event()
    health = await serve_health(instruments, settings.host, settings.port, ready.is_set)
    try:
        async with KubeClient(credentials) as client, Peers() as peers:
            await _assemble(settings, credentials, client, peers, instruments, kinds).run(ready)
    finally:
        await health.cleanup()
        await asyncio.to_thread(tracing.shutdown)


def _assemble(
    settings: OperatorSettings,
    credentials: Credentials,
    client: KubeClient,
    peers: Peers,
    instruments: Instruments,
    kinds: KindTable,
) -> Operator:
    mirror, load, kuberay = Mirror(kinds), LoadBook(monotonic), KubeRay(client)
    stopping = asyncio.Event()

    async def gateways() -> Sequence[str]:
        return await addresses(client, settings.namespace, settings.gateway_service, "http")

    async def usage() -> Sequence[GatewayUsage]:
        return await peers.usage(await gateways())

    reports = GatewayReports(usage, monotonic)
    config_maps = ConfigMapDigests(client)
    reconciler = _reconciler(settings, client, peers, mirror, load, reports, config_maps, kuberay)

    async def in_flight() -> Mapping[Key, float]:
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
        reports=reports,
        config_maps=config_maps,
        audit=Audit(client, mirror, settings.watch_namespaces),
        instruments=instruments,
        stopping=stopping,
        namespaces=settings.watch_namespaces,
        workers=settings.workers,
    )


def _reconciler(
    settings: OperatorSettings,
    client: KubeClient,
    peers: Peers,
    mirror: Mirror,
    load: LoadBook,
    reports: GatewayReports,
    config_maps: ConfigMapDigests,
    kuberay: KubeRay,
) -> Reconciler:
    render = _render_context(settings)
    installed = InstalledPlugins(Registry.installed())
    observer = ClusterObserver(
        mirror=mirror,
        faults=partial(mirror.kinds.check_all, installed=installed),
        prepares=installed.prepares,
        config_maps=config_maps,
        progress=peers.progress,
        load=load,
        reports=reports,
        external=ExternalChecks(client, peers.ask_models, monotonic),
        answers=Answers(peers.ask_answer),
    )

    def context() -> Context:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Context(replace(render, kuberay=kuberay.known), now, settings.gateway_url)

    return Reconciler(
        mirror=mirror,
        observer=observer,
        applier=Applier(client, mirror),
        reporter=Reporter(client, mirror, settings.identity),
        context=context,
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
        image=settings.image or settings.pool_image,
        prepared_claim=settings.prepared_claim,
        traces_endpoint=settings.traces_endpoint,
    )
