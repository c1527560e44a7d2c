"""The process between `pilotfish up` and Ray: when its standard input closes, all that Ray started ends.

The input closes when `up` closes it and when `up` ends for any reason, so that a killed `up` leaves nothing behind.
Run as `python -m pilotfish.engine.guardian FOLDER COMMAND…`; FOLDER is removed at the end.
"""

import os
import selectors
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from pilotfish.engine.processes import adopt_orphans, end_descendants, remove_folder
from pilotfish.engine.segments import Segments

LOOK_SECONDS = 5.0
"""Seconds between two scans for the engines' shared memory. That of an engine killed before its first scan stays."""


def guard(folder: Path, command: list[str]) -> int:
    """Run `command` until it ends or the standard input closes, then stop all descendants and remove `folder`.

    Returns the command's exit status, 0 if it was stopped from here.
    """
    adopt_orphans()
    wakeup, stopped = _signals()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    try:
        status = _wait(child, wakeup, stopped)
    finally:
        end_descendants()
        remove_folder(folder)
    return status


def _signals() -> tuple[socket.socket, set[int]]:
    """A socket that becomes readable at each signal, and the set of termination signals received."""
    receiver, sender = socket.socketpair()
    receiver.setblocking(False)
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.detach())
    stopped: set[int] = set()
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: stopped.add(received))
    return receiver, stopped


def _wait(child: subprocess.Popen[bytes], wakeup: socket.socket, stopped: set[int]) -> int:
    segments = Segments()
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        selector.register(wakeup, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(LOOK_SECONDS):
                if key.fileobj is wakeup:
                    wakeup.recv(4096)
                elif not os.read(sys.stdin.fileno(), 4096):
                    return 0
            if stopped:
                return 0
            status = _reap(child)
            if status is not None:
                return status
            segments.look(psutil.Process().children(recursive=True))
            segments.remove_orphans()


def _reap(child: subprocess.Popen[bytes]) -> int | None:
    """Take the exit status of every adopted process that ended; the child's own is returned once it has one."""
    status = child.poll()
    while status is None:
        try:
            pid, raw = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == child.pid:
            return os.waitstatus_to_exitcode(raw)
    return status


if __name__ == "__main__":
    sys.exit(guard(Path(sys.argv[1]), sys.argv[2:]))
