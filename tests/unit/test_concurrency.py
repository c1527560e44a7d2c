"""The first of several coroutines ends the others."""

import asyncio

import pytest

from pilotfish.concurrency import first_done


class Work:
    """Ends when asked to; notes when it was cancelled."""

    def __init__(self, error_when_cancelled: Exception | None = None) -> None:
        self.cancelled = False
        self._error = error_when_cancelled

    async def forever(self) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            if self._error:
                raise self._error from None
            raise
        return ""


async def value(result):
    return result


async def fault(error):
    raise error


async def test_the_earliest_argument_of_those_that_ended_is_returned_and_the_others_are_cancelled():
    other = Work()
    assert await first_done(other.forever(), value("first"), value("second")) == "first"
    assert other.cancelled


async def test_an_error_is_raised_once_the_others_have_ended():
    other = Work()
    with pytest.raises(ValueError, match="wrong"):
        await first_done(other.forever(), fault(ValueError("wrong")))
    assert other.cancelled


async def test_an_error_of_one_that_was_cancelled_is_not_lost():
    with pytest.raises(OSError, match="clean-up"):
        await first_done(value(1), Work(OSError("clean-up")).forever())


async def test_all_are_cancelled_with_the_caller():
    works = Work(), Work()
    task = asyncio.create_task(first_done(*(work.forever() for work in works)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(work.cancelled for work in works)
