"""Which file a run writes its log to."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotfish.local.logfile import write_log

ALIVE = 1
"""A process that always exists."""


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("pilotfish")
    before = logger.level, logger.propagate, list(logger.handlers)
    yield logger
    for handler in set(logger.handlers) - set(before[2]):
        logger.removeHandler(handler)
        handler.close()
    logger.level, logger.propagate = before[:2]


def test_a_run_with_a_port_begins_the_log_of_that_port_again(tmp_path: Path, logger: logging.Logger) -> None:
    path = tmp_path / "pilotfish" / "up-8080.log"
    path.parent.mkdir()
    path.write_text("of before\n")
    assert write_log({"XDG_STATE_HOME": str(tmp_path)}, 8080) == path
    logger.info("of now")
    assert path.read_text().endswith("of now\n")
    assert "of before" not in path.read_text()


def test_runs_on_any_free_port_do_not_share_a_log(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder = tmp_path / "pilotfish"
    folder.mkdir()
    logs = {pid: folder / f"up-process-{pid}.log" for pid in (os.getpid(), ALIVE, ended.pid)}
    logs[ALIVE].write_text("of a run that is alive\n")
    logs[ended.pid].touch()
    assert write_log({"XDG_STATE_HOME": str(tmp_path)}, 0) == logs[os.getpid()]
    assert logs[ALIVE].read_text() == "of a run that is alive\n"
    assert not logs[ended.pid].exists()
