"""The delay between tries."""

from pilotfish.base.backoff import backoff_seconds


def test_the_delay_doubles_up_to_its_limit_however_many_tries_there_were():
    delays = [backoff_seconds(failures, first=2.0, most=60.0) for failures in (1, 2, 5, 6, 1025, 10**6)]
    assert delays == [2.0, 4.0, 32.0, 60.0, 60.0, 60.0]
