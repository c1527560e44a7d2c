"""Rows that wait to be written."""

import queue
import threading
from logging import Handler, LogRecord, makeLogRecord

import pytest

from pilotfish.gateway.request_log import RECORD_BYTES, Waiting, Writer


def row(size: int) -> LogRecord:
    return makeLogRecord({"msg": "x" * size})


def test_rows_wait_in_bounded_memory_however_large_they_are() -> None:
    waiting = Waiting(200_000)
    for _ in range(3):
        waiting.put_nowait(row(99_000 - RECORD_BYTES))
    with pytest.raises(queue.Full):
        waiting.put_nowait(row(1))
    waiting.get_nowait()
    small = 0
    while not waiting.full():
        waiting.put_nowait(row(1))
        small += 1
    assert 1 <= small <= 100_000 / RECORD_BYTES


class Slow(Handler):
    """A disk that writes on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.goes_on, self.written = threading.Event(), threading.Event(), 0

    def emit(self, record: LogRecord) -> None:
        self.entered.set()
        self.goes_on.wait()
        self.written += 1


def test_what_waits_is_written_when_it_ends_with_a_full_queue() -> None:
    disk, waiting = Slow(), Waiting(1)
    writer = Writer(waiting, disk)
    writer.start()
    waiting.put_nowait(row(1))
    disk.entered.wait()
    waiting.put_nowait(row(1))
    ending = threading.Thread(target=writer.stop)
    ending.start()
    disk.goes_on.set()
    ending.join()
    assert disk.written == 2
