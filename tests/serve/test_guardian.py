"""Nothing outlives a run, however its parent ends. Real processes, no engine."""

import signal
import subprocess
import sys

import psutil
import pytest

from pilotfish.engine.segments import SHARED_MEMORY, Segments

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="adopting orphans is Linux's")

# A tree that tries to get away: a grandchild in a session of its own that ignores SIGTERM and holds shared memory.
STUBBORN = """
import os, signal, sys, time
from multiprocessing import resource_tracker, shared_memory
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    segment = shared_memory.SharedMemory(create=True, size=4096)
    resource_tracker.unregister(segment._name, "shared_memory")
    print(os.getpid(), segment.name, flush=True)
    signal.pause()
os.wait()
signal.pause()
"""

PARENT = """
import signal, subprocess, sys
guardian = subprocess.Popen(
    [sys.executable, "-m", "pilotfish.engine.guardian", sys.argv[1], sys.executable, "-c", sys.argv[2]],
    stdin=subprocess.PIPE, start_new_session=True,
)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no process asks for the guardian's status
print(guardian.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path):
    """The parent, the guardian, the stubborn grandchild, its shared memory, and the folder of the run."""
    folder = tmp_path / "run"
    folder.mkdir()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder), STUBBORN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    guardian = psutil.Process(int(parent.stdout.readline()))
    pid, segment = parent.stdout.readline().split()
    yield parent, guardian, psutil.Process(int(pid)), SHARED_MEMORY / segment, folder
    parent.kill()
    parent.stdin.close()
    parent.stdout.close()
    parent.wait()


def close_input(parent, guardian):
    parent.stdin.close()


def kill_parent(parent, guardian):
    parent.send_signal(signal.SIGKILL)


def end_guardian(parent, guardian):
    guardian.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("end", [close_input, kill_parent, end_guardian])
def test_nothing_is_left(run, end):
    parent, guardian, grandchild, segment, folder = run
    assert segment.exists()
    end(parent, guardian)
    _, alive = psutil.wait_procs([guardian, grandchild], timeout=30)
    assert not alive
    assert not segment.exists()
    assert not folder.exists()


def test_the_commands_own_end_is_the_guardians(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    guardian = subprocess.Popen(
        [sys.executable, "-m", "pilotfish.engine.guardian", str(folder), sys.executable, "-c", "raise SystemExit(7)"],
        stdin=subprocess.PIPE,
    )
    try:
        assert guardian.wait(timeout=30) == 7
    finally:
        guardian.stdin.close()
    assert not folder.exists()


def test_shared_memory_of_the_dead_goes_and_that_of_the_living_stays(run):
    _, _, grandchild, segment, _ = run
    segments = Segments()
    segments.look([grandchild])
    segments.remove_orphans()
    assert segment.exists()
    grandchild.kill()
    psutil.wait_procs([grandchild], timeout=30)
    segments.remove_orphans()
    assert not segment.exists()
