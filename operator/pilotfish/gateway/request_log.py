"""Writes a row for every answered request to a log that `pilotfish calibrate` and `pilotfish replay` read.

The log is off unless a file is named. Rows go through a queue of bounded memory to a thread. When the queue is full,
rows are dropped and counted. A row has no text of an answer that passed through unread, and no score of a decision
that was made early, because the score of a prefix depends on the threshold. docs/log-schema.md describes the fields.
"""

import queue
import sys
from logging import INFO, Formatter, Handler, LogRecord, makeLogRecord
from logging.handlers import QueueListener, RotatingFileHandler
from pathlib import Path
from typing import Any

import orjson

from pilotfish.gateway.records import RequestRecord, StageRecord
from pilotfish.plugin_api.scorers import Question
from pilotfish.telemetry.metrics import GatewayMetrics

WAITING_BYTES = 64 * 1024 * 1024
"""Memory for rows that wait for a slow disk. One more row may exceed it, by as much as a request's body."""
RECORD_BYTES = 1024
"""Memory of a log record besides its row."""
KEPT_FILES = 3


class RequestLog:
    """A log of requests, in files of at most `max_bytes`; the oldest of four is dropped."""

    def __init__(self, path: Path, max_bytes: int, metrics: GatewayMetrics) -> None:
        self._metrics = metrics
        self._rows = Waiting(WAITING_BYTES)
        handler = RotatingFileHandler(path, maxBytes=max_bytes, backupCount=KEPT_FILES, encoding="utf-8")
        handler.setFormatter(Formatter("%(message)s"))
        self._listener = Writer(self._rows, handler)
        self._handler = handler
        self._listener.start()

    def write(self, question: Question, record: RequestRecord) -> None:
        """Write a row for a request that was answered."""
        row = orjson.dumps(_row(question, record)).decode()
        try:
            self._rows.put_nowait(makeLogRecord({"msg": row, "levelno": INFO, "levelname": "INFO"}))
        except queue.Full:
            self._metrics.records_dropped.inc()

    def close(self) -> None:
        """Write the rows that wait, and close the file. Blocks until that is done."""
        self._listener.stop()
        self._handler.close()


class Waiting(queue.Queue[LogRecord | None]):
    """A queue that is full when its rows take `maxsize` bytes of memory. None ends its reader."""

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
        """Wait for room in the queue, where the inherited method would fail."""
        self._waiting.put(None)


def _memory(record: LogRecord | None) -> int:
    return RECORD_BYTES + (sys.getsizeof(record.msg) if record else 0)


def _row(question: Question, record: RequestRecord) -> dict[str, Any]:
    propensity = record.propensity
    return {
        "id": record.id,
        "messages": question.messages,
        "stages": [_stage(stage) for stage in record.stages],
        "action": record.stages[-1].pool,
        **({"propensity": propensity} if propensity is not None else {}),
        **({"plugins": record.plugins} if record.plugins else {}),
    }


def _stage(record: StageRecord) -> dict[str, Any]:
    decision, scorer = record.decision, record.scorer
    scored = scorer is not None and decision.final and decision.score is not None
    known = {
        "pool": record.pool,
        "answer": record.answer,
        "scores": {scorer: decision.score} if scored else None,
        "score_configs": {scorer: record.digest} if scored else None,
        "rejected_by": record.plugin,
        "cost": float(record.cost.amount) if record.cost else None,
        "seconds": record.seconds,
        "input_tokens": record.usage.prompt_tokens,
        "output_tokens": record.usage.completion_tokens,
    }
    return {name: value for name, value in known.items() if value is not None}
