"""What the processes of this engine wrote before they failed."""

from pathlib import Path

from pilotfish.reconcile.engine_reason import reason_from_log


def logged_reason() -> str | None:
    """The first exception in what this process and its children wrote; None where there is none, or no file to read.

    vLLM's engine runs in a child, and the parent learns no more than that it ended. Ray gives a worker files for what
    it writes, and its children inherit them.
    """
    for descriptor in (2, 1):
        written = Path(f"/proc/self/fd/{descriptor}")
        try:
            if written.is_file():
                with written.open(errors="replace") as lines:
                    if reason := reason_from_log(lines):
                        return reason
        except OSError:  # the failure that is being explained must not be lost for want of words
            continue
    return None
