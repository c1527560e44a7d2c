"""The work queue: each key by one worker at a time, again if it changed meanwhile, later if it failed."""

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pilotfish.base.errors import PilotfishError
from pilotfish.controller.queue import WorkQueue


async def drained(queue: WorkQueue[str], *, workers: int = 3) -> None:
    """Run until there is nothing left to do."""
    running = asyncio.create_task(queue.run(workers))
    await nothing_left(queue)
    running.cancel()
    await asyncio.wait({running})


async def nothing_left(queue: WorkQueue[str]) -> None:
    """Let others run until the queue is empty."""
    while len(queue):  # noqa: ASYNC110 - the queue has no event for being empty
        await asyncio.sleep(0)


async def test_a_key_added_often_is_worked_on_once():
    done: Counter[str] = Counter()

    async def work(key: str) -> None:
        done[key] += 1

    queue = WorkQueue(work)
    for key in "abcabca":
        await queue.add(key)
    await drained(queue)
    assert done == {"a": 1, "b": 1, "c": 1}


async def test_a_key_that_changes_while_it_is_worked_on_is_worked_on_again():
    begun, go_on = asyncio.Event(), asyncio.Event()
    runs = []

    async def work(key: str) -> None:
        runs.append(key)
        begun.set()
        await go_on.wait()

    queue = WorkQueue(work)
    await queue.add("a")
    running = asyncio.create_task(queue.run(2))
    await begun.wait()
    await queue.add("a")
    await queue.add("a")
    assert runs == ["a"]
    go_on.set()
    await nothing_left(queue)
    assert runs == ["a", "a"]
    running.cancel()
    await asyncio.wait({running})


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 5))
def test_no_key_is_worked_on_twice_at_a_time_and_none_is_lost(keys, workers):
    async def scenario() -> None:
        active: Counter[str] = Counter()
        done: set[str] = set()

        async def work(key: str) -> None:
            active[key] += 1
            assert active[key] == 1
            await asyncio.sleep(0)
            active[key] -= 1
            done.add(key)

        queue = WorkQueue(work)
        for key in keys:
            await queue.add(key)
        await drained(queue, workers=workers)
        assert done == set(keys)

    asyncio.run(scenario())


async def test_a_failure_is_tried_again_and_holds_up_no_other(caplog):
    tried: Counter[str] = Counter()
    recovered = asyncio.Event()

    async def work(key: str) -> None:
        tried[key] += 1
        if key == "fault" and tried[key] < 3:
            raise PilotfishError("the user's")
        if key == "bug" and tried[key] < 3:
            raise ZeroDivisionError("ours")
        if tried["fault"] == tried["bug"] == 3:
            recovered.set()

    queue = WorkQueue(work, first_delay=0.001, longest_delay=0.002)
    running = asyncio.create_task(queue.run(1))
    for key in ("fault", "bug", "fine"):
        await queue.add(key)
    await recovered.wait()
    running.cancel()
    await asyncio.wait({running})
    assert tried["fine"] == 1
    by_level = {record.levelname: record for record in caplog.records}
    assert "the user's" in by_level["WARNING"].getMessage()
    assert by_level["ERROR"].exc_info


async def test_work_that_asks_for_it_is_looked_at_again():
    looked = asyncio.Event()
    runs: list[str] = []

    async def work(key: str) -> float | None:
        runs.append(key)
        if len(runs) == 2:
            looked.set()
            return None
        return 0.001

    queue = WorkQueue(work)
    running = asyncio.create_task(queue.run(1))
    await queue.add("a")
    await looked.wait()
    running.cancel()
    await asyncio.wait({running})
    assert runs == ["a", "a"]
