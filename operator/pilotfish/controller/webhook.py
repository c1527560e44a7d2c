"""The webhook's server: HTTPS, with a certificate that is read again when its files change."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from watchfiles import awatch

from pilotfish.base.errors import MachineError, PilotfishError
from pilotfish.concurrency import first_done

logger = logging.getLogger(__name__)

_MAX_BYTES = 8 * 1024 * 1024
"""More than the API server accepts for one object."""

Answer = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class Certificate:
    """`tls.crt` and `tls.key` in a folder, as a Secret of type kubernetes.io/tls is mounted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.load()

    def load(self) -> None:
        """Use the current files for new connections. Raises MachineError."""
        try:
            self.context.load_cert_chain(self._folder / "tls.crt", self._folder / "tls.key")
        except OSError as error:
            raise MachineError(
                f"{self._folder} has no usable tls.crt and tls.key: set --certificates to their folder ({error})"
            ) from error

    async def follow(self) -> None:
        """Load the files whenever they change, until cancelled. After an invalid pair the last one stays in use."""
        async for _ in awatch(self._folder):
            try:
                self.load()
                logger.info("the certificate was reloaded")
            except MachineError as error:
                logger.warning("%s", error)


async def serve(answer: Answer, certificate: Certificate, host: str, port: int, stopping: asyncio.Event) -> None:
    """Answer `POST /validate` with what `answer` says and `GET /healthz`, until `stopping` is set. Raises OSError."""

    async def validate(request: web.Request) -> web.Response:
        review = await request.json()
        try:
            return web.json_response(await answer(review))
        except PilotfishError as error:
            # without a review, the webhook's failure policy decides
            logger.warning("the review failed: %s", error)
            return web.Response(status=503, text=str(error))

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application(client_max_size=_MAX_BYTES)
    app.add_routes([web.post("/validate", validate), web.get("/healthz", healthz)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=certificate.context).start()
        logger.info("listening on port %d", port)
        await first_done(stopping.wait(), certificate.follow())
    finally:
        await runner.cleanup()
