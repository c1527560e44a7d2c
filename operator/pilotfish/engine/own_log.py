"""The log of this engine's processes."""

from pathlib import Path

from pilotfish.reconcile.engine_reason import cause_from_log


def logged_exception() -> str | None:
    """The first exception in the logs of this process and its children, with its type; None if there is none.

    vLLM's engine runs in a child process, and the parent only learns that it ended. Ray redirects a worker's output to
    files, which its children inherit.
    """
    for descriptor in (2, 1):
        written = Path(f"/proc/self/fd/{descriptor}")
        try:
            if written.is_file():
                with written.open(errors="replace") as lines:
                    if cause := cause_from_log(lines):
                        return cause.exception
        except OSError:  # an error while reading the log must not hide the failure
            continue
    return None
