"""Time as a value that tests can set."""

from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds that only grow; `time.monotonic` outside tests."""
