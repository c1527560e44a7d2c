"""The log of a run of `pilotfish up`: every try with all that is known of its failure."""

import logging
import os
import tempfile
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path

import psutil

MOST_BYTES = 8 * 1024**2
"""Of one file; one older file is kept beside it."""

_PROCESS = "up-process-"


def write_log(environ: Mapping[str, str], port: int) -> Path:
    """Begin a new log for the gateway at `port` and send Pilotfish's log messages to it. Returns its path.

    The file is below XDG_STATE_HOME or ~/.local/state, below the temporary folder where that cannot be written. It is
    named by the port. With port 0, which several runs may have, it is named by the process, and the logs of such runs
    that have ended are removed.
    """
    home = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME", "/"), ".local", "state")
    path = Path(home, "pilotfish", f"up-{port}.log" if port else f"{_PROCESS}{os.getpid()}.log")
    try:
        _remove_logs_of_ended(path.parent)
        handler = _handler(path)
    except OSError:
        path = Path(tempfile.mkdtemp(prefix="pilotfish-log-"), path.name)
        handler = _handler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("pilotfish")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return path


def _remove_logs_of_ended(folder: Path) -> None:
    for path in folder.glob(f"{_PROCESS}*.log*"):
        pid = path.name.removeprefix(_PROCESS).partition(".")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            path.unlink(missing_ok=True)


def _handler(path: Path) -> logging.Handler:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return RotatingFileHandler(path, maxBytes=MOST_BYTES, backupCount=1)
