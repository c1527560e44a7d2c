"""Time as a value that tests can set."""

from collections.abc import Callable

Clock = Callable[[], float]
"""Monotonic seconds: `time.monotonic` outside of tests."""
