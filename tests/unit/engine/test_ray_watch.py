"""The watcher of Ray's processes, with other processes in their place."""

import subprocess
import sys

STARTS = """
import os, subprocess, sys
first = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
other = subprocess.Popen([sys.executable, "-c", "pass"])
second = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(3)"], stdin=subprocess.PIPE)
second.stdin.close()
watch = [sys.executable, "-m", "pilotfish.engine.ray_watch", f"raylet={first.pid}", f"gcs_server={second.pid}"]
print(first.pid, flush=True)
os.execv(sys.executable, watch)
"""


def test_the_first_process_that_ends_is_named_and_others_go_on():
    with subprocess.Popen([sys.executable, "-c", STARTS], stdout=subprocess.PIPE, text=True) as started:
        first = int(started.stdout.readline())
        try:
            assert started.stdout.readline() == "gcs_server of Ray ended with status 3\n"
            assert started.wait() == 1
            assert subprocess.run(["kill", "-0", str(first)], check=False).returncode == 0
        finally:
            subprocess.run(["kill", str(first)], check=False)
