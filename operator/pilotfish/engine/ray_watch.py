"""Waits until one of Ray's processes ends, as `ray start --block` does, and names it.

Run by `pilotfish.engine.ray_start` in its own process as `python -m pilotfish.engine.ray_watch NAME=PID…`, so the
processes are children of this one.
"""

import os
import sys

FIRST_INHERITED = 3
MOST_INHERITED = 1024


def watch(names: dict[int, str]) -> int:
    """Wait until a process of `names` ends. Returns the status of this process."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid in names:
            print(f"{names[pid]} of Ray ended with status {os.waitstatus_to_exitcode(status)}", flush=True)  # noqa: T201
            return 1


def main() -> None:
    """Watch the processes of the command line."""
    # connections that Ray's libraries opened in this process before
    os.closerange(FIRST_INHERITED, MOST_INHERITED)
    pairs = [argument.split("=") for argument in sys.argv[1:]]
    sys.exit(watch({int(pid): name for name, pid in pairs}))


if __name__ == "__main__":
    main()
