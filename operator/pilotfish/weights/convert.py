"""Conversion in a separate process, which frees its memory when it ends and never blocks an event loop.

`python -m pilotfish.weights.convert SOURCE TARGET` writes one JSON object per line: `{"done": n, "total": m}` for
progress, and `{"error": message}` at the end if the file cannot be converted.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pilotfish.base.errors import WeightsError
from pilotfish.weights.progress import Phase, Progress, Report
from pilotfish.weights.store import need_room

FAULT_STATUS = 3
"""Exit status after an error that was reported. Any other status except 0 is a crash."""

GGUF_MAGIC = b"GGUF"


def is_gguf(path: Path) -> bool:
    """Whether the file starts with the magic bytes of GGUF."""
    with path.open("rb") as opened:
        return opened.read(len(GGUF_MAGIC)) == GGUF_MAGIC


def convert(source: Path, target: Path, *, lock: int, report: Report) -> None:
    """Convert a GGUF file into the existing folder `target`, in a child process that shares the lock `lock`.

    An interrupted conversion continues after its last complete shard. Raises WeightsError.
    """
    log = target.with_name("convert.log")
    command = [sys.executable, "-m", __name__, str(source), str(target)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    report(Progress(Phase.CONVERTING))
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, pass_fds=(lock,), env=environment, text=True
        ) as child,
    ):
        try:
            fault = _follow(child, report)
        except BaseException:
            child.kill()
            raise
    if child.returncode == FAULT_STATUS:
        raise WeightsError(fault)
    if child.returncode != 0:
        last = log.read_text(errors="replace").strip().rpartition("\n")[2]
        raise WeightsError(f"{source}: the conversion failed with status {child.returncode}: {last} (log: {log})")


def _follow(child: "subprocess.Popen[str]", report: Report) -> str:
    fault = ""
    for line in child.stdout or ():
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            fault = message["error"]
        else:
            report(Progress(Phase.CONVERTING, message["done"], message["total"]))
    return fault


def _write_message(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main(source: Path, target: Path) -> int:
    """Convert in this process. Returns the exit status."""
    from pilotfish.weights import gguf  # noqa: PLC0415 - takes seconds, and is needed in the child alone

    try:
        gguf.convert(
            source,
            target,
            room=lambda size: need_room(target, size, str(source)),
            wrote=lambda done, total: _write_message({"done": done, "total": total}),
        )
    except WeightsError as error:
        _write_message({"error": str(error)})
        return FAULT_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
