"""A parent whose child failed says why, out of what the child wrote."""

import subprocess
import sys
from pathlib import Path

PARENT = """
import subprocess, sys
from pilotfish.engine.own_log import logged_exception
print("INFO starting", flush=True)
line = "(EngineCore pid=9) ERROR 11-21 14:06:10 [core.py:99] ValueError: too small"
child = f"import sys; print({{line!r}}, file=sys.{stream})"
subprocess.run([sys.executable, "-c", child], check=True)
raise SystemExit(0 if logged_exception() == "ValueError: too small" else 1)
"""


def run(stream: str, out: Path, err: Path) -> int:
    with out.open("wb") as stdout, err.open("wb") as stderr:
        parent = [sys.executable, "-c", PARENT.format(stream=stream)]
        return subprocess.run(parent, stdout=stdout, stderr=stderr, check=False).returncode


def test_the_cause_is_found_in_what_a_child_wrote(tmp_path: Path) -> None:
    for stream in ("stdout", "stderr"):
        assert run(stream, tmp_path / "out", tmp_path / "err") == 0, stream


def test_pipes_are_not_waited_for() -> None:
    parent = [sys.executable, "-c", PARENT.format(stream="stderr")]
    assert subprocess.run(parent, capture_output=True, check=False).returncode == 1
