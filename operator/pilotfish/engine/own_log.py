"""What the processes of this engine wrote before they failed."""

from pathlib import Path

from pilotfish.reconcile.engine_reason import cause_from_log


def logged_exception() -> str | None:
    """The first exception in what this process and its children wrote, with its type; None where there is none.

    vLLM's engine runs in a child, and the parent learns no more than that it ended. Ray gives a worker files for what
    it writes, and its children inherit them.
    """
    for descriptor in (2, 1):
        written = Path(f"/proc/self/fd/{descriptor}")
        try:
            if written.is_file():
                with written.open(errors="replace") as lines:
                    if cause := cause_from_log(lines):
                        return cause.exception
        except OSError:  # the failure that is being explained must not be lost for want of words
            continue
    return None
