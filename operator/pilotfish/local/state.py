"""The state of a running `pilotfish up` for other processes of the same user, in a small file."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class RunState:
    """One run: its process (with its start time, because process ids are reused), addresses, and manifests."""

    pid: int
    started: float
    url: str
    port: int
    ray_metrics: str
    """Where engines' metrics are, as Prometheus reads them; empty while there is no Ray."""
    paths: tuple[str, ...]


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where states are: below XDG_RUNTIME_DIR, else below the temporary folder, one folder a user."""
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "pilotfish"
    return Path(tempfile.gettempdir()) / f"pilotfish-{os.getuid()}"


def write(folder: Path, state: RunState) -> Path:
    """Write the state for `running`. Returns the path of the file, to be removed at the end."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{state.port}.json"
    fresh = path.with_suffix(f".{state.pid}")
    fresh.write_text(json.dumps(asdict(state), indent=1))
    fresh.rename(path)
    return path


def remove(path: Path) -> None:
    """Remove a state, and the folder when it was the last."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()


def running(folder: Path) -> tuple[RunState, ...]:
    """States of runs whose process is alive; those of others are removed."""
    states = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        raw = json.loads(path.read_text())
        state = RunState(**{**raw, "paths": tuple(raw["paths"])})
        if _alive(state):
            states.append(state)
        else:
            remove(path)
    return tuple(states)


def this_process() -> tuple[int, float]:
    """Number and start time of this process."""
    me = psutil.Process()
    return me.pid, me.create_time()


def _alive(state: RunState) -> bool:
    try:
        return psutil.Process(state.pid).create_time() == state.started
    except psutil.NoSuchProcess:
        return False
