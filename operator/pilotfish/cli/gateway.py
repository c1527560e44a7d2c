"""`pilotfish gateway`: the gateway in a cluster, configured by the resources in the API server."""

import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from contextlib import aclosing

import typer
import uvloop

from pilotfish.base.errors import PilotfishError
from pilotfish.concurrency import first_done
from pilotfish.gateway.objectives import PERIOD_SECONDS
from pilotfish.gateway.server import GatewayServer
from pilotfish.kube.client import KubeClient
from pilotfish.kube.credentials import find_credentials
from pilotfish.kube.snapshots import ClusterSnapshots
from pilotfish.plugins.registry import Registry
from pilotfish.routing.gateway_usage import GatewayUsage
from pilotfish.settings import ClusterGatewaySettings
from pilotfish.telemetry.tracing import Tracing
from pilotfish.upstream.peers import Peers, resolved

logger = logging.getLogger(__name__)


def gateway() -> None:
    """Serve OpenAI's API for the pools and routers of a cluster.

    PILOTFISH_* variables configure it. The chart sets them.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = ClusterGatewaySettings.from_environment(os.environ)
        logging.getLogger().setLevel(settings.log_level)
        uvloop.run(_serve(settings))
    except PilotfishError as error:
        logger.error("%s", error)  # noqa: TRY400 - an error for the user, without a traceback
        raise typer.Exit(1) from error


async def _serve(settings: ClusterGatewaySettings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with Peers(PERIOD_SECONDS) as peers:

        async def ask_gateways() -> Sequence[GatewayUsage]:
            return await peers.usage(await resolved(settings.peers)) if settings.peers else ()

        tracing = Tracing.from_environment(os.environ, "pilotfish-gateway")
        server = GatewayServer(settings.gateway, Registry.installed(), tracing, ask_gateways=ask_gateways)
        await _until_stopped(settings, server, stopping)


async def _until_stopped(settings: ClusterGatewaySettings, server: GatewayServer, stopping: asyncio.Event) -> None:
    try:
        await first_done(stopping.wait(), _follow(settings, server))
    finally:
        # Requests in progress finish with the last snapshot, so the watches have stopped first.
        await server.stop()


async def _follow(settings: ClusterGatewaySettings, server: GatewayServer) -> None:
    """Start to listen with the first snapshot, and apply every later one."""
    listening = False
    async with KubeClient(find_credentials(os.environ)) as client:
        watched = ClusterSnapshots(
            client, settings.namespaces, serve_pools=settings.serve_pools, prepared=settings.prepared
        )
        snapshots = watched.follow()
        async with aclosing(snapshots):
            async for snapshot in snapshots:
                server.apply(snapshot)
                logger.info("%d models over %d pools", len(snapshot.targets), len(snapshot.pools))
                if not listening:
                    port = await server.start()
                    listening = True
                    logger.info("listening on port %d", port)
