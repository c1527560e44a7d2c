"""`pilotfish serve-pool`: the process of a pool's pod."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from pilotfish.api.modelpool import Task
from pilotfish.base.errors import MachineError, PilotfishError
from pilotfish.engine.pod import PodSettings, PoolPod
from pilotfish.render.deployment import APPLICATION_VARIABLE, DRAIN_VARIABLE, TASK_VARIABLE
from pilotfish.render.labels import HEALTH_PORT, SERVE_PORT

logger = logging.getLogger(__name__)

TERMINATION_LOG = Path("/dev/termination-log")


def serve_pool(
    host: Annotated[str, typer.Option(help="Address to listen on for requests and health probes.")] = "0.0.0.0",  # noqa: S104 - the pod's
    port: Annotated[int, typer.Option(help="Port for requests.")] = SERVE_PORT,
    health_port: Annotated[int, typer.Option(help="Port for /livez and /readyz.")] = HEALTH_PORT,
) -> None:
    """Run one replica of an engine, as the pods that the operator creates do.

    PILOTFISH_APPLICATION contains the Serve application as JSON, PILOTFISH_TASK the pool's task.

    If the engine does not start, its error is written to the pod's termination message.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = _settings(os.environ, host, port, health_port)
        asyncio.run(_run(settings))
    except PilotfishError as error:
        logger.error("%s", error)  # noqa: TRY400 - an error for the user, without a traceback
        if TERMINATION_LOG.exists():
            TERMINATION_LOG.write_text(str(error))
        raise typer.Exit(1) from error


async def _run(settings: PodSettings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await PoolPod(settings, os.environ).run(stopping)


def _settings(environ: Mapping[str, str], host: str, port: int, health_port: int) -> PodSettings:
    text = environ.get(APPLICATION_VARIABLE)
    if not text:
        raise MachineError(
            f"{APPLICATION_VARIABLE} is not set: set it to a Serve application as JSON, as the operator does"
        )
    try:
        application = json.loads(text)
    except ValueError as error:
        raise MachineError(f"{APPLICATION_VARIABLE} is not valid JSON: {error}") from error
    return PodSettings(
        application=application,
        task=Task(environ.get(TASK_VARIABLE, Task.GENERATE)),
        host=host,
        port=port,
        health_port=health_port,
        drain_seconds=float(environ.get(DRAIN_VARIABLE, "30")),
    )
