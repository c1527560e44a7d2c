"""`ray start` with fewer processes: of Ray's dashboard Serve's REST API alone, and no server for remote clients.

Run as `python -m pilotfish.engine.ray_start start --head ...`, without --block. Ray has no options for that: its
dashboard starts eight more processes of 100 MB, for jobs, logs, events and pages that nothing uses here. When Ray is
started, this process becomes `pilotfish.engine.ray_watch`, which takes a tenth of the memory.
"""

import functools
import os
import sys
from typing import Any

from ray._private import node, ray_constants, services
from ray.scripts import scripts

MODULES = ("--modules-to-load=ServeHead",)
"""Arguments of the dashboard's process."""
DASHBOARD = ("-m", "pilotfish.engine.ray_dashboard")
WATCH = ("-m", "pilotfish.engine.ray_watch")


def main() -> None:
    """Run Ray's command line, then watch what it started."""
    started: list[str] = []
    services.start_ray_process = functools.partial(_start, services.start_ray_process, started)
    node.Node.start_ray_client_server = lambda _: None
    try:
        scripts.main()
    except SystemExit as ended:
        if ended.code:
            raise
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *WATCH, *started])  # noqa: S606 - there is no shell to avoid


def _start(start_ray_process: Any, started: list[str], command: list[str], process_type: str, **options: Any) -> Any:
    if process_type == ray_constants.PROCESS_TYPE_DASHBOARD:
        script = next(place for place, part in enumerate(command) if part.endswith("dashboard.py"))
        command = [*command[:script], *DASHBOARD, *command[script:], *MODULES]
    info = start_ray_process(command, process_type, **options)
    started.append(f"{process_type}={info.process.pid}")
    return info


if __name__ == "__main__":
    main()
