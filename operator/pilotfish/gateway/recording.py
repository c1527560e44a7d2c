"""Writes a row for every answered request to a log that `pilotfish calibrate` and `pilotfish replay` read.

Off unless a file is named. Rows go through a queue of bounded memory to a thread; when it is full they are dropped and
counted.
Of an answer that flowed through unread there is no text, only what was measured, and of a verdict that fell early no
score: that of a beginning depends on the threshold. docs/log-schema.md tells the fields.
"""

import queue
import sys
from logging import INFO, Formatter, Handler, LogRecord, makeLogRecord
from logging.handlers import QueueListener, RotatingFileHandler
from pathlib import Path
from typing import Any

import orjson

from pilotfish.gateway.stages import Run
from pilotfish.gateway.wire.decision import StageRecord
from pilotfish.telemetry.metrics import GatewayMetrics

WAITING_BYTES = 64 * 1024 * 1024
"""Rows may wait for a slow disk in this much memory, and one row more: it may be as large as a request's body."""
RECORD_BYTES = 1024
"""Counted for a log record besides its row."""
KEPT_FILES = 3


class Recorder:
    """A log of requests, in files of at most `max_bytes`; the oldest of four is dropped."""

    def __init__(self, path: Path, max_bytes: int, metrics: GatewayMetrics) -> None:
        self._metrics = metrics
        self._rows = Waiting(WAITING_BYTES)
        handler = RotatingFileHandler(path, maxBytes=max_bytes, backupCount=KEPT_FILES, encoding="utf-8")
        handler.setFormatter(Formatter("%(message)s"))
        self._listener = Writer(self._rows, handler)
        self._handler = handler
        self._listener.start()

    def write(self, run: Run) -> None:
        """Put down a request that was answered."""
        row = orjson.dumps(_row(run)).decode()
        try:
            self._rows.put_nowait(makeLogRecord({"msg": row, "levelno": INFO, "levelname": "INFO"}))
        except queue.Full:
            self._metrics.records_dropped.inc()

    def close(self) -> None:
        """Write what waits, and close the file. Blocks until that is done."""
        self._listener.stop()
        self._handler.close()


class Waiting(queue.Queue[LogRecord | None]):
    """A queue that is full when what waits in it takes `maxsize` bytes of memory. None ends its reader."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._bytes = 0

    def _qsize(self) -> int:
        return self._bytes

    def _put(self, item: LogRecord | None) -> None:
        self._bytes += _memory(item)
        super()._put(item)

    def _get(self) -> LogRecord | None:
        item = super()._get()
        self._bytes -= _memory(item)
        return item


class Writer(QueueListener):
    """The thread that writes. It can be stopped while its queue is full."""

    def __init__(self, waiting: Waiting, handler: Handler) -> None:
        super().__init__(waiting, handler)
        self._waiting = waiting

    def enqueue_sentinel(self) -> None:
        """Wait for a place, where the inherited one would fail."""
        self._waiting.put(None)


def _memory(record: LogRecord | None) -> int:
    return RECORD_BYTES + (sys.getsizeof(record.msg) if record else 0)


def _row(run: Run) -> dict[str, Any]:
    scorers = {stage.pool_ref.name: stage.accept.scorer.name for stage in _stages(run) if stage.accept}
    propensity = run.trail.propensity
    return {
        "id": run.trail.id,
        "messages": run.request.question.messages,
        "stages": [_stage(record, scorers.get(record.pool)) for record in run.trail.stages],
        "action": run.trail.stages[-1].pool,
        **({"propensity": propensity} if propensity is not None else {}),
    }


def _stages(run: Run) -> tuple[Any, ...]:
    router = run.route.router
    return router.spec.strategy.cascade.stages if router and router.spec.strategy.cascade else ()


def _stage(record: StageRecord, scorer: str | None) -> dict[str, Any]:
    decision = record.decision
    told = {
        "pool": record.pool,
        "answer": record.answer,
        "scores": {scorer: decision.score} if scorer and decision.final and decision.score is not None else None,
        "cost": float(record.cost.amount) if record.cost else None,
        "seconds": record.seconds,
        "input_tokens": record.usage.prompt_tokens,
        "output_tokens": record.usage.completion_tokens,
    }
    return {name: value for name, value in told.items() if value is not None}
