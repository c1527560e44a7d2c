"""`pilotfish webhook`: rejects faults that the schema in the API server cannot check. Optional."""

import asyncio
import logging
import os
import signal
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pilotfish.api import ModelPool
from pilotfish.base.errors import PilotfishError
from pilotfish.controller.admission import Admission
from pilotfish.controller.webhook import Certificate, serve
from pilotfish.kube.client import KubeClient
from pilotfish.kube.credentials import find_credentials
from pilotfish.plugins.installed import InstalledPlugins
from pilotfish.plugins.registry import Registry
from pilotfish.reconcile.kinds import KINDS, parse_resource
from pilotfish.render.resources import declared
from pilotfish.settings import log_level

logger = logging.getLogger(__name__)


def webhook(
    certificates: Annotated[Path, typer.Option(help="Folder with tls.crt and tls.key.")] = Path("/tls"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104 - the API server calls
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 9443,
) -> None:
    """Serve admission reviews for the API server: configs of scorers, engine arguments, tasks of a router's pools."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        logging.getLogger().setLevel(log_level(os.environ))
        asyncio.run(_serve(Certificate(certificates), host, port))
    except PilotfishError as error:
        logger.error("%s", error)  # noqa: TRY400 - an error for the user, without a traceback
        raise typer.Exit(1) from error


async def _serve(certificate: Certificate, host: str, port: int) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    # a missing reference is no fault here, because it may be created later; the operator reports it
    registry = Registry.installed()
    async with KubeClient(find_credentials(os.environ)) as client:

        async def find_pools(namespace: str, names: Iterable[str]) -> Mapping[str, ModelPool]:
            found = [await client.find(declared(ModelPool), namespace, name) for name in names]
            parsed = [parse_resource(each)[0] for each in found if each is not None]
            return {pool.name: pool for pool in parsed if isinstance(pool, ModelPool)}

        admission = Admission(partial(KINDS.check, installed=InstalledPlugins(registry)), find_pools)
        await serve(admission.review, certificate, host, port, stopping)
