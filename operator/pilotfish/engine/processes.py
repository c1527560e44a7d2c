"""Finds and stops the descendants of a run's processes."""

import ctypes
import os
import shutil
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from pilotfish.engine.segments import Segments

GRACE_SECONDS = 5.0
"""Seconds between SIGTERM and SIGKILL."""

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the subreaper of all descendants, so that none can escape. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def in_session(leader: int) -> list[psutil.Process]:
    """Processes of the session that process `leader` began, but the leader itself."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != leader and os.getsid(process.pid) == leader:
                found.append(process)
        except ProcessLookupError:
            continue
    return found


def end_descendants() -> None:
    """Stop all descendants of this process, first with SIGTERM, and remove the shared memory that they leave."""
    _end(lambda: psutil.Process().children(recursive=True), politely=True)


def end_session(leader: int) -> None:
    """Kill what is left of the session that process `leader` began."""
    _end(lambda: in_session(leader), politely=False)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def _end(find: Callable[[], list[psutil.Process]], *, politely: bool) -> None:
    segments = Segments()
    while alive := find():
        segments.look(alive)
        # Ray's launcher waits half a minute for requests to drain when it is stopped, and restarts nothing.
        rude = [process for process in alive if not politely or _is_launcher(process)]
        _signal(rude, signal.SIGKILL)
        _signal((process for process in alive if process not in rude), signal.SIGTERM)
        psutil.wait_procs(alive, timeout=GRACE_SECONDS)
        politely = False
    segments.remove_orphans()


def _is_launcher(process: psutil.Process) -> bool:
    try:
        return "pilotfish.engine.ray_start" in process.cmdline()
    except psutil.Error:
        return False


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
