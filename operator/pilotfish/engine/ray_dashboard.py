"""Ray's dashboard with its modules in its own process.

Run by `pilotfish.engine.ray_start` as `python -m pilotfish.engine.ray_dashboard SCRIPT ...`. Ray gives each module a
process of 140 MB, and a server that forks them. The one module that is loaded here, Serve's REST API, needs neither.
"""

import asyncio
import logging
import os
import runpy
import sys
from types import SimpleNamespace
from typing import Any

from ray.dashboard.subprocesses import handle
from ray.dashboard.subprocesses.utils import get_http_session_to_module

logger = logging.getLogger(__name__)


class InProcessModule(handle.SubprocessModuleHandle):  # type: ignore[misc]
    """A module as a task of the dashboard's event loop. It serves at its socket, as it does in a process."""

    @classmethod
    def preload_in_forkserver(cls, module_classes: list[type]) -> None:
        """Nothing is forked."""

    def start_module(self) -> None:
        """Start to serve."""
        os.makedirs(self.config.socket_dir, exist_ok=True)  # noqa: PTH103 - Ray's configuration has a string
        self.process = SimpleNamespace(pid=os.getpid())
        self._serving: asyncio.Task[Any] = self.loop.create_task(self.module_cls(self.config).run())
        self._serving.add_done_callback(_check)

    def wait_for_module_ready(self) -> None:
        """Open the session in which requests are passed on. The event loop answers none before the module serves."""
        config = self.config
        self.http_client_session = get_http_session_to_module(
            self.module_cls.__name__, config.socket_dir, config.session_name
        )


def _check(serving: asyncio.Task[Any]) -> None:
    """End the dashboard, and with it this Ray, if its module cannot serve."""
    if error := serving.exception():
        logger.error("the module of the dashboard failed", exc_info=error)
        os._exit(1)


def main() -> None:
    """Run the dashboard."""
    handle.SubprocessModuleHandle = InProcessModule
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
