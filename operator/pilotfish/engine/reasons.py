"""Why an engine failed: from Serve's message, or from the logs of the engine's processes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from pilotfish.reconcile.engine_reason import LONGEST, reason_from_log, reason_from_message
from pilotfish.upstream.ray_serve import Replica


async def explain(logs: Path, message: str, replicas: tuple[Replica, ...]) -> str:
    """One line. `logs` is the folder of Ray's session; the engine's own log is asked where Serve points to it."""
    reason = reason_from_message(message)
    if reason is None:
        reason = await asyncio.to_thread(_from_logs, logs, replicas)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return reason or (lines[-1][:LONGEST] if lines else "the engine stopped and left no word")


def _from_logs(logs: Path, replicas: tuple[Replica, ...]) -> str | None:
    for replica in replicas:
        for path in _logs_of(logs, replica):
            with path.open(errors="replace") as lines:
                reason = reason_from_log(lines)
            if reason:
                return reason
    return None


def _logs_of(logs: Path, replica: Replica) -> Iterator[Path]:
    if replica.worker_id:
        for suffix in ("err", "out"):
            yield from sorted(logs.glob(f"worker-{replica.worker_id}-*.{suffix}"))
