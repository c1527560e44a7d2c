"""`ray start` with fewer processes: of Ray's dashboard Serve's REST API alone, and no server for remote clients.

Run as `python -m pilotfish.engine.ray_start start --head ...`. Ray has no options for that: its dashboard starts eight
more processes of 100 MB, for jobs, logs, events and pages that nothing uses here.
"""

import functools
import sys
from typing import Any

from ray._private import node, ray_constants, services
from ray.scripts import scripts

MODULES = ("--modules-to-load=ServeHead",)
"""Arguments of the dashboard's process."""


def main() -> None:
    """Run Ray's command line."""
    services.start_ray_process = functools.partial(_start, services.start_ray_process)
    node.Node.start_ray_client_server = lambda _: None
    sys.exit(scripts.main())


def _start(start_ray_process: Any, command: list[str], process_type: str, **options: Any) -> Any:
    if process_type == ray_constants.PROCESS_TYPE_DASHBOARD:
        command = [*command, *MODULES]
    return start_ray_process(command, process_type, **options)


if __name__ == "__main__":
    main()
