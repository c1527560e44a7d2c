"""One line out of many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.reconcile.engine_reason import LONGEST, cause_in, is_transient, reason_from_log, reason_from_message

REPLICA_FAULT = """\
The deployment failed to start 1 times in a row. This may be due to a problem with its constructor. Error:
\x1b[36mray::ServeReplica:a:PoolServer:a.initialize_and_get_metadata()\x1b[39m (pid=7, ip=127.0.0.1)
  File "server.py", line 9, in start
    raise OSError(text)
OSError: /models/a does not appear to have a file named config.json
"""
VALIDATION = """\
A replica failed to start with exception. Retrying 2 more time(s). Error:
RuntimeError: no config: 2 validation errors for ModelConfig
dtype
  Input should be 'auto' or 'half'
    For further information visit the documentation
"""
POINTS_ELSEWHERE = """\
The deployment failed to start 1 times in a row.
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""
ENGINE_LOG = """\
(EngineCore pid=9) INFO 11-21 14:06:09 [core.py:1] starting
(EngineCore pid=9) ERROR 11-21 14:06:10 [core.py:99] EngineCore failed to start.
(EngineCore pid=9) ERROR 11-21 14:06:10 [core.py:99] Traceback (most recent call last):
(EngineCore pid=9) ERROR 11-21 14:06:10 [core.py:99]   File "utils.py", line 1, in check
(EngineCore pid=9) ERROR 11-21 14:06:10 [core.py:99]     raise ValueError(
(EngineCore pid=9) ERROR 11-21 14:06:10 [core.py:99] ValueError: the KV cache is too small for one request
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (REPLICA_FAULT, "OSError: /models/a does not appear to have a file named config.json"),
        ("ValueError: Unknown engine argument: x", "Unknown engine argument: x"),
        (VALIDATION, "no config: 2 validation errors for ModelConfig: dtype: Input should be 'auto' or 'half'"),
        (POINTS_ELSEWHERE, None),
        ("", None),
        ("The deployment failed to start 1 times in a row. Error:\nTraceback (most recent call last):\n", None),
        ("Deployment 'a' has 1 replicas that have taken more than 30s to initialize.", None),
        ("A replica's health check failed. This deployment will be UNHEALTHY until the replica recovers.", None),
        ("Not enough room on the node", "Not enough room on the node"),
    ],
)
def test_a_message_says_the_reason_or_points_elsewhere(message, reason):
    assert reason_from_message(message) == reason


def test_a_log_says_the_cause_and_not_its_echo():
    assert reason_from_log(ENGINE_LOG.splitlines()) == "the KV cache is too small for one request"
    assert reason_from_log(["INFO all is well"]) is None


@pytest.mark.parametrize(
    "line",
    [
        "ImportError: libnuma.so.1: cannot open shared object file",
        "(Worker pid=3) torch.cuda.OutOfMemoryError: CUDA out of memory.",
    ],
)
def test_other_shapes_of_a_cause(line):
    assert reason_from_log([line])


@pytest.mark.parametrize(
    ("exception", "transient"),
    [
        ("The worker was killed due to memory pressure", True),
        ("TimeoutError: the engine core did not answer in time", True),
        ("ValueError: Unknown engine argument: x", False),
        # what the engine's own process raised, raised again by its parent
        ("RuntimeError: ValueError: Unknown engine argument: x", False),
        ("ValueError: Free memory on device (1/2 GiB) is less than desired", True),
        ("RuntimeError: something else", None),
    ],
)
def test_memory_may_be_free_again_an_argument_stays_wrong(exception, transient):
    assert is_transient(exception) is transient


def test_an_exception_that_was_raised_again_is_shown_without_types():
    found = cause_in("Error:\nRuntimeError: ValueError: Unknown engine argument: x")
    assert found.reason == "Unknown engine argument: x"
    assert "ValueError" in found.exception


@given(st.text(max_size=2000))
def test_a_reason_is_one_short_line(text):
    for reason in (reason_from_message(text), reason_from_log(text.splitlines())):
        assert reason is None or (len(reason) <= LONGEST and "\n" not in reason and reason.strip())


def test_an_exception_that_quotes_a_traceback_is_no_reason() -> None:
    quoted = "RuntimeError: Traceback (most recent call last):"
    message = f"{quoted}\nRuntimeError: Engine core initialization failed. See root cause above."
    assert reason_from_message(message) is None
    log = [quoted, "(EngineCore pid=1) ValueError: No available memory for the cache blocks."]
    assert reason_from_log(log) == "No available memory for the cache blocks."
