"""Coroutines that run together. A leaf: every package may use it, and it uses nothing of Pilotfish."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def first_done(*works: Coroutine[Any, Any, T]) -> T:
    """Run all together until one ends, cancel the others and wait until they have ended too.

    Returns what the one that ended returned, the earliest argument of several that ended at once. Raises what any of
    them raised, be it while it was cancelled. When the caller is cancelled, all of them are.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()):
            raise error
    return next(task.result() for task in tasks if task in done)
