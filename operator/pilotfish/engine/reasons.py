"""Why an engine failed: from Serve's message, or from the logs of the engine's processes."""

import asyncio
from collections import deque
from contextlib import suppress
from pathlib import Path

from pilotfish.base.errors import EngineFailed
from pilotfish.reconcile.engine_reason import (
    LONGEST,
    Cause,
    cause_from_log,
    cause_in,
    is_transient,
    reason_from_message,
)
from pilotfish.upstream.ray_serve import Replica

TAIL_LINES = 100
"""Lines of each of a failed engine's logs that are kept: Ray's folder goes with its Ray."""


async def explain(logs: Path, message: str, replicas: tuple[Replica, ...]) -> EngineFailed:
    """The failure with its reason in one line. `logs` is the folder of Ray's session.

    The engine's own log is read if Serve's message refers to it. An engine without an exception in any log was
    killed from outside. Logs that cannot be read are left out, because Ray's folder may be removed meanwhile.
    """
    cause = cause_in(message)
    reason = cause.reason if cause else reason_from_message(message)
    if reason is None:
        cause = await asyncio.to_thread(_from_logs, logs, replicas)
        reason = cause.reason if cause else None
    tails = await asyncio.to_thread(_tails, logs, replicas)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return EngineFailed(
        reason or (lines[-1][:LONGEST] if lines else "the engine ended without an error message"),
        transient=is_transient(cause.exception if cause else reason) if reason else True,
        details="\n".join((message, *tails)),
    )


def _from_logs(logs: Path, replicas: tuple[Replica, ...]) -> Cause | None:
    for replica in replicas:
        for path in _logs_of(logs, replica):
            with suppress(OSError), path.open(errors="replace") as lines:
                if cause := cause_from_log(lines):
                    return cause
    return None


def _tails(logs: Path, replicas: tuple[Replica, ...]) -> list[str]:
    tails = []
    for path in (path for replica in replicas for path in _logs_of(logs, replica)):
        with suppress(OSError), path.open(errors="replace") as lines:
            tails.append(f"--- last {TAIL_LINES} lines of {path.name}\n{''.join(deque(lines, TAIL_LINES))}")
    return tails


def _logs_of(logs: Path, replica: Replica) -> list[Path]:
    found: list[Path] = []
    if replica.worker_id:
        for suffix in ("err", "out"):
            with suppress(OSError):
                found += sorted(logs.glob(f"worker-{replica.worker_id}-*.{suffix}"))
    return found
